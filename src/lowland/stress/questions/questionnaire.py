"""Which questions are put to a model: items x conditions x levels x mitigations, each with a name of its own."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, one_of
from lowland.stress.questions.items import Item, messy_items, multilingual_items
from lowland.stress.questions.mitigations import MITIGATIONS, prepared, system_prompt
from lowland.text.corruptions import ALL, CORRUPTIONS, corrupt
from lowland.text.levels import DEFAULT_LEVELS, levels_of, rate_of
from lowland.text.protection import PROTECT

COMPARED_WITH = "english"
"""The language that the others are held against."""


@dataclass(frozen=True)
class Questionnaire:
    """Which questions are put; `checked` says whether they can be.

    Attributes:
        eval: "messy" or "multilingual".
        items: a file (messy) or folder (multilingual) of the user's own; None: the packed ones.
        conditions: corruptions, or languages; all where empty. Clean questions, or English ones, are always asked:
            they are what the others are compared with.
        levels: "light", "heavy", "ladder" (five rates), or rates as text; of messy only.
        mitigations: of the eval's; all where empty.
        protect: "yes" leaves names and numbers that the answer depends on untouched, "both" asks both ways.
        limit: the first so many items only.
        seed: of the corruptions.
    """

    eval: str = "messy"
    items: str | None = None
    conditions: tuple[str, ...] = ()
    levels: tuple[str, ...] = DEFAULT_LEVELS
    mitigations: tuple[str, ...] = ()
    protect: str = "no"
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Question:
    """One question as it is put.

    Attributes:
        item: what it was made of, with the gold.
        condition: "clean", a corruption, or a language.
        level: as it was asked for; "" where nothing is corrupted.
        rate: edits a character (of emoji: a word).
        protected: whether names and numbers were left alone.
        mitigation: what was to help.
        system: the system prompt.
        text: the user's text as sent, after the mitigation.
        edits: how many edits the corruption made.
    """

    item: Item
    condition: str
    level: str
    rate: float
    protected: bool
    mitigation: str
    system: str | None
    text: str
    edits: int

    @property
    def about(self) -> dict[str, Any]:
        """What a row and a sample of Inspect's say of it."""
        told = {
            name: getattr(self, name)
            for name in ("condition", "level", "rate", "protected", "mitigation", "edits")
        }
        return {"item": self.item.id, "topic": self.item.topic, **told}

    @property
    def id(self) -> str:
        """`item:condition:level:mitigation`, with `:protected` where names and numbers were left alone."""
        parts = [self.item.id, self.condition, self.level, self.mitigation]
        return ":".join([*parts, "protected"] if self.protected else parts)


def questions(asked: Questionnaire) -> list[Question]:
    """All questions of a questionnaire, an item's together; a pure function of what is asked and of the items.

    Raises:
        Mistake: a sentence for everything that cannot be asked.
    """
    asked = checked(asked)
    return list(_messy(asked) if asked.eval == "messy" else _multilingual(asked))


def checked(asked: Questionnaire) -> Questionnaire:
    """The same with "all" and "ladder" spelt out, and rates in one form.

    Raises:
        Mistake: a sentence for everything that cannot be asked.
    """
    if asked.eval not in MITIGATIONS:
        raise Mistake(one_of("stress test", asked.eval, tuple(MITIGATIONS)))
    problems: list[str] = []

    def pick(what: str, given: Sequence[str], allowed: Collection[str]) -> tuple[str, ...]:
        if not given or ALL in given:
            return tuple(allowed)
        problems.extend(one_of(what, one, [*allowed, ALL]) for one in given if one not in allowed)
        return tuple(dict.fromkeys(given))

    messy = asked.eval == "messy"
    allowed = tuple(CORRUPTIONS) if messy else _languages(asked)
    conditions = pick("corruption" if messy else "language", asked.conditions, allowed)
    mitigations = pick("mitigation", asked.mitigations, MITIGATIONS[asked.eval])
    levels = _levels(asked.levels, problems) if messy else ()
    if asked.protect not in PROTECT:
        problems.append(one_of("choice for protect", asked.protect, PROTECT))
    if not messy and asked.protect == "yes":
        problems.append("protect is yes, but multilingual questions are not corrupted; leave it out")
    if not messy and COMPARED_WITH not in allowed:
        problems.append(
            f"{asked.items} has no condition '{COMPARED_WITH}', which the others are compared with; add its file"
        )
    if asked.limit is not None and asked.limit < 1:
        problems.append(f"limit is {asked.limit}; it must be a whole number of at least 1, or left out")
    if problems:
        raise Mistake(*problems)
    if not messy:  # what the others are compared with comes first
        conditions = tuple(dict.fromkeys([COMPARED_WITH, *conditions]))
    mitigations = tuple(dict.fromkeys(["none", *mitigations]))
    return dataclasses.replace(asked, conditions=conditions, mitigations=mitigations, levels=levels)


