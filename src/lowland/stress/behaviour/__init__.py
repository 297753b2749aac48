"""Behavioural tests of fine-tuned classifiers: suites of cases with expectations, and the answers of runs."""
