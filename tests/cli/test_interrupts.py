"""Signals end a command, wherever they come."""

from __future__ import annotations

import os
import signal
import time

import pytest

from lowland.cli import main as main_module
from lowland.cli.interrupts import Terminated, interrupts


class Slow:
    """Object whose finaliser gets a signal."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        time.sleep(0.01)  # the handler runs here, where an exception would be dropped


@pytest.fixture(autouse=True)
def ctrl_c() -> None:
    """Tests may run in the background, where Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
@pytest.mark.parametrize("in_finaliser", [False, True])
def test_a_signal_is_an_exception(number: int, error: type[BaseException], in_finaliser: bool) -> None:
    def work() -> None:
        with interrupts():
            if in_finaliser:
                Slow(number)
            else:
                os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(error) as caught:
        work()
    assert type(caught.value) is error


def test_afterwards_the_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_process_in_the_background_ignores_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts():
        os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(("verb", "goes_on"), [("tasks", False), ("compare", True)])
def test_only_verbs_that_go_on_say_so(
    verb: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "_dispatch", interrupt)
    assert main_module.main([verb]) == 130
    err = capsys.readouterr().err
    assert err.startswith("lowland: interrupted")
    assert ("the same command goes on" in err) == goes_on
