"""Messages of runs in other processes: lines, remarks, and bars that move now and then."""

from __future__ import annotations

from typing import Any

import pytest

from lowland.study.messages import Moved, Relay, Said


def test_a_worker_relays_lines_and_the_moves_of_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowland.study.messages.SECONDS", -1.0)
    messages: list[Any] = []
    relay = Relay(messages.append, bars=True)
    relay.say("begun")
    relay.remark("texts were cut")
    with relay.bar(8, unit="steps", label="[1/2] lora") as bar:
        bar.note("loss 0.5")
        bar.step(3)
    assert messages == [
        Said("begun"),
        Said("texts were cut", is_remark=True),
        Moved("[1/2] lora", 3, 8, "steps", "loss 0.5", ended=False),
        Moved("[1/2] lora", 3, 8, "steps", "loss 0.5", ended=True),
    ]


@pytest.mark.parametrize("bars", [True, False])
def test_moves_are_sent_now_and_then_and_only_if_they_can_be_shown(bars: bool) -> None:
    messages: list[Any] = []
    with Relay(messages.append, bars).bar(1000, unit="steps", label="[1/2] lora") as bar:
        for _ in range(1000):
            bar.step()
    assert bool(messages) is bars
    assert len(messages) < 20
