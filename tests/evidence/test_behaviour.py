"""Behavioural tests. Oracles: shares by hand, and `paired_interval`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lowland.evidence import paired_interval
from lowland.evidence.behaviour import BehaviourEvidence, behaviour_evidence
from lowland.evidence.behaviour_failures import worst_failures
from lowland.evidence.core.by_item import holm
from lowland.ground.mistakes import Mistake

TESTS = {
    "negation": "minimum functionality",
    "names": "invariance",
    "sums": "invariance",
    "added": "direction",
}
CAPABILITIES = {"negation": "words", "names": "entities", "sums": "numbers", "added": "words"}
TEMPLATES, CASES = 6, 5  # templates of a test, cases of a template


def rows_of(
    methods: tuple[str, ...] = ("full", "lora"), seeds: tuple[int, ...] = (0, 1, 2), *, data_seed: int = 0
) -> pd.DataFrame:
    """Rows as `lowland behave` writes them; `full` fails twice as often as the others."""
    rng = np.random.default_rng(data_seed)
    rows = []
    for method, seed, (test, kind) in itertools.product(methods, seeds, TESTS.items()):
        for number in range(TEMPLATES * CASES):
            score = float(rng.random() > (0.6 if method == "full" else 0.3))
            group = f"{test} {number // CASES}"
            rows.append(row_of(method, seed, test, kind, f"{test} case {number}", group, score))
    return pd.DataFrame(rows)


def row_of(
    method: str, seed: int, test: str, kind: str, item: str, group: str, score: float
) -> dict[str, Any]:
    original = "" if kind == "minimum functionality" else f"{item} before"
    return {
        **{"eval": "behaviour", "model": method, "seed": seed, "item": item, "group": group, "epoch": 1},
        **{"topic": CAPABILITIES[test], "condition": test, "kind": kind, "level": "", "rate": 0.0},
        **{"protected": False, "mitigation": "none", "status": "scored", "score": score, "near": False},
        **{"category": "", "kept": None, "prompt": f"{item} after", "gold": "good", "original": original},
        **{"predicted_original": "good" if original else "", "predicted": "good" if score else "bad"},
        **{"p_original": 0.9 if original else np.nan, "p": 0.9 if score else 0.1},
    }  # fmt: skip


def passed(rows: pd.DataFrame, method: str, **of: str) -> np.ndarray:
    """(S, N)"""
    mine = rows[rows["model"] == method]
    for column, value in of.items():
        mine = mine[mine[column] == value]
    items = list(dict.fromkeys(mine["item"]))
    return mine.pivot(index="seed", columns="item", values="score")[items].to_numpy()


COLUMN = {"test": "condition", "kind": "kind", "capability": "topic"}


def selection(scope: Any) -> dict[str, str]:
    return {} if scope.by == "suite" else {COLUMN[scope.by]: scope.name}


def test_pass_rates_are_shares_over_cases_and_seeds_with_their_intervals() -> None:
    rows = rows_of()
    evidence = behaviour_evidence(rows)
    assert len(evidence.rates) == 2 * (4 + 3 + 3 + 1)
    for rate in evidence.rates:
        scores = passed(rows, rate.method, **selection(rate.scope))
        assert rate.scope.cases == scores.shape[1]
        assert rate.value == pytest.approx(scores.mean())
        groups = np.arange(rate.scope.cases) // CASES
        assert rate.scope.templates == groups.max() + 1
        expected = paired_interval(scores, np.zeros_like(scores), groups=groups)
        assert (rate.low, rate.high) == pytest.approx((max(expected.low, 0), expected.high))


def test_methods_are_paired_by_case_and_seed_and_corrected_by_property() -> None:
    rows = rows_of(("full", "dora", "lora"))
    evidence = behaviour_evidence(rows)
    assert (evidence.reference, evidence.methods) == ("lora", ("lora", "dora", "full"))
    for difference in evidence.differences:
        pair = [passed(rows, name, **selection(difference.scope)) for name in (difference.method, "lora")]
        expected = paired_interval(*pair, groups=np.arange(pair[0].shape[1]) // CASES)
        assert difference.interval == expected
        assert difference.is_shown == (expected.low > 0 or expected.high < 0)
    for by in ("test", "kind", "capability", "suite"):
        table = [difference for difference in evidence.differences if difference.scope.by == by]
        assert [d.p_holm for d in table] == pytest.approx(holm([d.interval.p for d in table]))
    shown = {(d.method, d.scope.by) for d in evidence.differences if d.is_shown}
    assert ("full", "suite") in shown
    assert ("dora", "suite") not in shown


def test_copies_of_cases_in_one_template_do_not_narrow_an_interval() -> None:
    rows = rows_of()
    copies = pd.concat([rows.assign(item=rows["item"] + f" {k}") for k in range(3)])

    def ends(evidence: BehaviourEvidence) -> list[tuple[Any, Any]]:
        return [(rate.low, rate.high) for rate in evidence.rates]

    for once, thrice in zip(ends(behaviour_evidence(rows)), ends(behaviour_evidence(copies)), strict=True):
        assert once == pytest.approx(thrice)


def test_cases_that_come_out_alike_or_are_of_one_template_have_no_interval() -> None:
    rows = rows_of()
    rows.loc[rows["condition"] == "names", "score"] = 1.0
    rows.loc[rows["condition"] == "sums", "group"] = "sums 0"
    evidence = behaviour_evidence(rows)
    without = {rate.scope.name for rate in evidence.rates if rate.low is None}
    assert without == {"names", "entities", "sums", "numbers"}
    assert {d.scope.name for d in evidence.differences} == {
        *("negation", "names", "added", "minimum functionality", "invariance", "direction"),
        *("entities", "words", ""),
    }


def test_only_shared_seeds_are_paired() -> None:
    rows = rows_of()
    fewer = rows[~((rows["model"] == "full") & (rows["seed"] == 2))]
    evidence = behaviour_evidence(fewer)
    assert {len(d.interval.per_seed) for d in evidence.differences} == {2}
    assert {(rate.method, rate.seeds) for rate in evidence.rates} == {("full", 2), ("lora", 3)}
    none = rows[(rows["seed"] == 2) == (rows["model"] == "full")]
    assert behaviour_evidence(none).unpaired == ("full",)
    assert behaviour_evidence(none).differences == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns=["kind", "original"]), "lacks the columns kind, original"),
        (lambda rows: pd.concat([rows, rows.iloc[:1]]), "cases are answered twice by one run"),
        (lambda rows: rows.iloc[1:], "full lacks answers to some cases"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change: Any, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        behaviour_evidence(change(rows_of()))


def test_an_unknown_reference_is_refused() -> None:
    with pytest.raises(Mistake, match="unknown method 'dora'"):
        behaviour_evidence(rows_of(), reference="dora")
    assert behaviour_evidence(rows_of(), reference="full").reference == "full"


def test_the_cases_that_most_runs_fail_are_shown_of_different_templates() -> None:
    rows = rows_of(seeds=(0, 1)).assign(score=1.0)

    def fail(item: str, *runs: tuple[str, int]) -> None:
        for method, seed in runs:
            of = (rows["item"] == item) & (rows["model"] == method) & (rows["seed"] == seed)
            rows.loc[of, ["score", "predicted", "p"]] = [0.0, "bad", 0.1]

    fail("names case 0", ("full", 0))
    fail("names case 7", ("full", 0), ("full", 1), ("lora", 1))
    fail("names case 8", ("full", 1), ("lora", 1))  # of the same template
    fail("negation case 3", ("lora", 0))
    failures = worst_failures(rows)
    assert [failure.item for failure in failures] == ["negation case 3", "names case 7", "names case 0"]
    worst = failures[1]
    assert (worst.original, worst.text) == ("names case 7 before", "names case 7 after")
    full, lora = worst.runs
    assert (full.method, full.seed, full.failed, full.seeds) == ("full", 0, 2, 2)
    assert (lora.method, lora.seed, lora.failed, lora.seeds) == ("lora", 1, 1, 2)
    assert (full.predicted_original, full.predicted, full.p_original, full.p) == ("good", "bad", 0.9, 0.1)
    assert worst_failures(rows, per_test=0) == ()


def test_an_interval_of_a_pass_rate_stays_above_0() -> None:
    rows = rows_of(("lora",), (0,)).assign(score=0.0)
    rows.loc[rows["group"] == "names 0", "score"] = 1.0
    (rate,) = [rate for rate in behaviour_evidence(rows).rates if rate.scope.name == "names"]
    assert (rate.value, rate.low) == (pytest.approx(1 / TEMPLATES), 0.0)
    assert rate.high is not None
    assert rate.high > rate.value
