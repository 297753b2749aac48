"""Stress tests: damaged or mixed-language questions for language models, and damaged texts for fine-tuned runs.

Packages, one subject each:

- `questions`: what a language model is asked. Items with their correct answers, mitigations, and questionnaires, which
  combine the two with conditions and levels of damage. The damage itself is in `lowland.text`.
- `asking`: how it is asked. Settings, prices and budget, the run through Inspect, the record and rows that it leaves,
  and ratings of fluency by people or by a judge model.
- `replies`: how a reply is scored. Match with the correct answers, language of the reply, kind of error.
- `adapters`: fine-tuned runs that answer the test texts of their own task, clean and damaged. Inspect is not needed.
- `behaviour`: fine-tuned classifiers that answer a suite of cases with known expectations.

Start reading at `questions/questionnaire.py`, `asking/run.py`, `replies/answers.py`, `adapters/run.py` and
`behaviour/run.py`.
"""
