"""Taxonomy of wrong replies: the first rule that holds, in a fixed order, names the kind of error.

The rules stand in the tables `MESSY_RULES` and `MULTILINGUAL_RULES`. A wrong reply to which no rule applies is a wrong
fact. The precision of the rules is measured in the tests on labelled_errors.jsonl, which was written before the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lowland.items import Item, Language, Profile
from lowland.replies.language import language_of
from lowland.replies.rules import MESSY_RULES, MULTILINGUAL_RULES, Case, Rule
from lowland.replies.unsure import is_unsure

RIGHT, FAILED, UNSURE, WRONG_FACT = "right", "failed", "unsure", "wrong fact"
MESSY = (*(rule.name for rule in MESSY_RULES), WRONG_FACT)
MULTILINGUAL = (*(rule.name for rule in MULTILINGUAL_RULES), WRONG_FACT)


def category_of_messy(item: Item, row: Mapping[str, Any], others: Sequence[Item] = ()) -> str:
    """Return the category of a row of the messy test.

    Args:
        item: the clean item of the row.
        row: row with `prompt`, `reply`, `right` (or `score`), `status` and `condition`.
        others: all items of the test, to recognise the answer to another question.

    Returns:
        One of `MESSY`, "right", or "failed" if there is no reply.
    """
    case = Case(
        item,
        row["prompt"],
        row["reply"] or "",
        row["condition"],
        [other for other in others if other.id != item.id],
    )
    return _right_or_failed(row) or _first_that_holds(MESSY_RULES, case)


def category_of_multilingual(
    item: Item, row: Mapping[str, Any], language: Language, profiles: Collection[Profile]
) -> str:
    """Return the category of a row of the multilingual test.

    Args:
        item: the item of the row, with the question in the condition's language.
        row: row with `prompt`, `reply`, `right` (or `score`) and `status`.
        language: language of the condition.
        profiles: profiles of all languages.

    Returns:
        One of `MULTILINGUAL`, "right" (in whichever language), "unsure" for the reply UNSURE, or "failed" if there is
        no reply.
    """
    reply = row["reply"] or ""
    label = language_of(reply, profiles)
    scripts = frozenset(
        profile.script.casefold()
        for profile in profiles
        if profile.label in language.accepts or language.profile is None
    )
    case = Case(
        item, row["prompt"], reply, language.condition, language=language, label=label, scripts=scripts
    )
    unsure = UNSURE if is_unsure(reply) else ""
    return _right_or_failed(row) or unsure or _first_that_holds(MULTILINGUAL_RULES, case)


def _right_or_failed(row: Mapping[str, Any]) -> str:
    """Return the category of a row that needs no rule, else an empty text."""
    if row["status"] == "failed":
        return FAILED
    return RIGHT if row.get("right", row.get("score") == 1.0) else ""


def _first_that_holds(rules: Sequence[Rule], case: Case) -> str:
    return next((rule.name for rule in rules if rule.holds(case)), WRONG_FACT)
