"""Exact match and F1 of extracted answers, by the rules of SQuAD (Rajpurkar et al., 2016; 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

NO_ANSWER = ""
"""Prediction that a context holds no answer."""

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """Return an answer as it is compared: in lower case, without ASCII punctuation, articles and extra spaces.

    Examples:
        >>> normalised(" The U.S.  Army's")
        'us armys'
    """
    plain = answer.lower().translate(WITHOUT_PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", plain).split())


def exact_match(predicted: str, gold: Sequence[str]) -> float:
    """Return 1 if the prediction is one of the accepted answers after normalisation, else 0.

    Args:
        predicted: predicted answer; `NO_ANSWER` if there is none.
        gold: accepted answers; none for a question without an answer.
    """
    return float(normalised(predicted) in {normalised(answer) for answer in _accepted(gold)})


def f1(predicted: str, gold: Sequence[str]) -> float:
    """Return the largest F1 of a prediction's words with those of an accepted answer; see `exact_match`."""
    return max(
        _f1_of_words(normalised(predicted).split(), normalised(answer).split()) for answer in _accepted(gold)
    )


def _accepted(gold: Sequence[str]) -> list[str]:
    """Return the answers that are not empty after normalisation; without any, "no answer" is the right one."""
    return [answer for answer in gold if normalised(answer)] or [NO_ANSWER]


def _f1_of_words(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """Return 2PR / (P + R) of two bags of words; 1 for two empty bags."""
    if not predicted or not gold:
        return float(predicted == gold)
    shared = (Counter(predicted) & Counter(gold)).total()
    return 2 * shared / (len(predicted) + len(gold))
