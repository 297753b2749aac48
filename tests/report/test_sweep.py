"""Report of a sweep: the curve, the best settings, and a word where the best is at the end of a range."""

from __future__ import annotations

from typing import Any

from lowland.report.markdown import render
from lowland.report.sweep import sweep_blocks


def tuning(best: float, scores: list[float | None], space: list[float] | None = None) -> dict[str, Any]:
    curve, highest = [], None
    for score in scores:
        highest = score if highest is None or (score is not None and score > highest) else highest
        curve.append(highest)
    return {
        "space": {"lr": space or [5e-5, 5e-3]},
        "trials": [{"settings": {"lr": 1e-3}, "score": score, "state": "complete"} for score in scores],
        "best": {"lr": best},
        "best_so_far": curve,
        "examples": 1200,
        "score": "macro_f1",
    }


def test_the_curve_and_the_best_are_shown() -> None:
    text = " ".join(render(sweep_blocks({"lora": tuning(1e-3, [None, 0.5, 0.4, 0.75])})).split())
    assert "with 4 trials for each method" in text
    assert "the best validation macro F1 after so many trials" in text
    assert "| method | 1 trial | 2 trials | best | settings | examples |" in text
    assert "| lora | | 0.5000 | 0.7500 | lr 0.001 | 1,200 |" in text
    assert "Near the end" not in text


def test_a_best_value_at_the_end_of_its_range_is_named() -> None:
    blocks = sweep_blocks({"lora": tuning(4.9e-3, [0.5]), "full": tuning(1e-3, [0.5])})
    text = render(blocks)
    assert (
        "Near the end of its range: lora's lr 0.0049 (from 5e-05 to 0.005). Better values may lie beyond it."
        in text
    )
    assert "full's" not in text
