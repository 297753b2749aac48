"""The metric for Inspect. Oracle: `lowland verdict` on the two logs."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai.log import read_eval_log
from inspect_ai.scorer import SampleScore, Score, accuracy, includes

from lowland.evidence import inspect_metric
from lowland.evidence.inspect_metric import paired_difference
from lowland.evidence.readers.any_results import read_results
from lowland.evidence.verdict import compare_results
from lowland.ground.mistakes import Mistake
from tests.evidence.readers.test_inspect_results import log
from tests.stress.asking.support import INSPECTS

pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]
__all__ = ["log"]
Log = Callable[..., Path]


def metrics_of(path: Path) -> dict[str, Any]:
    results = read_eval_log(str(path), header_only=True).results
    assert results is not None
    return {name: metric.value for score in results.scores for name, metric in score.metrics.items()}


def with_metrics(*metrics: Any) -> Any:
    scorer = includes()
    from inspect_ai.scorer import scorer as decorate

    @decorate(metrics=list(metrics), name="includes")
    def again() -> Any:
        return scorer

    return again()


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_log_holds_the_difference_from_its_baseline(log: Log, epochs: int) -> None:
    before = log("before", set(range(8)))
    after = log(
        "after",
        set(range(4, 18)),
        epochs=epochs,
        scorers=with_metrics(accuracy(), paired_difference(str(before))),
    )
    values = metrics_of(after)
    (verdict,) = compare_results(read_results([before, after]))
    for name in ("difference", "low", "high", "p"):
        assert values[name] == pytest.approx(getattr(verdict.comparison, name))
    assert values["difference"] == pytest.approx(0.3)
    assert values["accuracy"] == pytest.approx(0.7)


def scores_of(names: list[str]) -> list[SampleScore]:
    return [SampleScore(score=Score(value="C"), sample_id=name) for name in names]


def test_samples_that_do_not_pair_give_nothing_and_a_warning(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(inspect_metric._log, "warning", lambda text, reason: warned.append(text % reason))
    compute = paired_difference(str(log("before", {1, 2})))
    assert compute(scores_of([])) == pytest.approx(
        {"difference": nan, "low": nan, "high": nan, "p": nan, "samples": 0}, nan_ok=True
    )
    assert warned == []
    values = compute(scores_of(["0", "1", *[f"other {n}" for n in range(10)]]))
    assert isinstance(values, dict)
    assert values["samples"] == 2
    assert values["p"] != values["p"]
    assert "2 of 12 samples are in" in warned[0]


def test_samples_that_are_scored_so_far_are_compared(log: Log) -> None:
    values = paired_difference(str(log("before", {1, 2})))(scores_of(["0", "1", "2"]))
    assert isinstance(values, dict)
    assert values["samples"] == 3
    assert values["difference"] == pytest.approx(1 / 3)


def test_a_baseline_that_cannot_be_read_is_named_before_the_eval(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"nowhere\.eval"):
        paired_difference(str(tmp_path / "nowhere.eval"))
