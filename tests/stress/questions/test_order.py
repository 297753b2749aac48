"""Order of the questions: every beginning is balanced over items and forms, and close to the whole in the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

import pytest

from lowland.stress.questions.order import mixed
from lowland.stress.questions.questionnaire import (
    MessyQuestionnaire,
    MultilingualQuestionnaire,
    Question,
    Questionnaire,
)

QUESTIONNAIRES: tuple[Questionnaire, ...] = (
    MessyQuestionnaire(),  # 125 items in 68 forms: no common divisor
    MessyQuestionnaire(limit=34, corruptions="typos"),  # 34 in 12: the divisor 2
    MessyQuestionnaire(limit=34),  # 34 in 68
    MessyQuestionnaire(limit=50, levels="ladder", protect="both"),
    MultilingualQuestionnaire(),  # 64 in 8
    MultilingualQuestionnaire(limit=6, languages="hindi"),  # 6 in 4
    MessyQuestionnaire(limit=1, corruptions="typos"),
    MultilingualQuestionnaire(languages="english", mitigations="none"),  # one form
)


def form(question: Question) -> Hashable:
    return question.condition, question.level, question.protected, question.mitigation


def largest_gap(questions: list[Question], key: Callable[[Question], Hashable]) -> float:
    """The most that a number in a beginning differs from its share of the whole, in questions."""
    whole, seen, largest = Counter(map(key, questions)), Counter[Hashable](), 0.0
    for length, question in enumerate(questions, start=1):
        seen[key(question)] += 1
        shares = (abs(seen[name] - length * count / len(questions)) for name, count in whole.items())
        largest = max(largest, *shares)
    return largest


@pytest.mark.parametrize("questionnaire", QUESTIONNAIRES)
def test_every_question_occurs_once_and_every_beginning_is_balanced(questionnaire: Questionnaire) -> None:
    questions = questionnaire.questions()
    order = mixed(questions)
    assert sorted(question.id for question in order) == sorted(question.id for question in questions)
    assert order == mixed(questions)
    assert largest_gap(order, lambda question: question.item.id) <= 1
    assert largest_gap(order, form) <= 1
    assert largest_gap(order, lambda question: question.condition) < 3
    assert largest_gap(order, lambda question: question.mitigation) <= 1
    assert largest_gap(order, lambda question: question.item.topic) < 3


def test_twenty_questions_are_twenty_items_in_all_conditions() -> None:
    first = mixed(MessyQuestionnaire().questions())[:20]
    assert len({question.item.id for question in first}) == 20
    assert Counter(question.mitigation for question in first) == dict.fromkeys(
        ("none", "prompt", "normalise", "both"), 5
    )
    assert Counter(question.condition for question in first).keys() == {
        "clean",
        *MessyQuestionnaire().corruptions,
    }
