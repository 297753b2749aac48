"""Learning curves. Oracle: means and ranges by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lowland.evidence.curves import POINTS, learning_curve
from lowland.evidence.readers.history import read_history
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import write_history


def log(*values: float, name: str = "loss", step: float = 0.5) -> list[dict]:
    return [{"epoch": step * (n + 1), name: value} for n, value in enumerate(values)]


def test_mean_and_range_are_over_seeds():
    curve = learning_curve("lora", [log(1.0, 0.5), log(3.0, 0.7)], "loss")
    assert curve.seeds == 2
    assert curve.epochs == (0.5, 1.0)
    assert curve.mean == pytest.approx((2.0, 0.6))
    assert (curve.low, curve.high) == ((1.0, 0.5), (3.0, 0.7))


def test_only_epochs_that_all_seeds_have_count_and_the_later_of_two_entries():
    first = [
        *log(1.0, 0.5, 0.4),
        {"epoch": 0.5, "loss": 9.0},
        {"epoch": 2.0, "loss": None},
        {"epoch": 1.0, "eval_loss": 3},
    ]
    curve = learning_curve("lora", [first, log(1.0, 0.5)], "loss")
    assert curve.epochs == (0.5, 1.0)
    assert curve.high == (9.0, 0.5)


def test_what_was_not_logged_has_no_curve():
    assert learning_curve("lora", [log(1.0), []], "loss") is None
    assert learning_curve("lora", [], "loss") is None
    assert learning_curve("lora", [log(1.0)], "eval_loss") is None


def test_long_curves_are_thinned_and_keep_their_mean():
    values = np.random.default_rng(0).normal(0, 1, 20 * POINTS)
    curve = learning_curve("lora", [log(*values.tolist(), step=0.001)], "loss")
    assert len(curve.mean) == POINTS
    assert np.mean(curve.mean) == pytest.approx(values.mean())
    assert list(curve.epochs) == sorted(curve.epochs)


def test_a_log_is_read_back(tmp_path):
    assert read_history(tmp_path) == []
    entries = [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": float("nan")}]
    write_history(tmp_path, entries)
    assert read_history(tmp_path) == [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": None}]


@pytest.mark.parametrize("text", ["{", "[1]", "\x80"])
def test_a_damaged_log_is_a_mistake(tmp_path, text):
    (tmp_path / "history.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(Mistake, match=r"history\.jsonl is damaged"):
        read_history(tmp_path)
