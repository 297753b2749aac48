"""Stress tests: messy and multilingual questions for language models, and damaged texts for fine-tuned adapters.

Rooms:

- `questions/`: `items` (the questions and their answers), `mitigations.py`, `questionnaire.py` (from a questionnaire to
  questions); the damage to texts is in `lowland.text`;
- `asking/`: `settings.py` (what can be requested), `run.py` (a run from start to end), `evals.py` (Inspect tasks),
  `inspecting.py` (calls to Inspect), `budget.py` and `prices.py`, `outcome.py` and `collect.py` (record and rows from
  Inspect's log), `keys.py` (keeps API keys out of logs), `judge.py`, `retriever.py` (the embedded model);
- `replies/`: how a reply is scored;
- `adapters/`: fine-tuned runs on damaged test texts.
"""
