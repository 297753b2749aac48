"""Lines for a person: a remark is printed once, whatever says it."""

from __future__ import annotations

import io

from lowland.ground.progress import Progress


def test_a_remark_is_printed_once() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for sentence in ("texts were cut", "labels differ", "texts were cut"):
        progress.remark(sentence)
    assert stream.getvalue() == "Beware: texts were cut.\nBeware: labels differ.\n"


def test_nothing_is_printed_without_a_stream() -> None:
    Progress().remark("texts were cut")
