"""Is a reply right? A match with the gold's aliases that forgives writing, and forgives no other answer.

A reply is read as plain text (`wording.py`): the line after its last "Answer:" where it has one, what
follows its last correction ("Wait, …"), else all of it.

**Names, words, phrases.** An alias counts where it stands as whole words, unless it is denied ("not Paris", "Paris
nahi", "many think of Paris, but"), second ("larger than Paris", "followed by Paris"), part of another name or amount
("South Africa", "10 crore"), or one of several candidates: beside an "or" whose other side is no alias ("Paris or
Lyon"; "X, or Y" with one comma says the same thing twice and counts), in a list of lines, in a reply of nothing but
names joined by "and", or behind the first of names with commas ("Paris, France" counts for Paris). Aliases of one or
two Latin letters (symbols) must have their case, be no initial ("Robert E. Lee"), and where they spell a common word,
end their clause. For a phrase, all of its content words in one sentence will do, in any order.

**Numbers and years.** The reply's numbers are read with their units (`numbers.py`). Those in brackets,
denied ones and the question's own are set aside where others remain; so is a number in another unit than the gold's.
The clause that decides is the first with a number, or the one that concludes ("so", "therefore", "in total"); in it,
what follows the last "=" or "is" where there are several. It must hold the gold's value and no other.

**Near misses.** One misspelt word of a name or word, no number: see `near`. They count as right and are marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from lowland.stress.replies.mentions import counts, other_amount
from lowland.stress.replies.numbers import numbers_in
from lowland.stress.replies.quantities import given_numbers, number_of_alias
from lowland.stress.replies.wording import (
    OR,
    STOPS,
    Word,
    answer_part,
    denied,
    listed,
    plain,
    sentences,
    words_of,
)

NEAR = 0.86
"""The least similarity of a near miss, 1 - edits / letters (edits with swaps); see near_misses.jsonl."""
NEAR_LETTERS = 5
"""Shorter words have no near misses: Iran, Iraq."""
ENDING_LETTERS = 9
"""Shorter words are other words when letters are added at their end: silicon, silicone."""

COMMON = listed("a i as in at he be no so am or to is it us if of on my we me do by an up go hi")
STOP_WORDS = listed("a an of to in on at by for and is are was it its ka ki ke का की के में mein")

Equal = Callable[[Sequence[Word], Sequence[Word]], bool]


@dataclass(frozen=True)
class Match:
    """What was found in a reply.

    Attributes:
        right: the reply gives the gold answer, exactly or nearly.
        near: it does so only by a near miss.
        said: the words that decided; for a wrong reply the part that was read, at most 200 characters.
    """

    right: bool
    near: bool
    said: str


def match(reply: str, answers: Iterable[str], kind: str, question: str = "") -> Match:
    """Compare a reply with the gold.

    Args:
        reply: as the model gave it.
        answers: all forms that count.
        kind: "name", "word", "phrase", "number" or "year".
        question: the clean question; numbers that stand in it are set aside in the reply.

    Example:
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
    if normalise(part) and normalise(part) in map(normalise, aliases):
        return Match(True, False, part)
    return _name_match(part, aliases, kind)


def normalise(text: str) -> str:
    """The words of a text, folded, one space between; "the", a first "a" or "an", and punctuation are gone.

    Example:
        >>> normalise("The  U.S.A.!"), normalise("ｃａｆé १२")
        ('usa', 'cafe 12')
    """
    return " ".join(word.fold for word in _gold_words(plain(text)))


def near(word: str, gold: str) -> bool:
    """Whether a word is a misspelling of another: two folded single words.

    Both have `NEAR_LETTERS` letters or more, no digit, and the same first letter; they are equal once double letters
    are single, or 1 - edits / letters of the longer is at least `NEAR`, that is one edit in eight letters, and a word
    below `ENDING_LETTERS` is not the beginning of the other.

    Example:
        >>> near("canbera", "canberra"), near("austria", "australia")
        (True, False)
    """
    letters = min(len(word), len(gold))
    if letters < NEAR_LETTERS or word[0] != gold[0] or any(one.isdigit() for one in word + gold):
        return False
    if _single(word) == _single(gold):
        return True
    if letters < ENDING_LETTERS and (word.startswith(gold) or gold.startswith(word)):
        return False
    return OSA.normalized_similarity(word, gold) >= NEAR


