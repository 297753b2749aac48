"""The report of a behavioural test shows the numbers of the evidence."""

from __future__ import annotations

import json

import pandas as pd

from lowland.evidence.behaviour import behaviour_evidence
from lowland.ground.records import StressRecord
from lowland.report.behaviour import ONE_SEED, behaviour_blocks
from lowland.report.behaviour_json import behaviour_as_json
from lowland.report.markdown import render
from lowland.report.stress import stress_markdown, stress_summary
from lowland.report.wording import p_value, signed
from tests.evidence.test_behaviour import TESTS, rows_of
from tests.report.test_study import tables


def record_of(rows: pd.DataFrame) -> StressRecord:
    return StressRecord(
        key="c0ffee",
        asked={"eval": "behaviour", "suite": "toy"},
        status="finished",
        items={"source": "toy.yaml", "about": "firms", "count": rows["item"].nunique(), "sha256": "abc"},
        model={"name": "tiny", "runs": []},
        counts={"expected": len(rows), "scored": len(rows), "failed": 0},
    )


def table(text: str, first: str, column: str) -> list[dict[str, str]]:
    for header, *lines in tables(text):
        if header[0] == first and column in header:
            return [dict(zip(header, line, strict=True)) for line in lines]
    raise AssertionError(f"no table has {first} and {column}")


def text_of(rows: pd.DataFrame, **options: str) -> str:
    return render(behaviour_blocks(rows, record_of(rows), **options))


def test_pass_rates_stand_side_by_side_with_their_intervals() -> None:
    rows = rows_of()
    evidence, text = behaviour_evidence(rows), text_of(rows)
    assert text.startswith("Suite toy, firms: 120 cases of 4 tests, from 24 templates; 3 seeds.")
    lines = {line["test"]: line for line in table(text, "test", "lora")}
    assert {name: line["kind"] for name, line in lines.items()} == TESTS
    for rate in evidence.rates:
        if rate.scope.by == "test":
            shown = f"{100 * rate.value:.1f} ({100 * rate.low:.1f} to {100 * rate.high:.1f})"
            assert lines[rate.scope.name][rate.method] == shown
            assert lines[rate.scope.name]["cases"] == "30"
    wholes = [line["cases of"] for line in table(text, "cases of", "lora")]
    assert wholes[:3] == [f"kind {kind}" for kind in ("minimum functionality", "invariance", "direction")]
    assert wholes[-1] == "all tests"


def test_differences_that_intervals_show_are_listed() -> None:
    rows = rows_of()
    evidence, text = behaviour_evidence(rows), text_of(rows)
    shown = [d for d in evidence.differences if d.is_shown and d.scope.by != "suite"]
    assert shown
    lines = table(text, "cases of", "p (Holm)")
    assert len(lines) == len(shown)
    for line, difference in zip(lines, shown, strict=True):
        assert line["points"].startswith(f"{signed(difference.interval.difference)} points (")
        assert line["p (Holm)"] == p_value(difference.p_holm)
    assert f"Of 10 differences by test, kind and capability, {len(shown)} have an interval" in text
    assert "Over all cases, full passes less than lora: -2" in text


def test_methods_alike_are_not_said_to_differ() -> None:
    text = text_of(rows_of(("dora", "lora")))
    assert "Over all cases, these runs do not show whether dora or lora passes more: " in text


def test_one_seed_says_nothing_of_the_methods() -> None:
    text = text_of(rows_of(seeds=(0,)))
    assert "Over all cases, the run of full against that of lora: -" in text
    assert ONE_SEED in text
    assert "Intervals speak of other templates, and not of other seeds" in text
    assert "With one seed and a dozen templates or fewer, they are too narrow" in text
    assert "too narrow" not in text_of(rows_of())


def test_methods_without_a_shared_seed_are_named() -> None:
    rows = rows_of()
    text = text_of(rows[(rows["seed"] == 2) == (rows["model"] == "full")])
    assert "full shares no seed with lora, so that they are not compared" in text


def test_failing_cases_show_both_texts_and_the_predictions() -> None:
    rows = rows_of(seeds=(0,))
    lines = table(text_of(rows), "test", "predictions that fail")
    assert len(lines) == 2 * len(TESTS)
    by_test = {line["test"]: line for line in lines}
    assert by_test["negation"]["original"] == ""
    assert "full: bad" in by_test["negation"]["predictions that fail"]
    assert by_test["names"]["original"].endswith(" before")
    assert "full: good → bad" in by_test["names"]["predictions that fail"]
    assert "full: 0.90 → 0.10" in by_test["added"]["predictions that fail"]
    assert "Failing cases" not in text_of(rows.assign(score=1.0))


def test_one_method_has_no_differences() -> None:
    assert "Differences" not in text_of(rows_of(("lora",)))


def test_the_report_of_stress_tests_shows_the_same() -> None:
    rows = rows_of()
    record, text = record_of(rows), text_of(rows)
    assert text in stress_summary(rows, record)
    assert text in stress_markdown(rows, record)


def test_json_holds_the_numbers_of_the_evidence() -> None:
    rows = rows_of()
    rows.loc[rows["condition"] == "names", "score"] = 1.0
    evidence = behaviour_evidence(rows)
    report = json.loads(json.dumps(behaviour_as_json(rows, record_of(rows)), allow_nan=False))
    assert (report["suite"], report["reference"], report["seeds"]) == ("toy", "lora", [0, 1, 2])
    assert [each["pass_rate"] for each in report["pass_rates"]] == [rate.value for rate in evidence.rates]
    alike = [each for each in report["pass_rates"] if each["name"] == "names"]
    assert [(each["low"], each["high"]) for each in alike] == [(None, None)] * 2
    assert [each["p_holm"] for each in report["differences"]] == [d.p_holm for d in evidence.differences]
    assert {failure["test"] for failure in report["failures"]} == {"negation", "sums", "added"}
