"""Comparison of a reply with the gold answers: it forgives differences in writing, but not another answer.

A reply is read as plain text (`wording.py`): what follows its last correction ("Wait, …") if there is one, and of that
the line after the last "Answer:" if there is one.

**Names, words, phrases.** An alias (a form of the gold answer) counts if it stands in the reply as whole words, unless
it is

- denied: "not Paris", "Paris nahi", "many think of Paris, but";
- second in a comparison or order: "larger than Paris", "followed by Paris";
- part of another name or amount: "South Africa", "Ice cream", "10 crore";
- behind another answer: "Sydney. Canberra is smaller.";
- one of several candidates: beside an "or" whose other side is not an alias ("Paris or Lyon"), in a list of lines, in
  a reply that consists of names joined by "and", or behind the first of several names with commas. "X, or Y" with one
  comma says the same thing twice and counts; "Paris, France" counts for Paris.

An alias of one or two Latin letters (a symbol) must not be an initial ("Robert E. Lee"), and must end its clause if it
spells a common word. Its case must be the same, unless it is the whole reply or is called the symbol: "the symbol is
au". A phrase also counts if all of its content words stand in one sentence, in any order.

**Numbers and years.** The numbers of the reply are read with their units (`numbers.py`). Numbers in brackets, denied
numbers and the question's own numbers are ignored if others remain; so are numbers in another unit than the gold's. One
clause decides: the one that concludes ("so", "therefore", "in total"), else the first with a number. If it has several
numbers, those after the last "=" or "is" decide. They must be the gold's value and no other.

A number that is not fully read (5ish, 0x10, "hundreds", "more than 5") decides like any other and is never right. A
range is right only for the same range.

**Near misses.** One word of a name or word may be misspelt (see `near`), a number may not. Such replies count as right
and are marked.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lowland.replies.clauses import STOPS, denied, sentences
from lowland.replies.mentions import counts_as_answer, is_other_amount
from lowland.replies.near import near
from lowland.replies.numbers import numbers_in
from lowland.replies.other_names import function_words
from lowland.replies.quantities import answer_numbers, number_of_alias
from lowland.replies.wording import OR, SIGHT, Mention, Word, answer_part, listed, plain, words_of

COMMON = listed("a i as in at he be no so am or to is it us if of on my we me do by an up go hi")
STOP_WORDS = listed("a an of to in on at by for and is are was it its ka ki ke का की के में mein")

NAME_WORDS = 3
"""Largest number of words of an answer that is taken for a name, which must stand in the reply as it is."""
IS_CALLED = listed("is was symbol as by called chinh pratik प्रतीक चिह्न")
"""Words before a symbol that let it stand in lower case."""

SIGNED = re.compile(r"\w[+#]")
"""An alias with a sign behind its letters; without the sign it is another answer."""

SameWords = Callable[[Sequence[Word], Sequence[Word]], bool]


@dataclass(frozen=True)
class Match:
    """Result of comparing a reply with the gold.

    Attributes:
        right: whether the reply gives the gold answer, exactly or nearly.
        near: whether it does so only by a near miss.
        said: the words that decided; for a wrong reply, the part that was read, at most 200 characters.
    """

    right: bool
    near: bool
    said: str


def match(reply: str, answers: Iterable[str], kind: str, question: str = "") -> Match:
    """Compare a reply with the gold.

    Args:
        reply: reply as the model gave it.
        answers: all forms that count as right.
        kind: "name", "word", "phrase", "number" or "year".
        question: the clean question; its numbers are ignored in the reply.

    Examples:
        >>> match("The capital of Australia is **Canbera**.", ["Canberra"], "name")
        Match(right=True, near=True, said='Canbera')
        >>> match("It is not Paris but Lyon", ["Paris"], "name").right
        False
    """
    text = plain(reply)
    part = answer_part(text).strip()
    aliases = [alias for alias in map(plain, answers) if alias.strip()]
    if part.casefold() in [alias.casefold().strip() for alias in aliases]:
        return Match(True, False, part)
    if kind in ("number", "year"):
        return _number_match(part, aliases, kind == "year", plain(question))
    if normalise(part) and any(_is_written_alike(part, alias) for alias in aliases):
        return Match(True, False, part)
    if signed := _signed_match(part, aliases):
        return signed
    return _name_match(part, aliases, kind, frozenset(word.fold for word in words_of(plain(question))))


def is_right(reply: str, answer: str, question: str) -> bool:
    """Return whether a reply gives an answer whose kind is not known: a number if it is nothing but one.

    Args:
        reply: the reply.
        answer: the right answer.
        question: the question.
    """
    is_number = (
        bool(re.fullmatch(r"[\d\s.,+-]+", answer)) and number_of_alias(answer, years=False) is not None
    )
    kind = "number" if is_number else "name" if len(answer.split()) <= NAME_WORDS else "phrase"
    return match(reply, [answer], kind, question).right


def normalise(text: str) -> str:
    """Return the case-folded words of a text with one space between, without "the", a leading article or punctuation.

    Examples:
        >>> normalise("The  U.S.A.!"), normalise("ｃａｆé १२")
        ('usa', 'cafe 12')
    """
    return " ".join(word.fold for word in _gold_words(plain(text)))


def _is_written_alike(text: str, alias: str) -> bool:
    """Whether a text and an alias are equal once normalised, and have the same + and #: C++ is not C."""
    signs, alias_signs = ([sign for sign in side if sign in "+#"] for side in (text, alias))
    return normalise(text) == normalise(alias) and signs == alias_signs


