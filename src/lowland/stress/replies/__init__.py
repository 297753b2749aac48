"""Assessment of replies: is a reply right, in which language is it, and what kind of error does it make?

`answers` compares a reply with the gold. It splits the reply into words (`wording`), judges whether a mention of the
gold counts (`mentions`), and reads numbers (`numbers`, `number_words`, `quantities`). `language` finds the language,
`taxonomy` the kind of error by the tables in `rules`. `unsure` recognises a reply that declines to answer.
"""
