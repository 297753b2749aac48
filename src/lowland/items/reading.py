"""Readers of the files of items: each object or row becomes a pydantic model; all mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from lowland.ground.asked import Asked, Text
from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake, plural
from lowland.items.tables import is_table, looks_like_table, objects_of

Model = TypeVar("Model", bound=Asked)


PROBLEMS_SHOWN = 10
"""Number of problems of a file that have a sentence each."""
ITEMS_FOLDER = Path(__file__).parent
"""The folder of the package's own files."""


def require(is_right: Callable[[Any], bool], requirement: str) -> BeforeValidator:
    """Return a validator that refuses a value before it is read further; `requirement` follows "it must"."""

    def validate(value: Any) -> Any:
        if not is_right(value):
            raise ValueError(requirement)
        return value

    return BeforeValidator(validate)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_filled_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


Texts = Annotated[tuple[Text, ...], require(_is_list, "be a list of texts, or []")]
"""A list of texts, which may be empty. A lone text is refused: in a data file it is more likely a mistake."""
SomeTexts = Annotated[tuple[Text, ...], require(_is_filled_list, "be a list of at least one text")]
"""A list of at least one text."""
Gold = Annotated[
    tuple[Text, ...],
    require(_is_filled_list, "be a list of at least one text; an item without gold cannot be scored"),
]
"""A list of at least one right answer."""


def read_rows(path: Path, model: type[Model]) -> list[Model]:
    """Read a file of items into models: a .csv or .tsv file by rows, any other as JSON lines. Blank lines are left out.

    Args:
        path: path of the file.
        model: model of a line; its field `id`, if it has one, must differ from line to line.

    Raises:
        Mistake: if the file is missing, empty or not UTF-8, or a line does not fit; a sentence for each of the first
            `PROBLEMS_SHOWN` problems, and the number of the others.
    """
    rows: list[Model] = []
    problems: list[str] = []
    line_of_id: dict[str, int] = {}
    content = _content_of(path)
    for number, values in _objects_of(content, path, model, problems):
        place = f"{path}, line {number}"
        try:
            rows.append(_model_of(values, model))
        except Mistake as mistake:
            problems += [f"{place}: {problem}" for problem in mistake.problems]
        key = values.get("id") if isinstance(values, dict) else None
        if isinstance(key, str):
            if key in line_of_id:
                problems.append(
                    f"{place}: id '{key}' occurs in line {line_of_id[key]}, too; rename one of them"
                )
            line_of_id.setdefault(key, number)
    if not rows and not problems:
        problems.append(f"{path} holds no items; it must hold a JSON object in each line, or be a .csv file")
    if (further := len(problems) - PROBLEMS_SHOWN) > 0:
        problems[PROBLEMS_SHOWN:] = [f"{path} has {plural(further, 'further problem')}; mend these first"]
    if problems:
        raise Mistake(*problems)
    return rows


def _objects_of(
    content: str, path: Path, model: type[Model], problems: list[str]
) -> Iterator[tuple[int, Any]]:
    """Yield the line and the values of each row of a table, or of each line of JSON."""
    holds_json = content.lstrip()[:1] in ("{", "[")
    if is_table(path):
        if holds_json:
            raise Mistake(f"{path} holds JSON; let its name end in .jsonl")
        return objects_of(content, path, model, problems)
    if not holds_json and looks_like_table(content, model):
        raise Mistake(f"{path} holds a table; let its name end in .csv or .tsv")
    return _json_lines(content, path, problems)


def _json_lines(content: str, path: Path, problems: list[str]) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line; add a sentence for each that is not JSON."""
    for number, line in enumerate(content.split("\n"), start=1):
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            values = parse_json(line)
        except NotJSON as error:
            where = "" if error.character is None else f", character {error.character}"
            problems.append(f"{place}: cannot be read as JSON ({error.reason}{where})")
        except Mistake as mistake:
            problems += [f"{place}: {problem}" for problem in mistake.problems]
        else:
            yield number, values


def read_object(path: Path, model: type[Model]) -> Model:
    """Read a file that holds one JSON object into a model.

    Raises:
        Mistake: if the file is missing or not UTF-8, or the object does not fit; a sentence for each problem.
    """
    content = _content_of(path)
    try:
        return _model_of(parse_json(content), model)
    except NotJSON as error:
        where = "" if error.line is None else f", line {error.line}"
        raise Mistake(f"{path}{where}: cannot be read as JSON ({error.reason})") from None
    except Mistake as mistake:
        raise Mistake(*(f"{path}: {problem}" for problem in mistake.problems)) from None


def _model_of(values: Any, model: type[Model]) -> Model:
    if not isinstance(values, dict):
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        raise Mistake(f"expected an object with {', '.join(required)}")
    return model(**values)


def _content_of(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte order mark and with line feeds only."""
    if not path.is_file():
        raise Mistake(f"the file {path} {'is a folder' if path.is_dir() else 'does not exist'}; name a file")
    content = path.read_bytes()
    if content.startswith(b"PK"):
        raise Mistake(f"{path} is a spreadsheet or an archive; save it as text, such as .csv")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Mistake(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again") from None
