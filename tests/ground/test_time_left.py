"""Time left, from what earlier runs took."""

from __future__ import annotations

from lowland.ground.time_left import TimeLeft


def test_the_time_left_knows_that_methods_differ() -> None:
    left = TimeLeft(["full", "lora", "full", "lora", "dora"], workers=2)
    assert left.sentence() == ""
    left.ended("full", 50)
    left.ended("lora", 20)
    assert left.sentence() == ""  # no dora has ended
    left.ended("dora", 34)
    assert left.sentence() == "about 35 s left"  # full 50 and lora 20, two at a time
    assert left.sentence(spent=40) == "about 15 s left"
    left.ended("full", None)  # found, or failed
    assert left.sentence() == "about 10 s left"
    assert left.sentence(spent=1000) == ""  # it takes longer than the others did
