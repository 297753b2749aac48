"""Ctrl-C, and the request of the system or of a scheduler to end: both end a command with a sentence."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_SECONDS = 0.05
"""Seconds after which a signal is sent again that came where Python would drop its exception."""


class Terminated(KeyboardInterrupt):
    """The request of the system, or of a scheduler, to end."""


@contextmanager
def interrupts() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at SIGINT and `Terminated` at SIGTERM, in this block.

    Python drops exceptions of a finaliser (`__del__`), and libraries have such. A signal that comes there is sent again
    a moment later. A process that ignores Ctrl-C, as one in the background does, goes on to ignore it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
