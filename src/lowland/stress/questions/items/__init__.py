"""The questions, the languages and the facts that come with the package, or a user's own; checked as they load.

A file is read whole and all of its mistakes are told at once, each with its line. The forms:

- `messy.jsonl`: an object a line, `id`, `topic`, `kind`, `question`, `answers`, `protect`;
- `multilingual.jsonl`: an object a line, `id`, `topic`, `kind`, `answers`, perhaps `literal`;
- `languages/*.json`: a condition a file (`Language`), with its own wording of every question;
- `facts.jsonl`: an object a line, `id`, `fact`, `question`, `answer`, perhaps `item`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, one_of
from lowland.stress.questions.items.checks import (
    Problems,
    Row,
    a_kind,
    a_profile,
    a_text,
    any_texts,
    content_of,
    faults_of,
    parsed,
    read_lines,
    refuse,
    some_texts,
    text_by_id,
    texts_by_id,
)

HERE = Path(__file__).parent
BOTH_SCRIPTS = "code-switched"
"""The label of a reply in two scripts; a label of no profile."""


@dataclass(frozen=True)
class Item:
    """A question with its gold.

    Attributes:
        id: one word; the same in every condition.
        topic: "geography", …
        kind: of answer, one of `lowland.stress.questions.items.checks.KINDS`.
        question: the clean text.
        answers: all forms that count, numbers as digits and as words.
        protect: exact parts of the question that the answer depends on.
        condition: "clean", or the language's.
        target: the language to answer in.
        literal: translations of the answer word by word, which are wrong.
    """

    id: str
    topic: str
    kind: str
    question: str
    answers: tuple[str, ...]
    protect: tuple[str, ...] = ()
    condition: str = "clean"
    target: str = "English"
    literal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """How a language is told from others: its script, by Unicode's first word for it, and its function words."""

    label: str
    script: str
    function_words: frozenset[str]


@dataclass(frozen=True)
class Language:
    """A condition of the multilingual test.

    Attributes:
        condition: its name, "hinglish".
        name: for people.
        target: what a prompt calls it, "Hinglish in Latin letters".
        accepts: the labels of `lowland.stress.replies.language.language_of` that keep the language.
        profile: how a reply in it is told; None where it has no words of its own.
        questions: the wording of each item, by id.
        answers: further aliases, by id.
    """

    condition: str
    name: str
    target: str
    accepts: tuple[str, ...]
    profile: Profile | None
    questions: Mapping[str, str]
    answers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Fact:
    """What the retriever knows: a sentence, a question that it answers, the answer alone, the items it is of."""

    id: str
    fact: str
    question: str
    answer: str
    item: str = ""


def messy_items(path: Path | None = None) -> list[Item]:
    """The clean questions of the messy test, in the file's order.

    Args:
        path: a file of the user's; the package's `messy.jsonl` where None.

    Raises:
        Mistake: if the file is missing or an item cannot be used; a sentence for each.
    """
    fields = {"id": a_text, "topic": a_text, "kind": a_kind, "question": a_text, "answers": some_texts}
    rows = read_lines(path or HERE / "messy.jsonl", fields, {"protect": any_texts}, _unprotectable)
    return [Item(**_frozen(row)) for row in rows]


def multilingual_items(folder: Path | None = None) -> list[Item]:
    """The questions of the multilingual test: every item in every condition, an item's conditions together.

    Args:
        folder: laid out as the package's: `multilingual.jsonl` and `languages/*.json`. Where it has no
            `multilingual.jsonl` the package's is asked, so that a language of one's own is one file.

    Raises:
        Mistake: if a file is missing or cannot be used, or a language lacks an item; a sentence for each.
    """
    spoken = languages(folder)
    own = None if folder is None else folder / "multilingual.jsonl"
    path = own if own is not None and own.is_file() else HERE / "multilingual.jsonl"
    fields = {"id": a_text, "topic": a_text, "kind": a_kind, "answers": some_texts}
    rows = read_lines(path, fields, {"literal": any_texts})
    refuse(_uncovered(spoken, [row["id"] for row in rows]))
    return [
        Item(
            **_frozen(row)
            | {
                "question": language.questions[row["id"]],
                "answers": tuple(dict.fromkeys([*row["answers"], *language.answers.get(row["id"], ())])),
                "condition": language.condition,
                "target": language.target,
            }
        )
        for row in rows
        for language in spoken.values()
    ]


