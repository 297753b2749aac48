"""Windows: every part of a context is read, answers are found again, and "no answer" has a token of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from lowland.ground.mistakes import Mistake
from lowland.tasks.windows import Window, null_token, windows_of
from tests.tasks.questions import NAMES, PLACES, WORDS, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
TEXTS = st.lists(st.sampled_from([*NAMES, *PLACES, *WORDS]), min_size=1, max_size=90).map("  ".join)


def texts_of(window: Window, context: str) -> list[str]:
    return [context[start:end] for start, end in window.offsets.tolist()]


@given(question=TEXTS, context=TEXTS, length=st.integers(16, 60), stride=st.integers(0, 70))
@settings(max_examples=150)
def test_windows_cover_the_context_and_overlap(question: str, context: str, length: int, stride: int) -> None:
    (example,) = windows_of(TOKENIZER, [question], [context], length, stride)
    asked, tokens = question.split(), context.split()
    assert example.length == len(asked) + len(tokens) + 3
    assert example.is_cut == (example.length > length and len(asked) > length // 2)
    kept = asked[: length // 2] if example.is_cut else asked
    read: list[str] = []
    for number, window in enumerate(example.windows):
        ids = window.inputs["input_ids"]
        assert len(ids) <= length
        assert TOKENIZER.convert_ids_to_tokens(ids) == [
            "[CLS]",
            *kept,
            "[SEP]",
            *texts_of(window, context),
            "[SEP]",
        ]
        assert window.inputs["token_type_ids"] == [0] * (len(kept) + 2) + [1] * (len(ids) - len(kept) - 2)
        assert window.null == 0
        assert window.first == len(kept) + 2
        overlap = min(stride, (length - len(kept) - 3) // 2) if number else 0
        assert texts_of(window, context)[:overlap] == read[len(read) - overlap :]
        read += texts_of(window, context)[overlap:]
    assert read == tokens


@given(context=TEXTS, data=st.data())
@settings(max_examples=100)
def test_an_answers_positions_mark_the_answer(context: str, data: st.DataObject) -> None:
    tokens = context.split()
    first = data.draw(st.integers(0, len(tokens) - 1))
    last = data.draw(st.integers(first, len(tokens) - 1))
    start = len("  ".join([*tokens[:first], ""])) if first else 0
    end = start + len("  ".join(tokens[first : last + 1]))
    (example,) = windows_of(TOKENIZER, ["who ?"], [context], 32, 8)
    inside = [window.positions_of(start, end) for window in example.windows]
    for window, positions in zip(example.windows, inside, strict=True):
        if positions is None:
            assert start < window.offsets[0, 0] or end > window.offsets[-1, 1]
            continue
        marked = window.inputs["input_ids"][positions[0] : positions[1] + 1]
        assert TOKENIZER.convert_ids_to_tokens(marked) == tokens[first : last + 1]
    assert example.hold((start, end)) == any(positions is not None for positions in inside)
    if last - first < 8:  # what is at most as long as the overlap is whole in one of them
        assert example.hold((start, end))


def test_an_answer_that_ends_behind_a_window_is_not_in_it() -> None:
    context = " ".join(["by", "?"] * 20)
    (example,) = windows_of(TOKENIZER, ["who ?"], [context], 16, 4)
    first, second, *_ = example.windows
    start, end = first.offsets[-2, 0], first.offsets[-1, 1]
    assert first.positions_of(start, end) is not None
    assert first.positions_of(start, end + 2) is None  # a token more
    assert second.positions_of(start, end + 2) is not None
    assert second.positions_of(second.offsets[0, 0] - 2, end) is None


def test_a_part_of_a_token_marks_the_token() -> None:
    (example,) = windows_of(TOKENIZER, ["who ?"], ["by Carla ."], 16, 4)
    (window,) = example.windows
    first = window.first
    assert window.positions_of(4, 6) == (first + 1, first + 1)  # "ar"
    assert window.positions_of(2, 3) is None  # a space alone


def without_classification(template: str, **special: Any) -> Any:
    """A tokenizer that puts pairs together by another template."""
    tokenizer = tiny_tokenizer(cls_token=None, sep_token=None, eos_token="[SEP]", **special)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A", pair=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


@pytest.mark.parametrize("length", [40, 16])
def test_without_a_classification_token_the_last_one_stands_for_no_answer(length: int) -> None:
    context = "the bank is led by Anna now . then . then . then . then ."
    for template, appended in (("$A $B:1", 1), ("[CLS] $A $B:1", 1), ("$A [SEP] $B:1 [SEP]:1", 0)):
        tokenizer = without_classification(template)
        assert null_token(tokenizer).appended == appended
        (example,) = windows_of(tokenizer, ["who ?"], [context], length, 4)
        assert (len(example.windows) > 1) == (length == 16)
        for window in example.windows:
            ids = window.inputs["input_ids"]
            assert window.null == len(ids) - 1
            assert ids[-1] == 3
            assert len({len(values) for values in window.inputs.values()}) == 1
            assert len(ids) <= length
        assert example.hold((context.index("Anna"), context.index("Anna") + 4))


def test_a_classification_token_at_the_end_is_found() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A [CLS]", pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    (example,) = windows_of(tokenizer, ["who [CLS] ?"], ["by Anna"], 16, 4)  # a user's own [CLS] is none
    (window,) = example.windows
    assert window.null == len(window.inputs["input_ids"]) - 1


def test_a_context_of_which_nothing_is_left_has_a_window() -> None:
    tokenizer = tiny_tokenizer()
    (example,) = windows_of(tokenizer, ["who ?"], ["\u2003"], 16, 4)
    (window,) = example.windows
    assert len(window.offsets) == 0
    assert window.positions_of(0, 1) is None


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(Mistake, match=r"max_length is 15; .* needs at least 16 tokens"):
        windows_of(TOKENIZER, ["who ?"], ["by Anna"], 15, 4)
    slow = SimpleNamespace(is_fast=False)
    with pytest.raises(Mistake, match="the tokenizer SimpleNamespace does not say where its tokens stand"):
        null_token(slow)
    neither = without_classification("$A $B:1")
    neither.eos_token = None
    with pytest.raises(Mistake, match="neither a classification token nor an end-of-text token"):
        null_token(neither)