def content_sha256(asked: Sequence[Question]) -> str:
    """SHA-256 over all that is sent and the gold, in order."""
    digest = hashlib.sha256()
    for one in asked:
        parts = [one.id, one.system, one.text, one.item.kind, *one.item.answers, "", *one.item.literal]
        digest.update(json.dumps(parts).encode())
    return digest.hexdigest()


def as_dict(asked: Questionnaire) -> dict[str, Any]:
    """As plain values that JSON can hold."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(asked).items()
    }


def read_questionnaire(eval: str, given: Mapping[str, Any]) -> Questionnaire:
    """A questionnaire from plain values, as Inspect's `-T` and recipe files give them: a text stands for a list of one.

    Raises:
        Mistake: for a name that there is not, or a value of another kind.
    """
    names = [one.name for one in dataclasses.fields(Questionnaire) if one.name != "eval"]
    problems = [one_of("argument", name, names) for name in given if name not in names]
    values: dict[str, Any] = {"eval": eval}
    for name, value in given.items():
        if value is None or name not in names:
            continue
        if name in ("conditions", "levels", "mitigations"):
            several = value if isinstance(value, list | tuple) else str(value).split(",")
            values[name] = tuple(_yaml_word(one) for one in several)
        elif name in ("limit", "seed"):
            if isinstance(value, bool) or not isinstance(value, int):
                problems.append(f"{name} is {value}; it must be a whole number")
            values[name] = value
        else:
            values[name] = _yaml_word(value)
    if problems:
        raise Mistake(*problems)
    return Questionnaire(**values)


def _yaml_word(value: object) -> str:
    """YAML reads yes and no as true and false."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).strip()


def _levels(given: Sequence[str], problems: list[str]) -> tuple[str, ...]:
    try:
        return tuple(levels_of(given))
    except Mistake as mistake:
        problems += mistake.problems
        return ()


def _items(asked: Questionnaire) -> list[Item]:
    place = None if asked.items is None else Path(asked.items)
    return messy_items(place) if asked.eval == "messy" else multilingual_items(place)


def _languages(asked: Questionnaire) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.condition for one in _items(asked)))


def _messy(asked: Questionnaire) -> Iterator[Question]:
    protects = PROTECT[asked.protect]

    @functools.cache
    def cleaned(text: str, mitigation: str) -> str:
        return prepared(text, mitigation)

    for item in _items(asked)[: asked.limit]:
        damaged = [("clean", "", 0.0, False, item.question, 0)]
        for condition in asked.conditions:
            for level in asked.levels:
                for protected in protects:
                    found = corrupt(
                        item.question,
                        condition,
                        level,
                        seed=asked.seed,
                        protect=item.protect if protected else (),
                    )
                    row = (condition, level, rate_of(level), protected, found.text, len(found.edits))
                    damaged.append(row)
        for condition, level, rate, protected, text, edits in damaged:
            for mitigation in asked.mitigations:
                system, sent = system_prompt("messy", mitigation), cleaned(text, mitigation)
                yield Question(item, condition, level, rate, protected, mitigation, system, sent, edits)


def _multilingual(asked: Questionnaire) -> Iterator[Question]:
    wanted = list(dict.fromkeys(one.id for one in _items(asked)))[: asked.limit]
    for item in _items(asked):
        if item.id in wanted and item.condition in asked.conditions:
            for mitigation in asked.mitigations:
                system = system_prompt("multilingual", mitigation, item.target)
                yield Question(
                    item, item.condition, "", 0.0, False, mitigation, system, item.question, edits=0
                )
