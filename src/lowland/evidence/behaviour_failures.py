"""Failing cases of behavioural tests: those that most runs fail, with the predictions of the runs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class FailedRun:
    """Answer of a method's run that fails a case.

    Attributes:
        method: label of the method.
        seed: seed of the first of its runs that fail.
        failed: number of its runs that fail.
        seeds: number of its runs.
        predicted_original: label of the original text; "" if there is none.
        predicted: label of the text.
        p_original: probability of the label in question on the original text; NaN if there is none.
        p: its probability on the text.
    """

    method: str
    seed: int
    failed: int
    seeds: int
    predicted_original: str
    predicted: str
    p_original: float
    p: float


@dataclass(frozen=True)
class Failure:
    """Case that at least one run fails.

    Attributes:
        item: name of the case.
        test: name of its test.
        kind: kind of the test.
        original: text before the change; "" if there is none.
        text: text that was asked.
        expected: expectation.
        runs: the methods that fail.
    """

    item: str
    test: str
    kind: str
    original: str
    text: str
    expected: str
    runs: tuple[FailedRun, ...]


def worst_failures(rows: pd.DataFrame, per_test: int = 2) -> tuple[Failure, ...]:
    """Return the cases of each test that most runs fail, of different templates if there are.

    Args:
        rows: rows of one behavioural test.
        per_test: largest number of cases of a test.
    """
    failures: list[Failure] = []
    for _, block in rows.groupby("condition", sort=False):
        wrong = block.assign(order=range(len(block)), wrong=block["score"] == 0).groupby("item", sort=False)
        cases = wrong.agg(wrong=("wrong", "sum"), order=("order", "min"), group=("group", "first"))
        cases = cases[cases["wrong"] > 0].sort_values(["wrong", "order"], ascending=[False, True])
        cases["rank"] = cases.groupby("group").cumcount()  # 0 for the worst case of a template
        worst = cases.sort_values("rank", kind="stable").index[:per_test]
        failures += [_failure(block[block["item"] == item]) for item in worst]
    return tuple(failures)


def _failure(rows: pd.DataFrame) -> Failure:
    """Return a failing case from its rows, one for each run."""
    first, runs = rows.iloc[0], []
    for method, block in rows.groupby("model", sort=True):
        failed = block[block["score"] == 0].sort_values("seed")
        if len(failed):
            run = failed.iloc[0]
            runs.append(
                FailedRun(
                    str(method),
                    int(run["seed"]),
                    len(failed),
                    len(block),
                    str(run["predicted_original"]),
                    str(run["predicted"]),
                    float(run["p_original"]),
                    float(run["p"]),
                )
            )
    texts = (str(first[name]) for name in ("item", "condition", "kind", "original", "prompt", "gold"))
    item, test, kind, original, text, expected = texts
    return Failure(item, test, kind, original, text, expected, tuple(runs))