def _signed_match(text: str, aliases: Sequence[str]) -> Match | None:
    """Match aliases with a sign (A+, C#), of which the words alone are another answer."""
    for alias in aliases:
        place = re.search(rf"(?<!\w){re.escape(alias.strip())}(?![\w+#])", text, re.IGNORECASE)
        if SIGNED.search(alias) and place and not denied(text, *place.span()):
            return Match(True, False, place[0])
    return None


def _name_match(text: str, aliases: Sequence[str], kind: str, known: frozenset[str]) -> Match:
    """Match by whole words, then a phrase by its content words, then by near misses."""
    words = words_of(text)
    golds = [_gold_words(alias) for alias in aliases if not SIGNED.search(alias)]
    mentions = [(*place, gold) for gold in golds for place in _places(words, gold, _same)]
    spans = [(start, end) for start, end, _ in mentions]
    edges = _edges(spans)
    for start, end, gold in mentions:
        mention = Mention(text, words, start, end, spans, *edges, known)
        if (
            counts_as_answer(mention)
            and _symbol_stands(text, words, start, end, gold)
            and not is_other_amount(mention)
        ):
            return Match(True, False, mention.said)
    if kind == "number":
        return Match(False, False, text[:200])
    if kind == "phrase":
        return _phrase_match(text, golds, [words[start].start for start, _ in spans])
    if mentions:
        return Match(False, False, text[:200])
    initials = {word.fold[0] for word in words}  # near words have the same first letter
    likely = [gold for gold in golds if gold and gold[0].fold[0] in initials]
    near_spans = [place for gold in likely for place in _places(words, gold, _nearly)]
    edges = _edges(near_spans)
    for start, end in near_spans:
        mention = Mention(text, words, start, end, near_spans, *edges, known)
        if counts_as_answer(mention):
            return Match(True, True, mention.said)
    return Match(False, False, text[:200])


def _edges(spans: Sequence[tuple[int, int]]) -> tuple[frozenset[int], frozenset[int]]:
    """Return the first words of all spans, and the words behind them."""
    return frozenset(start for start, _ in spans), frozenset(end for _, end in spans)


def _phrase_match(text: str, golds: Sequence[Sequence[Word]], mentions: Sequence[int]) -> Match:
    """Match a phrase by its content words in a sentence that has none of its mentions, which did not count."""
    starts = sorted(mentions)
    for start, end in sentences(text):
        if bisect_left(starts, start) == bisect_left(starts, end) and any(
            _all_words(text[start:end], gold) for gold in golds
        ):
            return Match(True, False, text[start:end].strip())
    return Match(False, False, text[:200])


