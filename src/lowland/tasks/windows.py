"""Windows of a question and a part of its context: a long context becomes several rows, which overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lowland.ground.mistakes import Mistake

SHORTEST = 16
"""Smallest number of tokens that a window may have."""
CHUNK = 1000
"""Number of examples that are tokenized at a time."""

OVERFLOW = "overflow_to_sample_mapping"
"""Name under which a tokenizer says which example a row belongs to."""

Offsets = npt.NDArray[np.int64]
"""Start and end, in characters, of each of n tokens (n, 2)."""


@dataclass(frozen=True)
class Window:
    """A question with a part of its context, as a model reads them.

    Attributes:
        inputs: what the model takes, by name: a value for each token.
        null: position of the token that stands for "no answer".
        first: position of the first token of the context.
        offsets: place in the context of each of its tokens here.
    """

    inputs: Mapping[str, list[int]]
    null: int
    first: int
    offsets: Offsets

    def positions_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the positions of the first and the last token of characters start to end; None if some are outside.

        Args:
            start: first character of an answer in the context.
            end: the character behind its last one.
        """
        starts, ends = self.offsets[:, 0], self.offsets[:, 1]
        if not len(starts) or start < starts[0] or end > ends[-1]:
            return None
        tokens = np.flatnonzero((ends > start) & (starts < end))
        return (self.first + int(tokens[0]), self.first + int(tokens[-1])) if len(tokens) else None


@dataclass(frozen=True)
class Windows:
    """Windows of one example.

    Attributes:
        windows: the windows, from the beginning of the context to its end.
        length: number of tokens of question and context together.
        is_cut: whether the end of the question is in no window.
    """

    windows: list[Window]
    length: int
    is_cut: bool = False

    def hold(self, place: tuple[int, int] | None) -> bool:
        """Return whether one window holds all characters of a place in the context; True for no place."""
        return place is None or any(window.positions_of(*place) for window in self.windows)


@dataclass(frozen=True)
class NullToken:
    """Token that stands for "no answer".

    A classification token, where the tokenizer adds one, as in BERT; else the end-of-text token behind the context,
    which even a decoder reads after everything else.

    Attributes:
        number: its id.
        appended: whether it must be appended, since the tokenizer does not add it.
    """

    number: int
    appended: bool = False


def null_token(tokenizer: Any) -> NullToken:
    """Find the token that stands for "no answer".

    Raises:
        Mistake: if the tokenizer does not say where its tokens stand in a text, or has no such token.
    """
    if not tokenizer.is_fast:
        raise Mistake(
            f"the tokenizer {type(tokenizer).__name__} does not say where its tokens stand in a text, which question"
            " answering needs; use a model with a fast tokenizer (tokenizer.json)"
        )
    pair = tokenizer("a", "a")
    ids, parts = pair["input_ids"], pair.sequence_ids(0)
    if tokenizer.cls_token_id in [number for number, part in zip(ids, parts, strict=True) if part is None]:
        return NullToken(tokenizer.cls_token_id)
    if tokenizer.eos_token_id is None:
        raise Mistake(
            f"the tokenizer {type(tokenizer).__name__} has neither a classification token nor an end-of-text token, one"
            ' of which stands for "no answer"; use another model, such as a BERT'
        )
    return NullToken(tokenizer.eos_token_id, ids[-1] != tokenizer.eos_token_id)


def windows_of(
    tokenizer: Any, questions: Sequence[str], contexts: Sequence[str], max_length: int, stride: int
) -> list[Windows]:
    """Tokenize questions with their contexts; return the windows of each.

    A question and context of up to `max_length` tokens are one window. Of a longer context, a window holds as much as
    fits behind the question, and the next one begins `stride` tokens before its end (fewer, if that were more than half
    of it). The question of such an input is cut if it has more than half of `max_length` tokens.

    Raises:
        Mistake: if `max_length` is less than `SHORTEST`, or the tokenizer does not fit; see `null_token`.
    """
    null = null_token(tokenizer)
    if max_length < SHORTEST:
        raise Mistake(
            f"max_length is {max_length}; a question with a part of its context needs at least {SHORTEST} tokens"
        )
    examples: list[Windows] = []
    for start in range(0, len(questions), CHUNK):
        chunk = slice(start, start + CHUNK)
        length = max_length - null.appended
        examples += _windows_of_chunk(
            tokenizer, null, list(questions[chunk]), list(contexts[chunk]), length, stride
        )
    return examples


def _windows_of_chunk(
    tokenizer: Any, null: NullToken, questions: list[str], contexts: list[str], length: int, stride: int
) -> list[Windows]:
    whole = tokenizer(questions, contexts, truncation=False, verbose=False)
    examples = []
    long: dict[int, list[int]] = {}  # by their stride
    for place, ids in enumerate(whole["input_ids"]):
        example = Windows([], len(ids) + null.appended)
        examples.append(example)
        if len(ids) <= length:
            example.windows.append(_window(whole, place, null))
            continue
        parts = whole.sequence_ids(place)
        of_question = [position for position, part in enumerate(parts) if part == 0]
        if len(of_question) > length // 2:
            last = of_question[length // 2 - 1]
            questions[place] = questions[place][: whole.encodings[place].offsets[last][1]]
            examples[place] = replace(example, is_cut=True)
        room = length - min(len(of_question), length // 2) - parts.count(None)
        long.setdefault(min(stride, room // 2), []).append(place)
    for overlap, places in long.items():
        for place, window in _overlapping(tokenizer, null, questions, contexts, places, length, overlap):
            examples[place].windows.append(window)
    return examples


def _overlapping(
    tokenizer: Any,
    null: NullToken,
    questions: Sequence[str],
    contexts: Sequence[str],
    places: Sequence[int],
    length: int,
    overlap: int,
) -> Iterator[tuple[int, Window]]:
    """Yield the windows of the examples at these places, with these places."""
    encoded = tokenizer(
        [questions[place] for place in places],
        [contexts[place] for place in places],
        truncation="only_second",
        max_length=length,
        stride=overlap,
        return_overflowing_tokens=True,
        verbose=False,
    )
    for row, example in enumerate(encoded[OVERFLOW]):
        yield places[example], _window(encoded, row, null)


def _window(encoded: Any, row: int, null: NullToken) -> Window:
    """Return one row of a tokenizer's output as a window."""
    ids, parts = list(encoded["input_ids"][row]), encoded.sequence_ids(row)
    inputs = {name: list(encoded[name][row]) for name in encoded if name != OVERFLOW}
    if null.appended:
        ids, parts = [*ids, null.number], [*parts, None]
        inputs = {name: [*values, values[-1]] for name, values in inputs.items()} | {"input_ids": ids}
    first, count = (parts.index(1), parts.count(1)) if 1 in parts else (0, 0)
    offsets = encoded.encodings[row].offsets[first : first + count]
    return Window(
        inputs=inputs,
        null=max(place for place, number in enumerate(ids) if number == null.number and parts[place] is None),
        first=first,
        offsets=np.array(offsets, dtype=np.int64).reshape(-1, 2),
    )
