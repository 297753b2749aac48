"""Questionnaires: which questions a stress test puts to a model, and the questions themselves.

A questionnaire crosses items with conditions (corruptions or languages), levels of damage and mitigations. Each
combination is one `Question` with its own id.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from lowland.ground.asked import Asked, Seed, Whole
from lowland.ground.mistakes import Mistake
from lowland.items import (
    Item,
    Language,
    language_files,
    languages,
    messy_items,
    multilingual_items,
)
from lowland.stress.questions.mitigations import MITIGATIONS, prepared, system_prompt
from lowland.stress.questions.words import Words, chosen, word
from lowland.text.corruptions import ALL, CORRUPTIONS, corrupt
from lowland.text.levels import DEFAULT_LEVELS, levels_of, rate_of
from lowland.text.protection import PROTECT

REFERENCE_LANGUAGE = "english"
"""The language that the others are compared with."""


@dataclass(frozen=True)
class Question:
    """One question in the form in which it is sent.

    Attributes:
        item: the item it was made from, with the correct answers.
        condition: "clean", a corruption or a language.
        level: the level of damage that was requested; "" for undamaged text.
        rate: edits per character (emoji: per edge of a word).
        protected: whether names and numbers were left undamaged.
        mitigation: the mitigation in use; "none" for none.
        system: the system prompt.
        text: the user message, after the mitigation.
        edits: number of edits that the corruption made.
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
    def metadata(self) -> dict[str, Any]:
        """The columns that rows and Inspect's samples copy from the question."""
        return {
            "item": self.item.id,
            "topic": self.item.topic,
            "condition": self.condition,
            "level": self.level,
            "rate": self.rate,
            "protected": self.protected,
            "mitigation": self.mitigation,
            "edits": self.edits,
        }

    @property
    def id(self) -> str:
        """The unique name `item:condition:level:mitigation`, with `:protected` appended if `protected`."""
        parts = [self.item.id, self.condition, self.level, self.mitigation]
        return ":".join([*parts, "protected"] if self.protected else parts)


def _chosen_corruptions(names: tuple[str, ...]) -> tuple[str, ...]:
    return chosen("corruption", names, CORRUPTIONS)


