"""The items of the multilingual test: rows of `multilingual.jsonl` in the words of each language become `Item`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lowland.ground.asked import Asked, Text
from lowland.ground.mistakes import Mistake, one_of
from lowland.items.item import AnswerKind, Item
from lowland.items.language import Language, languages
from lowland.items.reading import ITEMS_FOLDER, Gold, Texts, read_rows

_SHOWN_IDS = 3


class MultilingualRow(Asked):
    """A line of `multilingual.jsonl`; `Item` describes the fields, and a `Language` adds the question."""

    id: Text
    topic: Text
    kind: AnswerKind
    answers: Gold
    literal: Texts = ()


def multilingual_items(folder: Path | None = None, own: Sequence[Path] = ()) -> list[Item]:
    """Return the questions of the multilingual test: every item in every condition, an item's conditions together.

    Args:
        folder: the user's own folder, laid out like the package's: `multilingual.jsonl` and `languages/*.json`. If it
            has no `multilingual.jsonl`, the package's is used.
        own: the user's own files, each with one more language.

    Raises:
        Mistake: if a file is missing or cannot be used, or a language lacks an item; a sentence for each problem.
    """
    conditions = languages(folder, own)
    path = (folder or ITEMS_FOLDER) / "multilingual.jsonl"
    if not path.is_file():
        path = ITEMS_FOLDER / "multilingual.jsonl"
    rows = read_rows(path, MultilingualRow)
    _check_languages_cover(conditions, [row.id for row in rows])
    return [
        Item(
            id=row.id,
            topic=row.topic,
            kind=row.kind,
            question=language.questions[row.id],
            answers=tuple(dict.fromkeys([*row.answers, *language.answers.get(row.id, ())])),
            condition=language.condition,
            target=language.target,
            literal=row.literal,
        )
        for row in rows
        for language in conditions.values()
    ]


def _check_languages_cover(conditions: Mapping[str, Language], ids: Sequence[str]) -> None:
    """Raise a `Mistake` if a language lacks the question of an item, or has texts for an item that does not exist."""
    problems = []
    for language in conditions.values():
        lacking = [key for key in ids if key not in language.questions]
        if lacking:
            shown = ", ".join(lacking[:_SHOWN_IDS]) + (", …" if len(lacking) > _SHOWN_IDS else "")
            problems.append(
                f"language '{language.condition}' lacks {len(lacking)} of {len(ids)} questions ({shown});"
                " every condition must ask them all"
            )
        for field, keys in (("questions", list(language.questions)), ("answers", list(language.answers))):
            place = f"language '{language.condition}', {field}"
            problems += [f"{place}: {one_of('id', key, ids)}" for key in keys if key not in ids]
    if problems:
        raise Mistake(*problems)
