"""Time left, from what earlier runs took."""

from __future__ import annotations

from lowland.ground.time_left import TimeLeft


def test_the_time_left_knows_that_methods_differ() -> None:
    left = TimeLeft(["full", "lora", "full", "lora", "dora"], workers=2)
    assert left.sentence() == ""
    left.ended("full", 50)
    left.ended("lora", 20)
    # full 50, lora 20, and dora the mean of both, 35; two at a time
    assert left.sentence() == "about 52 s left"
    assert left.sentence(spent=40) == "about 32 s left"
    left.ended("full", None)  # found, or failed
    assert left.sentence() == "about 28 s left"
    assert left.sentence(spent=1000) == ""  # it takes longer than the others did