def _name_match(text: str, aliases: Sequence[str], kind: str) -> Match:
    """By whole words, then a phrase by its content words, then by near misses."""
    words = words_of(text)
    golds = [_gold_words(alias) for alias in aliases]
    exact = [(*place, gold) for gold in golds for place in _places(words, gold, _same)]
    spans = [(start, end) for start, end, _ in exact]
    for start, end, gold in exact:
        if (
            counts(text, words, start, end, spans)
            and _symbol_stands(text, words, start, end, gold)
            and not other_amount(text, words, start, end)
        ):
            return Match(True, False, text[words[start].start : words[end - 1].end])
    if kind == "number":
        return Match(False, False, text[:200])
    if kind == "phrase":
        for a, b in sentences(text):
            if any(_all_words(text[a:b], gold) for gold in golds):
                return Match(True, False, text[a:b].strip())
        return Match(False, False, text[:200])
    if exact:
        return Match(False, False, text[:200])
    initials = {word.fold[0] for word in words}  # near words have the same
    likely = [gold for gold in golds if gold and gold[0].fold[0] in initials]
    close = [place for gold in likely for place in _places(words, gold, _nearly)]
    for start, end in close:
        if counts(text, words, start, end, close):
            return Match(True, True, text[words[start].start : words[end - 1].end])
    return Match(False, False, text[:200])


def _gold_words(text: str) -> tuple[Word, ...]:
    words = words_of(text)
    return words[1:] if len(words) > 1 and words[0].fold in ("a", "an") else words


def _places(words: Sequence[Word], gold: Sequence[Word], equal: Equal) -> list[tuple[int, int]]:
    """Where the gold's words stand in a row, as [start, end) of words."""
    size = len(gold)
    if not size:
        return []
    first = gold[0].fold[0]
    return [
        (place, place + size)
        for place in range(len(words) - size + 1)
        if words[place].fold[0] == first and equal(words[place : place + size], gold)
    ]


def _same(some: Sequence[Word], gold: Sequence[Word]) -> bool:
    return all(one.fold == other.fold for one, other in zip(some, gold, strict=True))


def _nearly(some: Sequence[Word], gold: Sequence[Word]) -> bool:
    """Every word equal or near."""
    return all(
        one.fold == other.fold or near(one.fold, other.fold) for one, other in zip(some, gold, strict=True)
    )


def _all_words(sentence: str, gold: Sequence[Word]) -> bool:
    """Whether a sentence has all content words of a phrase of two or more, none of them denied."""
    wanted = {word.fold for word in gold} - STOP_WORDS
    there = {word.fold: word for word in words_of(sentence)}
    return (
        len(wanted) >= 2
        and wanted <= set(there)
        and not any(denied(sentence, there[fold].start, there[fold].end) for fold in wanted)
        and not any(word in OR for word in there)
    )


def _symbol_stands(text: str, words: Sequence[Word], start: int, end: int, gold: Sequence[Word]) -> bool:
    """Short Latin aliases in running text: the case must be right, and a common word must end its clause."""
    if len(gold) > 1 or len(gold[0].fold) > 2 or not gold[0].fold.isascii() or gold[0].raw.isdigit():
        return True
    if words[start].raw != gold[0].raw:
        return False
    rest = text[words[end - 1].end :].lstrip()
    if start > 0 and words[start - 1].raw[0].isupper() and re.match(r"\.\s+[A-Z]", rest):
        return False  # an initial
    return gold[0].fold not in COMMON or not rest or rest[0] in STOPS + ","


def _single(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word)


def _number_match(text: str, aliases: Sequence[str], years: bool, question: str) -> Match:
    golds = [one for alias in aliases if (one := number_of_alias(alias, years)) is not None]
    values, units = {one.value for one in golds}, {one.unit for one in golds} - {""}
    asked = {one.value for one in numbers_in(question, years)}
    given = given_numbers(text, years, units, values, asked)
    said = ", ".join(text[one.start : one.end] for one in given) or text[:200]
    if given and {one.value for one in given} <= values:
        return Match(True, False, said)
    in_words = [alias for alias in aliases if len(numbers_in(alias, years)) > 1 and not years]
    found = _name_match(text, in_words, "number")
    return found if found.right else Match(False, False, said)
