"""What kind of error is a wrong reply? Rules in a documented order; the first that holds names it.

`MESSY_RULES` and `MULTILINGUAL_RULES` are the tables: name, what it means, and the test. What no rule claims is a
wrong fact. Their precision is measured on labelled_errors.jsonl in the tests, which was written before the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lowland.stress.questions.items import Item, Language, Profile
from lowland.stress.questions.mitigations import is_unsure
from lowland.stress.replies.language import language_of
from lowland.stress.replies.rules import MESSY_RULES, MULTILINGUAL_RULES, Case, Rule

RIGHT, FAILED, UNSURE, WRONG_FACT = "right", "failed", "unsure", "wrong fact"
MESSY = (*(rule.name for rule in MESSY_RULES), WRONG_FACT)
MULTILINGUAL = (*(rule.name for rule in MULTILINGUAL_RULES), WRONG_FACT)


def category_of_messy(item: Item, row: Mapping[str, Any], others: Sequence[Item] = ()) -> str:
    """The category of a row of the messy test.

    Args:
        item: its item, clean.
        row: `prompt`, `reply`, `right` (or `score`), `status`, `condition`.
        others: all items of the test, to know whose answer a wrong reply is.

    Returns:
        One of `MESSY`; "right" if right, "failed" if nothing came back.
    """
    done = _done(row)
    case = Case(
        item,
        row["prompt"],
        row["reply"] or "",
        row["condition"],
        [one for one in others if one.id != item.id],
    )
    return done or _first(MESSY_RULES, case)


def category_of_multilingual(
    item: Item, row: Mapping[str, Any], language: Language, profiles: Collection[Profile]
) -> str:
    """The category of a row of the multilingual test.

    Args:
        item: its item, in the condition's words.
        row: `prompt`, `reply`, `right` (or `score`), `status`.
        language: the condition's.
        profiles: of all languages.

    Returns:
        One of `MULTILINGUAL`; "right" if right, whatever its language, "unsure" for UNSURE, "failed" if nothing came
        back.
    """
    reply = row["reply"] or ""
    done = _done(row) or (UNSURE if is_unsure(reply) else "")
    label = language_of(reply, profiles)
    scripts = frozenset(
        one.script.casefold() for one in profiles if one.label in language.accepts or language.profile is None
    )
    return done or _first(
        MULTILINGUAL_RULES,
        Case(item, row["prompt"], reply, language.condition, language=language, label=label, scripts=scripts),
    )


def _done(row: Mapping[str, Any]) -> str:
    if row["status"] == "failed":
        return FAILED
    return RIGHT if row.get("right", row.get("score") == 1.0) else ""


def _first(rules: Sequence[Rule], case: Case) -> str:
    return next((rule.name for rule in rules if rule.holds(case)), WRONG_FACT)


# What a reply says of itself
