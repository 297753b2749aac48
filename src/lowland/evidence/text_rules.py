"""Rules that sort English texts by what makes them hard for a classifier of sentiment.

Each rule looks for the words of `text_rules.yaml`, so it errs. `benchmarks/text_rules.py` measures its precision and
recall on the tags of `financial-demo` and on sentences of Financial PhraseBank that were labelled by hand; see
docs/errors.md. The kinds of difficulty are those that `financial-demo` tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

LONG = 25
"""Number of words from which a text is long."""

_YEAR = r"(?:19|20)\d\d(?![\d.,]*\d)"
_NUMBER = re.compile(rf"(?<!\w)[$€£]?(?!{_YEAR})\d")
_MONEY = re.compile(r"(?:[$€£]|\b(?:EUR|USD|GBP|SEK|NOK|DKK)\s?)\d[\d.,]*")
_NUMERO = re.compile(r"\bno\s?\.\s?(?=\d|:)", re.IGNORECASE)
_PERCENT = re.compile(r"\d[\d.,]*\s?(?:%|percent|per cent|basis points|bps)", re.IGNORECASE)


@dataclass(frozen=True)
class TextRule:
    """Rule that says whether a text is of some kind.

    Attributes:
        name: name of the kind.
        summary: what a text of this kind is, in words.
        holds: whether a text is of this kind.
    """

    name: str
    summary: str
    holds: Callable[[str], bool]


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    """Return a pattern for each list of words: it matches them as whole words, in any case."""
    lists = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {name: _pattern(words) for name, words in lists.items()}


def _pattern(words: str) -> re.Pattern[str]:
    alternatives = [re.escape(" ".join(word.split())).replace(r"\*", r"\w*") for word in words.split(",")]
    longest_first = sorted(alternatives, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)


def _has(name: str, text: str) -> bool:
    return _patterns()[name].search(text.replace("’", "'")) is not None


def _compares_numbers(text: str) -> bool:
    """Return whether a text has a number and words of comparison, or two amounts or two percentages."""
    has_number = _NUMBER.search(text) is not None or _has("numbers", text)
    if has_number and _has("comparison", text):
        return True
    return any(len(set(amounts.findall(text))) > 1 for amounts in (_MONEY, _PERCENT))


def _denies(text: str) -> bool:
    return _has("negation", _NUMERO.sub("", text))


def _is_mixed(text: str) -> bool:
    """Return whether a text has words of good and of bad news, or words of either and a word of contrast."""
    is_good, is_bad = _has("good", text), _has("bad", text)
    return (is_good and is_bad) or ((is_good or is_bad) and _has("contrast", text))


TEXT_RULES: Mapping[str, TextRule] = {
    rule.name: rule
    for rule in (
        TextRule("numeric-context", "a number is compared with another", _compares_numbers),
        TextRule(
            "jargon", "terms of accounting, credit or the stock market", lambda text: _has("jargon", text)
        ),
        TextRule("forward-looking", "plans, expectations or the future", lambda text: _has("future", text)),
        TextRule("mixed-signal", "good news and bad news together", _is_mixed),
        TextRule("negation", "something is denied", _denies),
        TextRule("long", f"{LONG} words or more", lambda text: len(text.split()) >= LONG),
    )
}
"""Rules by their names."""