def _chosen_levels(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(levels_of(names))


class Questionnaire(Asked):
    """Base of the questionnaires: the fields that all of them share.

    Names are resolved when an instance is made: "all" becomes the list of names, "ladder" its five rates. Equal
    questionnaires therefore have equal fields, in whatever words they were requested.
    """

    model_config = ConfigDict(validate_default=True)

    eval: ClassVar[str]
    """Name of the evaluation: "messy" or "multilingual"."""

    items: Path | None = None
    """your own questions instead of the packaged ones: for messy, a .csv or .jsonl file with the columns id, kind,
    question, answers (in .csv with | between them) and perhaps protect and topic; for multilingual, a folder"""
    mitigations: Words = (ALL,)
    """what may help the model; messy: none, prompt, normalise, both; multilingual: none, pin; or all"""
    limit: Annotated[Whole, Field(ge=1)] | None = None
    """use only the first N items"""

    @field_validator("mitigations")
    @classmethod
    def _resolve_mitigations(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Resolve the names; "none" is always included, since the mitigations are compared with it."""
        return tuple(dict.fromkeys(["none", *chosen("mitigation", names, MITIGATIONS[cls.eval])]))

    @abstractmethod
    def questions(self) -> list[Question]:
        """Return all questions, those of an item together.

        The result depends on the questionnaire and the items alone.

        Raises:
            Mistake: if the file or folder of items cannot be used.
        """

    def languages_to_check(self) -> dict[str, Language]:
        """Return the languages that replies must keep, by condition; empty if the language is not checked."""
        return {}

    @property
    def has_own_languages(self) -> bool:
        """Whether some of the languages that replies must keep are the user's own."""
        return False


class MessyQuestionnaire(Questionnaire):
    """Questions with typing errors, odd spacing, look-alike letters, emoji and the like.

    The undamaged questions are always included: the damaged ones are compared with them.
    """

    eval: ClassVar[str] = "messy"

    corruptions: Annotated[Words, AfterValidator(_chosen_corruptions)] = (ALL,)
    """kinds of damage to the text"""
    levels: Annotated[Words, AfterValidator(_chosen_levels)] = DEFAULT_LEVELS
    """amounts of damage: light, heavy, ladder (five rates), or rates such as 0.1"""
    protect: Annotated[Literal["no", "yes", "both"], BeforeValidator(word)] = "no"
    """leave the names and numbers that an answer depends on undamaged; both runs with and without this protection"""
    seed: Seed = 0
    """seed of the damage"""

    def questions(self) -> list[Question]:
        """Return each item undamaged and under every corruption, with every mitigation."""
        return [
            question for item in messy_items(self.items)[: self.limit] for question in self._of_item(item)
        ]

    def _of_item(self, item: Item) -> Iterator[Question]:
        prepare = functools.cache(prepared)
        for text in self._texts(item):
            for mitigation in self.mitigations:
                yield Question(
                    item=item,
                    condition=text.condition,
                    level=text.level,
                    rate=text.rate,
                    protected=text.protected,
                    mitigation=mitigation,
                    system=system_prompt(self.eval, mitigation),
                    text=prepare(text.text, mitigation),
                    edits=text.edits,
                )

    def _texts(self, item: Item) -> Iterator[_Text]:
        """Yield the item's question undamaged, then damaged in every way that is requested."""
        yield _Text("clean", "", 0.0, False, item.question, 0)
        for corruption in self.corruptions:
            for level in self.levels:
                for protected in PROTECT[self.protect]:
                    spans = item.protect if protected else ()
                    damaged = corrupt(item.question, corruption, level, seed=self.seed, protect=spans)
                    yield _Text(
                        corruption, level, rate_of(level), protected, damaged.text, len(damaged.edits)
                    )


class MultilingualQuestionnaire(Questionnaire):
    """Short questions in English, Hindi, Hinglish and code-switched.

    English is always included, and comes first: the other languages are compared with it.
    """

    eval: ClassVar[str] = "multilingual"

    languages: Words = (ALL,)
    """languages to ask in, besides English: names, or your own .json files or folders of them (see docs/stress.md)"""

    @field_validator("languages")
    @classmethod
    def _resolve_languages(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "items" not in info.data:  # it has a problem of its own
            return names
        packed = languages(info.data["items"])
        files = [file for name in names if _is_path(name, packed) for file in language_files(Path(name))]
        named = [name for name in names if not _is_path(name, packed)]
        if REFERENCE_LANGUAGE not in languages(info.data["items"], files):
            raise Mistake(
                f"{info.data['items']} has no language '{REFERENCE_LANGUAGE}', which the others are compared with;"
                " add its file"
            )
        known = chosen("language", named, packed) if named or not files else ()
        return tuple(dict.fromkeys([REFERENCE_LANGUAGE, *known, *map(str, files)]))

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The files among `languages`, each with one language."""
        return tuple(Path(name) for name in self.languages if name.endswith(".json"))

    @property
    def has_own_languages(self) -> bool:
        """Whether some of the languages that replies must keep are the user's own."""
        return self.items is not None or bool(self.own_files)

    def questions(self) -> list[Question]:
        """Return each item in every language, with every mitigation."""
        own = self.languages_to_check().keys() - languages(self.items).keys()
        items = multilingual_items(self.items, self.own_files)
        ids = list(dict.fromkeys(item.id for item in items))[: self.limit]
        return [
            Question(
                item=item,
                condition=item.condition,
                level="",
                rate=0.0,
                protected=False,
                mitigation=mitigation,
                system=system_prompt(self.eval, mitigation, item.target),
                text=item.question,
                edits=0,
            )
            for item in items
            if item.id in ids and (item.condition in self.languages or item.condition in own)
            for mitigation in self.mitigations
        ]

    def languages_to_check(self) -> dict[str, Language]:
        """Return the languages that replies must keep, by condition."""
        return languages(self.items, self.own_files)


def _is_path(name: str, packed: Collection[str]) -> bool:
    """Return whether an entry of `languages` is a file or a folder, and not the name of a language."""
    return name not in packed and (name.endswith(".json") or os.sep in name or Path(name).is_dir())


@dataclass(frozen=True)
class _Text:
    """An item's question after a corruption."""

    condition: str
    level: str
    rate: float
    protected: bool
    text: str
    edits: int


def content_sha256(questions: Sequence[Question]) -> str:
    """Return the SHA-256 of everything that is sent and of the correct answers, in order."""
    digest = hashlib.sha256()
    for question in questions:
        item = question.item
        parts = [question.id, question.system, question.text, item.kind, *item.answers, "", *item.literal]
        digest.update(json.dumps(parts).encode())
    return digest.hexdigest()
