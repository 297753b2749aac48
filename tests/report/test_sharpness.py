"""Tests of the reports of sharpness and slices: sentences claim what the intervals show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lowland.evidence.core.intervals import PairedInterval
from lowland.evidence.sharpness import MeanRise, RiseDifference, SharpnessAt
from lowland.evidence.slices import Barrier
from lowland.report.markdown import render
from lowland.report.sharpness import sharpness_as_json, sharpness_blocks
from lowland.report.slices import barrier_sentence, barriers_as_json


def interval(difference: float, half: float = 0.01, p: float = 0.5) -> PairedInterval:
    return PairedInterval(
        difference, difference - half, difference + half, 0.95, (difference,), half / 2, 10, p, True
    )


def at(strength: float, difference: float, p: float, **changes: object) -> SharpnessAt:
    rises = tuple(
        MeanRise(name, (1, 2), mean, interval(mean)) for name, mean in (("lora", 0.5), ("flat-lora", 0.4))
    )
    compared = RiseDifference("flat-lora", "lora", (1, 2), interval(difference), p)
    return replace(SharpnessAt("test", "full", "expected", strength, rises, (compared,)), **changes)


def page(*figures: SharpnessAt, ended: tuple[str, ...] = ()) -> str:
    return render(sharpness_blocks(figures, {"test": 48}, 3, ended))


def test_sentence_says_at_which_strengths_a_method_is_flatter_sharper_or_undecided() -> None:
    out = page(at(0.02, -0.1, 0.001), at(0.05, -0.1, 0.04), at(0.1, 0.1, 0.06), at(0.2, 0.1, 0.01))
    assert (
        "- Expected sharpness: flat-lora is flatter than lora at 0.02, 0.05; flat-lora is sharper than lora at 0.2; no"
        " difference between flat-lora and lora is shown at 0.1 (2 seeds)." in out
    )
    assert out.startswith(
        "Rise of the loss (nats) on 48 examples of test; 3 draws of noise, each with both signs"
    )


def test_what_is_shown_follows_holm_and_not_the_interval() -> None:
    assert "flat-lora is flatter" not in page(at(0.1, -0.1, 0.2))


def test_differences_of_the_size_of_rounding_are_not_shown() -> None:
    assert "flat-lora is flatter" not in page(at(0.1, -9e-7, 1e-9))
    assert "flat-lora is flatter" in page(at(0.1, -2e-6, 1e-9))


def test_one_seed_says_nothing_of_others() -> None:
    single = replace(at(0.1, -0.1, 0.01).differences[0], seeds=(1,))
    assert "(1 seed, which says nothing of other seeds)" in page(at(0.1, -0.1, 0.01, differences=(single,)))


def test_table_shows_means_with_intervals_and_where_a_method_has_none() -> None:
    out = page(at(0.1, -0.1, 0.01), at(0.2, -0.1, 0.01, rises=at(0.2, 0, 1).rises[:1], differences=()))
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in out.splitlines()
        if "expected sharpness" in line
    ]
    assert rows[0][1:-1] == ["expected sharpness", "0.1", "0.5 (0.49 to 0.51)", "0.4 (0.39 to 0.41)"]
    assert rows[1][1:-1] == ["expected sharpness", "0.2", "0.5 (0.49 to 0.51)", "not finite"]
    assert rows[2][1:-1] == ["expected sharpness", "0.1", "flat-lora - lora", "-0.1 (-0.11 to -0.09)", "0.01"]


def test_rise_without_an_interval_stands_alone_and_sentences_on_ladders_close_the_page() -> None:
    alone = MeanRise("lora", (1,), 0.25, None)
    out = page(at(0.1, 0, 1, rises=(alone,), differences=()), ended=("The loss of lora is not finite.",))
    assert "| 0.25 " in out
    assert out.endswith("- The loss of lora is not finite.")
    (row,) = sharpness_as_json([at(0.1, 0, 1, rises=(alone,), differences=())])
    assert row["methods"]["lora"] == {"seeds": [1], "mean": 0.25, "low": None, "high": None}


@pytest.mark.parametrize(
    ("barrier", "words"),
    [
        (
            Barrier(0.0, 0.0, None),
            "no barrier; the loss is nowhere above the straight line between the ends.",
        ),
        (
            Barrier(0.5, 0.2, interval(0.2)),
            "a barrier of 0.2 nats (95 % interval 0.19 to 0.21 over examples), 50 % of the way.",
        ),
        (
            Barrier(0.3, 0.005, interval(0.005)),
            "a barrier of 0.005 nats (95 % interval -0.005 to 0.015 over examples), 30 % of the way; that may be"
            " chance.",
        ),
        (Barrier(0.3, 0.005, None), "a barrier of 0.005 nats, 30 % of the way."),
        (Barrier(0.4, math.inf, None), "the loss is not finite 40 % of the way."),
    ],
)
def test_barrier_in_words(barrier: Barrier, words: str) -> None:
    sentence = barrier_sentence("from lora, seed 1 to full, seed 1", "test", barrier)
    assert sentence == f"On the line from lora, seed 1 to full, seed 1, test data: {words}"


def test_json_has_no_infinite_number() -> None:
    (row,) = barriers_as_json({("line", "test"): Barrier(0.4, math.inf, None)})
    assert row == {"slice": "line", "split": "test", "x": 0.4, "height": None, "low": None, "high": None}
