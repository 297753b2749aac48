"""Base class of all configuration models: pydantic models that report all invalid values at once, one sentence each.

A field states its type and range in `Annotated`, its default, and its help text in the docstring under it. Command line
options, recipe files and records come from the same fields.
"""

from __future__ import annotations

import contextlib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import annotated_types
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from lowland.ground.mistakes import Mistake, one_of

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


def _whole(value: Any) -> Any:
    """Read "1e3" and 3.0 as whole numbers; refuse true and false."""
    if isinstance(value, bool):
        raise ValueError("be a whole number")
    if not isinstance(value, str):
        return value
    with contextlib.suppress(ValueError):
        return int(value)  # not by way of float, which holds 53 bits
    try:
        number = float(value)
    except ValueError:
        raise ValueError("be a whole number") from None
    if not number.is_integer():
        raise ValueError("be a whole number")
    return int(number)


def _number(value: Any) -> Any:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("be a number")
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("be text that is not empty")
    if any(
        "\ud800" <= character <= "\udfff" for character in value
    ):  # half of a character, or a byte of the shell
        raise ValueError("be text in UTF-8")
    return value


def _truth(value: Any) -> Any:
    words = {"true": True, "false": False}
    truth = words.get(value.casefold()) if isinstance(value, str) else value
    if not isinstance(truth, bool):
        raise ValueError("be true or false")
    return truth


def _several(value: Any) -> Any:
    """Turn a single value into a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class FixedMapping(Mapping[K, V]):
    """Mapping that cannot be changed. Unlike `types.MappingProxyType`, it can be pickled."""

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


def _writable(path: Path) -> Path:
    """Check that a file can be written, before any work is done for it."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise Mistake(f"{path} cannot be written: give a file in a folder that exists")
    return path


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
"""A finite number. Strings are read, too: YAML 1.1 takes 5e-4 for one."""
Text = Annotated[str, BeforeValidator(_text)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Several = Annotated[tuple[T, ...], BeforeValidator(_several)]
"""A list of values. A single value is accepted, too, and becomes a list of one."""
NotEmpty = annotated_types.MinLen(1)
OutputFile = Annotated[Path, AfterValidator(_writable)]
"""A file to write, in a folder that exists."""


class Asked(BaseModel):
    """Base class of models with values that a user gives, validated at construction.

    Instances are immutable. `replace` makes a changed copy, which is checked again.

    Raises:
        Mistake: with one sentence for each problem, if values are missing, unknown or out of range.

    Example:
        >>> class Training(Asked):
        ...     epochs: Annotated[Whole, Field(ge=1)] = 3
        >>> Training(epochs=0)
        Traceback (most recent call last):
        lowland.ground.mistakes.Mistake: epochs is 0; it must be at least 1
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise Mistake(*_sentences(error, type(self))) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values for some fields, checked like any other."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def read_yaml(path: Path, what: str) -> Any:
    """Return the content of a YAML file.

    Args:
        path: path of the file.
        what: kind of file, for the error message, such as "recipe file".

    Raises:
        Mistake: if there is no such file, or it is not YAML, or has a key twice in one mapping.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except (FileNotFoundError, IsADirectoryError):
        raise Mistake(f"the {what} {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Mistake(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML loader that refuses a repeated key in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise Mistake(
                f"the mapping that begins in line {node.start_mark.line + 1} has the key {twice[0]!r} twice; remove one"
            )
        return super().construct_mapping(node, deep)


def plain(value: Any) -> Any:
    """Return a value as JSON and YAML can store it: mappings and models as dicts, tuples as lists, recursively."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def _sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one sentence for each problem that pydantic found, in the order of the fields."""
    sentences: list[str] = []
    for problem in error.errors(include_url=False):
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, Mistake):  # of a model within this one, or of a validator that says it all
            prefix = f"{problem['loc'][0]}: " if _holds_model(model, problem["loc"]) else ""
            sentences += [f"{prefix}{sentence}" for sentence in cause.problems]
        else:
            sentences.append(_sentence(problem, model, cause))
    return list(dict.fromkeys(sentences))


def _sentence(problem: Any, model: type[BaseModel], cause: object) -> str:
    loc = problem["loc"]
    given = _shown(problem["input"]) if problem["type"] in BOUNDS else repr(problem["input"])
    name = str(loc[0]) if loc else model.__name__
    if problem["type"] == "extra_forbidden":
        return one_of("field", name, list(model.model_fields))
    if problem["type"] == "missing":
        described = model.model_fields[name].description if name in model.model_fields else None
        return f"{name} is missing: {described}" if described else f"{name} is missing; give it a value"
    if problem["type"] == "literal_error":
        return one_of(name, problem["input"], re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
    field = model.model_fields.get(name)
    must = str(cause) if cause is not None else _requirement(problem, field if len(loc) == 1 else None)
    if loc[-1:] == ("[key]",):
        return f"{name} names {given}; each name in it must {must}"
    if len(loc) > 1 and isinstance(loc[1], int):
        return f"{name} holds {given}; each value must {must}"
    if len(loc) > 1:
        return f"{name} holds {given} for {loc[1]}; it must {must}"
    return f"{name} is {given}; it must {must}"


def _shown(value: Any) -> str:
    """Show a number; one from the command line is text, and is shown without quotes."""
    return value if isinstance(value, str) else repr(value)


def _requirement(problem: Any, field: FieldInfo | None) -> str:
    """Say what a value must be, to follow "it must"."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in BOUNDS:
        return (_interval(field) if field else None) or f"{BOUNDS[kind][0]} {context[BOUNDS[kind][1]]:g}"
    message = str(problem["msg"])
    return REQUIREMENTS.get(kind, message[0].lower() + message[1:])


BOUNDS = {
    "greater_than_equal": ("be at least", "ge"),
    "greater_than": ("be above", "gt"),
    "less_than_equal": ("be at most", "le"),
    "less_than": ("be below", "lt"),
}
REQUIREMENTS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "be a number"),
    **dict.fromkeys(("string_type", "path_type"), "be text"),
    **dict.fromkeys(("dict_type", "mapping_type"), "be a mapping"),
    **dict.fromkeys(("tuple_type", "list_type"), "be a list"),
    "finite_number": "be finite",
    "too_short": "not be empty",
}


def _interval(field: FieldInfo) -> str | None:
    """Return "be in [0, 1)" for a field with bounds on both sides, else None."""
    low = high = ""
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=value):
                low = f"[{value:g}"
            case annotated_types.Gt(gt=value):
                low = f"({value:g}"
            case annotated_types.Le(le=value):
                high = f"{value:g}]"
            case annotated_types.Lt(lt=value):
                high = f"{value:g})"
    return f"be in {low}, {high}" if low and high else None


def _holds_model(model: type[BaseModel], loc: Sequence[str | int]) -> bool:
    """Return whether a field's type is a model, so that its sentences need the field's name before them."""
    field = model.model_fields.get(str(loc[0])) if loc else None
    if field is None:
        return False
    union = typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(field.annotation) if union else (field.annotation,)
    return any(isinstance(member, type) and issubclass(member, BaseModel) for member in members)