def _gold_words(text: str) -> tuple[Word, ...]:
    """Return the words of an alias without a leading article."""
    words = words_of(text)
    return words[1:] if len(words) > 1 and words[0].fold in ("a", "an") else words


def _places(words: Sequence[Word], gold: Sequence[Word], equal: SameWords) -> list[tuple[int, int]]:
    """Return [start, end) in words of every place where the gold's words stand in a row."""
    size = len(gold)
    if not size:
        return []
    first = gold[0].fold[0]
    return [
        (place, place + size)
        for place in range(len(words) - size + 1)
        if words[place].fold[0] == first and equal(words[place : place + size], gold)
    ]


def _same(words: Sequence[Word], gold: Sequence[Word]) -> bool:
    return all(word.fold == gold_word.fold for word, gold_word in zip(words, gold, strict=True))


def _nearly(words: Sequence[Word], gold: Sequence[Word]) -> bool:
    """Whether every word is equal or near to the gold's."""
    return all(
        word.fold == gold_word.fold or near(word.fold, gold_word.fold)
        for word, gold_word in zip(words, gold, strict=True)
    )


def _all_words(sentence: str, gold: Sequence[Word]) -> bool:
    """Whether a sentence has all content words of a phrase of two or more, and denies none of them."""
    content = {word.fold for word in gold} - STOP_WORDS
    word_of_fold = {word.fold: word for word in words_of(sentence)}
    return (
        len(content) >= 2
        and content <= set(word_of_fold)
        and not any(denied(sentence, word_of_fold[fold].start, word_of_fold[fold].end) for fold in content)
        and not any(fold in OR for fold in word_of_fold)
    )


def _symbol_stands(text: str, words: Sequence[Word], start: int, end: int, gold: Sequence[Word]) -> bool:
    """Whether a mention of a short Latin alias counts: its case is right, and a common word ends its clause.

    True for all other aliases.
    """
    if len(gold) > 1 or len(gold[0].fold) > 2 or not gold[0].fold.isascii() or gold[0].raw.isdigit():
        return True
    if words[start].raw != gold[0].raw:
        is_lower = words[start].raw == gold[0].fold
        return (
            is_lower and gold[0].fold not in COMMON | function_words() and _is_called(text, words, start, end)
        )
    rest = _rest(text, words[end - 1].end)
    if start > 0 and words[start - 1].raw[0].isupper() and re.match(r"\.\s+[A-Z]", rest):
        return False  # an initial
    return gold[0].fold not in COMMON or not rest or rest[0] in STOPS + ","


def _is_called(text: str, words: Sequence[Word], start: int, end: int) -> bool:
    """Whether a symbol in lower case is named as one: "the symbol is au", "symbol au hai"."""
    rest = _rest(text, words[end - 1].end)
    last = words[start - 1].fold if start else ""
    ends = not rest or rest[0] in STOPS + "," or re.fullmatch(r"(?:hai|है)\W*", rest) is not None
    return ends and last in IS_CALLED


def _rest(text: str, place: int) -> str:
    """Return what stands behind a place, as far as it is in sight."""
    return text[place : place + SIGHT].lstrip()


def _number_match(text: str, aliases: Sequence[str], years: bool, question: str) -> Match:
    """Match by the reply's numbers, then by the words of aliases that hold several numbers or unread ones."""
    golds = [number for alias in aliases if (number := number_of_alias(alias, years)) is not None]
    values = {gold.value for gold in golds if gold.value is not None}
    units = {gold.unit for gold in golds} - {""}
    in_question = {value for number in numbers_in(question, years) for value in number.values}
    numbers = answer_numbers(text, years, units, values, in_question)
    said = ", ".join(text[number.start : number.end] for number in numbers) or text[:200]
    if numbers and {number.value for number in numbers} <= values:
        return Match(True, False, said)
    without_value = [alias for alias in aliases if number_of_alias(alias, years) is None]
    by_words = _name_match(text, without_value, "number", frozenset())
    return by_words if by_words.right else Match(False, False, said)
