"""Files of items, read and checked: a sentence for each mistake, with its line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, one_of

KINDS = ("name", "number", "year", "word", "phrase")

Row = Mapping[str, Any]
Problems = list[str]
Check = Callable[[Any], str | None]
"""From a value to what is wrong with it, or None."""


def a_text(value: object) -> str | None:
    """A text that is not empty."""
    return None if isinstance(value, str) and value.strip() else "must be a text that is not empty"


def any_texts(value: object) -> str | None:
    """A list of texts, or none."""
    right = isinstance(value, list) and all(a_text(one) is None for one in value)
    return None if right else "must be a list of texts, or []"


def some_texts(value: object) -> str | None:
    """A list of one text or more."""
    right = any_texts(value) is None and value
    return None if right else "must be a list of one text or more; an item without gold cannot be scored"


def a_kind(value: object) -> str | None:
    """One of `KINDS`."""
    return None if value in KINDS else f"must be one of {', '.join(KINDS)}, not {str(value)!r}"


def text_by_id(value: object) -> str | None:
    """A text for each id."""
    right = isinstance(value, dict) and value and all(a_text(one) is None for one in value.values())
    return None if right else 'must be an object such as {"capital-japan": "What is …?"}, with no empty text'


def texts_by_id(value: object) -> str | None:
    """Texts for each id."""
    right = isinstance(value, dict) and all(any_texts(one) is None for one in value.values())
    return None if right else 'must be an object such as {"capital-japan": ["Tokyo"]}'


def a_profile(value: object) -> str | None:
    """A profile, or null."""
    if value is None:
        return None
    wrong = f"must be null, or an object with label, script and function_words, not {str(value)[:60]!r}"
    if not isinstance(value, dict) or set(value) != {"label", "script", "function_words"}:
        return wrong
    right = not (a_text(value["label"]) or a_text(value["script"]) or some_texts(value["function_words"]))
    return None if right else wrong


def read_lines(
    path: Path,
    required: Mapping[str, Check],
    optional: Mapping[str, Check],
    further: Callable[[Row], Problems] = lambda row: [],
) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; all that is wrong with it in one mistake."""
    rows: list[dict[str, Any]] = []
    problems: Problems = []
    first: dict[str, int] = {}
    for number, line in enumerate(content_of(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}: "
        try:
            row = parsed(line)
        except json.JSONDecodeError as error:
            problems.append(f"{place}cannot be read as JSON ({error.msg}, character {error.pos + 1})")
            continue
        except ValueError as error:
            problems.append(f"{place}{error}")
            continue
        faults = faults_of(row, required, optional)
        problems += [place + fault for fault in faults or further(row)]
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            if row["id"] in first:
                problems.append(f"{place}id '{row['id']}' stands in line {first[row['id']]} too; rename one")
            first.setdefault(row["id"], number)
        rows.append(row)
    if not rows and not problems:
        problems.append(f"{path} holds no items")
    refuse(problems)
    return rows


def faults_of(row: object, required: Mapping[str, Check], optional: Mapping[str, Check]) -> Problems:
    """What is wrong with the keys and the values of an object."""
    if not isinstance(row, dict):
        return [f"expected an object with {', '.join(required)}"]
    checks = {**required, **optional}
    missing = [f"{key} is missing" for key in required if key not in row]
    unknown = [one_of("key", key, checks) for key in row if key not in checks]
    wrong = {key: check(row[key]) for key, check in checks.items() if key in row}
    return missing + unknown + [f"{key} {fault}" for key, fault in wrong.items() if fault]


def parsed(text: str) -> Any:
    """JSON in which no key occurs twice; `json` keeps the last of them and says nothing."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"key '{twice[0]}' occurs twice in one object; remove one of them")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


def content_of(path: Path) -> str:
    """The text of a file in UTF-8."""
    if not path.is_file():
        raise Mistake(f"the file {path} {'is a folder' if path.is_dir() else 'does not exist'}; name a file")
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Mistake(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again") from None


def refuse(problems: Problems) -> None:
    """Raise a `Mistake` where there are problems."""
    if problems:
        raise Mistake(*problems)
