"""An item: a clean question with its right answers, and the hash of several."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from lowland.items.fact import Fact

AnswerKind = Literal["name", "number", "year", "word", "phrase"]
KINDS: tuple[str, ...] = get_args(AnswerKind)


@dataclass(frozen=True)
class Item:
    """A question with its right answers.

    Attributes:
        id: one word; the same in every condition.
        topic: "geography", …
        kind: kind of answer, one of `KINDS`.
        question: the clean text.
        answers: all forms that count as right, numbers as digits and as words.
        protect: exact parts of the question that the answer depends on.
        condition: "clean", or the name of the language condition.
        target: the language to answer in.
        literal: word-by-word translations of the answer, which are wrong.
    """

    id: str
    topic: str
    kind: AnswerKind
    question: str
    answers: tuple[str, ...]
    protect: tuple[str, ...] = ()
    condition: str = "clean"
    target: str = "English"
    literal: tuple[str, ...] = ()


def content_hash(items: Iterable[Item | Fact]) -> str:
    """Return the SHA-256 of all fields of the items, in the items' order, as 64 hexadecimal digits."""
    rows = [[type(item).__name__, vars(item)] for item in items]
    text = json.dumps(rows, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
