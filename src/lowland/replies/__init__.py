"""Assessment of replies: is a reply right, in which language is it, and what kind of error does it make?

`answers` compares a reply with the gold. It splits the reply into words (`wording`), judges whether a mention of the
gold counts (`mentions`, `other_names`), and chooses numbers (`quantities`). `numbers` reads these from `parts`, which
`combine` joins, with the words in `number_words` and `fraction_words`; `neighbours` finds what changes a number.
`language` finds the language, `taxonomy` the kind of error by the tables in `rules`. `unsure` recognises a reply that
declines to answer.
"""
