"""What a reply is worth: is it right (`answers`), in which language (`language`), and how is it wrong (`taxonomy`)?

`answers` reads words by `wording`, judges their `mentions`, and reads numbers by `numbers`, `number_words` and
`quantities`; `taxonomy` goes through the tables of `rules`.
"""
