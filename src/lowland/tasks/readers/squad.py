"""SQuAD's form of questions (articles, paragraphs, questions), and answers in the forms in which files hold them.

The form is that of Rajpurkar et al. (2016; 2018), versions 1.1 and 2.0:

    {"data": [{"title": "…", "paragraphs": [{"context": "…", "qas": [
        {"question": "…", "answers": [{"text": "…", "answer_start": 0}], "is_impossible": false}
    ]}]}]}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake

MARK = '"paragraphs"'
"""Text that every file in SQuAD's form holds."""


class NoAnswers(ValueError):
    """Error of a cell that holds no answers for its context.

    Attributes:
        kind: what is wrong, in words that are the same for all cells with this problem.
        detail: what is wrong with this cell, as a clause.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


@dataclass(frozen=True)
class Answers:
    """Accepted answers of a question.

    Attributes:
        texts: the answers; none for a question without an answer.
        starts: place of the first character of each in the context.
        searched: whether an answer came without a place, and its context holds it more than once.
    """

    texts: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    searched: bool = False

    def as_text(self) -> str:
        """Return the answers as JSON, as a split keeps them."""
        pairs = zip(self.texts, self.starts, strict=True)
        return json.dumps(
            [{"text": text, "answer_start": start} for text, start in pairs], ensure_ascii=False
        )

    @property
    def place(self) -> tuple[int, int] | None:
        """First character of the most frequent answer without spaces, and the one behind it; None for no answer."""
        if not self.texts:
            return None
        (text, start), _ = Counter(zip(self.texts, self.starts, strict=True)).most_common(1)[0]
        start += len(text) - len(text.lstrip())
        return start, start + len(text.strip())

    @classmethod
    def from_text(cls, text: str) -> Answers:
        """Read what `as_text` has written."""
        answers = json.loads(text)
        return cls(tuple(row["text"] for row in answers), tuple(row["answer_start"] for row in answers))


def squad_rows(path: Path, text: str) -> list[dict[str, Any]] | None:
    """Return the questions of a file in SQuAD's form as rows; None if the text is not in that form.

    A row has `id`, `title`, `context`, `question`, `answers` and `is_impossible`, as far as the file has them.

    Raises:
        Mistake: if the file is not JSON, holds no questions, or a part is missing, with its place.
    """
    if MARK not in text or not text.lstrip().startswith("{"):
        return None
    try:
        content = parse_json(text)
    except (NotJSON, Mistake) as error:
        if isinstance(error, NotJSON) and error.reason == "Extra data":
            return None  # one object a line
        raise Mistake(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        return None
    rows = []
    for number, article in enumerate(content["data"], start=1):
        place = f"{path}, article {number}"
        title = article.get("title") if isinstance(article, dict) else None
        for part, paragraph in enumerate(_list(article, "paragraphs", place), start=1):
            inside = f"{place}, paragraph {part}"
            for question in _list(paragraph, "qas", inside):
                if not isinstance(question, dict):
                    raise Mistake(f'{inside}: expected questions such as {{"question": …, "answers": …}}')
                row = {
                    "title": title,
                    "context": paragraph.get("context"),
                    "question": question.get("question"),
                }
                rows.append(
                    row
                    | {
                        name: question[name]
                        for name in ("id", "answers", "is_impossible")
                        if name in question
                    }
                )
    if not rows:
        raise Mistake(f"{path} holds no questions")
    return rows


def _list(parent: Any, name: str, place: str) -> list[Any]:
    value = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(value, list):
        raise Mistake(f"{place}: it has no list {name!r}, as SQuAD's form has")
    return value


def read_answers(cell: Any, context: str, impossible: Any = None) -> Answers:
    """Return the answers in a cell, with their places in the context.

    A cell holds a list of texts or of objects with `text` and `answer_start`, an object with a list of each (as in the
    hub's tables), one of these as JSON, or one text; nothing, or an empty list, is no answer. An answer without a place
    gets that where it first stands in the context.

    Args:
        cell: the cell.
        context: the context of the question.
        impossible: whether the file says that there is no answer; None if it does not say.

    Raises:
        NoAnswers: if the cell holds something else, or an answer does not stand at its place.
    """
    texts, starts = _texts_and_starts(_without_json(cell))
    if impossible is True and texts:
        raise NoAnswers(
            "impossible",
            f"is_impossible is true, but the answer {texts[0][:40]!r} is given; correct one of them",
        )
    if impossible is False and not texts:
        raise NoAnswers("possible", "is_impossible is false, but there is no answer; correct one of them")
    places, searched = [], False
    for text, start in zip(texts, starts, strict=True):
        if start is None:
            start, searched = _place_of(text, context), searched or context.count(text) > 1
        elif context[start : start + len(text)] != text or start < 0:
            there = context[max(start, 0) : max(start, 0) + len(text)]
            raise NoAnswers(
                "place",
                f"the answer {text[:40]!r} is said to begin at character {start} of its context, where {there[:40]!r}"
                " stands; correct answer_start, or leave it out, and the place is looked up",
            )
        places.append(start)
    return Answers(tuple(texts), tuple(places), searched)


def _place_of(text: str, context: str) -> int:
    if (start := context.find(text)) < 0:
        raise NoAnswers(
            "context",
            f"the answer {text[:40]!r} does not stand in its context; answers are parts of the context, to the letter",
        )
    return start


def _without_json(cell: Any) -> Any:
    """Return the value of a cell that holds JSON, else the cell."""
    if not isinstance(cell, str) or not cell.lstrip().startswith(("[", "{")):
        return cell
    try:
        return parse_json(cell)
    except (NotJSON, Mistake):
        return cell


def _texts_and_starts(cell: Any) -> tuple[list[str], list[int | None]]:
    """Return texts, and places as far as there are any."""
    if (
        cell is None
        or (isinstance(cell, float) and cell != cell)
        or (isinstance(cell, str) and not cell.strip())
    ):
        return [], []
    if isinstance(cell, str):
        return [cell.strip()], [None]
    if isinstance(cell, Mapping):
        if "text" in cell and isinstance(cell["text"], str):
            cell = [cell]
        else:
            texts, starts = (_listed(cell.get(name)) for name in ("text", "answer_start"))
            cell = [{"text": text, "answer_start": start} for text, start in _zipped(texts, starts)]
    pairs = [_pair(answer) for answer in _listed(cell)]
    return [text for text, _ in pairs], [start for _, start in pairs]


def _zipped(texts: Sequence[Any], starts: Sequence[Any]) -> list[tuple[Any, Any]]:
    if starts and len(starts) != len(texts):
        raise NoAnswers(
            "lengths", f"answers have {len(texts)} texts and {len(starts)} places; give one place for each"
        )
    return list(zip(texts, starts or [None] * len(texts), strict=True))


def _listed(value: Any) -> list[Any]:
    """Return a list, also of an array from a parquet file."""
    if value is None:
        return []
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise NoAnswers(
            "form",
            f"answers are {value!r:.60}; expected a list of texts, or of objects with text and answer_start",
        )
    return list(value)


def _pair(answer: Any) -> tuple[str, int | None]:
    text, start = (
        (answer.get("text"), answer.get("answer_start")) if isinstance(answer, Mapping) else (answer, None)
    )
    if not isinstance(text, str) or not text.strip():
        raise NoAnswers("text", f"an answer is {text!r:.60}; it must be text that is not empty")
    if isinstance(start, float) and start.is_integer():
        start = int(start)
    if start is not None and (not isinstance(start, int) or isinstance(start, bool)):
        raise NoAnswers("start", f"answer_start is {start!r:.60}; it must be a whole number")
    return text, start
