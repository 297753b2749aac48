"""Stress tests: multilingual, code-switched and messy questions, for language models and for fine-tuned adapters.

Read `items` (what is asked), `corruptions.py` (what happens to a text; `levels.py`, `candidates.py`, `glyphs.py`) and
`mitigations.py` first; then `questions.py` (a questionnaire becomes questions), `evals.py` (Inspect's tasks) and
`replies` (what a reply is worth). `run.py` puts them to a model: `asked.py` says what can be asked, `inspecting.py`
talks to Inspect, `budget.py` counts by `prices.py`, `collect.py` makes rows of the log, `keys.py` keeps keys out of it.
`retriever.py` is the embedded model, `adapters.py` asks fine-tuned runs instead (`adapter_runs.py`,
`adapter_texts.py`), `ratings.py` and `judge.py` are for how fluent a reply is.
"""