def languages(folder: Path | None = None) -> dict[str, Language]:
    """The conditions by name, English first and the others by the alphabet.

    Args:
        folder: of the user's; its `languages/*.json` are read in place of the package's.

    Raises:
        Mistake: if there is no language, or a file cannot be used; a sentence for each.
    """
    place = (folder or HERE) / "languages"
    paths = sorted(place.glob("*.json"), key=lambda path: (path.stem != "english", path.stem))
    if not paths:
        raise Mistake(f"{place} holds no language; it must hold a .json file for each condition")
    read = [(path, *_read_language(path)) for path in paths]
    problems = [problem for _, _, found in read for problem in found]
    whole = [(path, language) for path, language, _ in read if language is not None]
    labels = [BOTH_SCRIPTS, *(one.profile.label for _, one in whole if one.profile)]
    first: dict[str, Path] = {}
    for path, language in whole:
        if language.condition in first:
            problems.append(
                f"{path}: condition '{language.condition}' is also that of {first[language.condition].name};"
                " rename one of them"
            )
        first.setdefault(language.condition, path)
        unknown = [label for label in language.accepts if label not in labels]
        problems += [f"{path}: accepts: {one_of('label', label, labels)}" for label in unknown]
    refuse(problems)
    return {language.condition: language for _, language in whole}


def facts(path: Path | None = None) -> list[Fact]:
    """What the retriever knows; the package's `facts.jsonl`, or a file of the user's.

    Raises:
        Mistake: if the file is missing or a fact cannot be used; a sentence for each.
    """
    fields = {"id": a_text, "fact": a_text, "question": a_text, "answer": a_text}
    return [Fact(**row) for row in read_lines(path or HERE / "facts.jsonl", fields, {"item": a_text})]


def content_hash(items: Iterable[Item | Fact]) -> str:
    """SHA-256 of all that the items say, in their order; 64 hexadecimal digits."""
    rows = [[type(item).__name__, dataclasses.asdict(item)] for item in items]
    text = json.dumps(rows, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


LANGUAGE = {
    "condition": a_text,
    "name": a_text,
    "target": a_text,
    "accepts": some_texts,
    "profile": a_profile,
    "questions": text_by_id,
}


def _read_language(path: Path) -> tuple[Language | None, Problems]:
    try:
        row = parsed(content_of(path))
    except json.JSONDecodeError as error:
        return None, [f"{path}, line {error.lineno}: cannot be read as JSON ({error.msg})"]
    except ValueError as error:
        return None, [f"{path}: {error}"]
    problems = [f"{path}: {problem}" for problem in faults_of(row, LANGUAGE, {"answers": texts_by_id})]
    if problems:
        return None, problems
    told = row["profile"] and Profile(
        row["profile"]["label"], row["profile"]["script"], frozenset(row["profile"]["function_words"])
    )
    aliases = {key: tuple(texts) for key, texts in row.get("answers", {}).items()}
    values = row | {"accepts": tuple(row["accepts"]), "profile": told, "answers": aliases}
    return Language(**values), []


def _unprotectable(row: Row) -> Problems:
    return [
        f"protect {part!r} does not stand in the question; write it exactly as there"
        for part in row.get("protect", [])
        if part not in row["question"]
    ]


def _uncovered(spoken: Mapping[str, Language], ids: Sequence[str]) -> Problems:
    """Conditions that lack an item, or word one that there is not."""
    problems = []
    for language in spoken.values():
        lacking = [key for key in ids if key not in language.questions]
        if lacking:
            problems.append(
                f"language '{language.condition}' lacks {len(lacking)} of {len(ids)} questions"
                f" ({', '.join(lacking[:3])}{', …' if len(lacking) > 3 else ''}); every condition asks them all"
            )
        for what, given in (("questions", language.questions), ("answers", language.answers)):
            unknown = [key for key in given if key not in ids]
            place = f"language '{language.condition}', {what}"
            problems += [f"{place}: {one_of('id', key, ids)}" for key in unknown]
    return problems


def _frozen(row: Row) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
