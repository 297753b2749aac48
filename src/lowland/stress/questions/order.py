"""Order of questions of which every beginning is a fair sample of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lowland.stress.questions.questionnaire import Question

ITEM_SHARE = math.sqrt(2) - 1
FORM_SHARE = (math.sqrt(5) - 1) / 2
"""Strides through the items and through the forms of an item, as shares of their numbers. Both irrational, so that a
stride visits all parts of a list evenly (a Kronecker sequence), and unlike, so that the two do not move together."""


def mixed(questions: Sequence[Question]) -> list[Question]:
    """Return the questions in an order of which every beginning is balanced.

    Each item comes in the same number of forms: combinations of condition, level, protection and mitigation. With n
    items and c forms, place p has item `p · a mod n` in form `(p + ⌊p / lcm(n, c)⌋) · b mod c`, with strides a and b.
    In any beginning, the numbers of questions of two items differ by at most 1, and so do those of two forms.
    Conditions, mitigations and topics, which lie together in the lists, are close to their shares of the whole.

    Args:
        questions: the questions of a questionnaire, each item in the same number of forms.
    """
    by_item: dict[str, list[Question]] = {}
    for question in questions:
        by_item.setdefault(question.item.id, []).append(question)
    items = list(by_item.values())
    n, c = len(items), len(items[0])
    cycle = math.lcm(n, c)  # after it, item and form would repeat, but for the shift by one
    a, b = _stride(n, ITEM_SHARE), _stride(c, FORM_SHARE)
    return [items[p * a % n][(p + p // cycle) * b % c] for p in range(n * c)]


def _stride(count: int, share: float) -> int:
    """Return the number closest to a share of the count that has no divisor in common with it."""
    coprime = (number for number in range(1, count + 1) if math.gcd(number, count) == 1)
    return min(coprime, key=lambda number: abs(number - share * count))
