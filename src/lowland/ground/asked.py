"""Base class of all configuration models: pydantic models that report all invalid values at once, one sentence each.

A field states its type and range in `Annotated`, its default, and its help text in the docstring under it. Command line
options, recipe files and records come from the same fields.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, Never, Self, TypeVar, get_type_hints

import annotated_types
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from lowland.ground.mistakes import Mistake
from lowland.ground.remote import is_url, shown
from lowland.ground.sentences import sentences_of

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


def _on_this_machine(value: Any) -> Any:
    """Refuse a URL, which would become a path with one slash."""
    if is_url(value):
        raise Mistake(f"{shown(value)} is a URL; name a file or folder of this machine")
    return value


def _writable(path: Path) -> Path:
    """Check that a file can be written, before any work is done for it."""
    if path.is_dir():
        raise Mistake(f"{path} is a folder; name a file to write, such as {path / 'answers.csv'}")
    if not path.absolute().parent.is_dir():
        raise Mistake(f"{path} cannot be written: the folder {path.parent} does not exist; make it first")
    return path


def check_free(path: Path | None, option: str, *, replace: bool) -> None:
    """Check that a file to write is not there yet, or may be replaced; raise `Mistake` otherwise.

    Args:
        path: the file; None if none is written.
        option: option that names it.
        replace: whether `--replace` is given.
    """
    if path is not None and path.exists() and not replace:
        raise Mistake(f"{path} exists; name another file with {option}, or add --replace to replace it")


Whole = Annotated[int, BeforeValidator(_whole)]
Seed = Annotated[Whole, Field(ge=0)]
"""Seed of random numbers."""
Number = Annotated[float, BeforeValidator(_number)]
"""A finite number. Strings are read, too: YAML 1.1 takes 5e-4 for one."""
Text = Annotated[str, BeforeValidator(_text)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Several = Annotated[tuple[T, ...], BeforeValidator(_several)]
"""A list of values. A single value is accepted, too, and becomes a list of one."""
NotEmpty = annotated_types.MinLen(1)
LocalPath = Annotated[Path, BeforeValidator(_on_this_machine)]
"""A file or folder of this machine, and no URL."""
OutputFile = Annotated[LocalPath, AfterValidator(_writable)]
"""A file to write, in a folder that exists."""


class Asked(BaseModel):
    """Base class of models with values that a user gives, validated at construction.

    Instances are immutable. `replace` makes a changed copy, which is checked again.

    Raises:
        Mistake: with one sentence for each problem, if values are missing, unknown or out of range.

    Examples:
        >>> class Training(Asked):
        ...     epochs: Annotated[Whole, Field(ge=1)] = 3
        >>> Training(epochs=0)
        Traceback (most recent call last):
        lowland.ground.mistakes.Mistake: epochs is 0; it must be at least 1
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    listed_by: ClassVar[str] = ""
    """Command that lists the fields; it is named in place of a long list of them."""

    def __init__(self, /, *misplaced: Never, **values: Any) -> None:
        if misplaced:
            raise Mistake(_call_by_name(type(self), misplaced))
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise Mistake(*sentences_of(error, type(self), self.listed_by)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Give the class a signature with plain types, and a docstring that lists the fields: `help` shows both."""
        super().__pydantic_init_subclass__(**kwargs)
        types = get_type_hints(cls)  # without what validates
        cls.__signature__ = Signature(
            [
                Parameter(name, Parameter.KEYWORD_ONLY, annotation=types[name], default=_default_of(field))
                for name, field in cls.model_fields.items()
            ]
        )
        lines = [
            f"{name}: {field.description}" for name, field in cls.model_fields.items() if field.description
        ]
        fields = "".join("\n    " + " ".join(line.split()) for line in lines)
        cls.__doc__ = f"{inspect.cleandoc(vars(cls).get('__doc__') or cls.__name__)}\n\nFields:{fields}"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values for some fields, checked like any other."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def _default_of(field: FieldInfo) -> Any:
    return Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)


def check_kind(value: object, kind: type[Asked], call: str) -> None:
    """Check that an argument is a model.

    Args:
        value: the argument.
        kind: the model.
        call: a call of the function, with `{}` in the argument's place.

    Raises:
        Mistake: if it is anything else; the sentence shows the right call.
    """
    if not isinstance(value, kind):
        actual = "a mapping" if isinstance(value, Mapping) else f"the type {type(value).__name__}"
        right = call.format(
            f"{kind.__name__}(**values)" if isinstance(value, Mapping) else f"{kind.__name__}(…)"
        )
        raise Mistake(
            f"{call.partition('(')[0]} takes a {kind.__name__}, and is given {actual}; call {right}"
        )


def _call_by_name(model: type[Asked], misplaced: tuple[object, ...]) -> str:
    """Return the sentence for values without names, with the right call."""
    name = model.__name__
    if isinstance(misplaced[0], Mapping):
        return f"{name} takes its values by name, and is given a mapping; call {name}(**values)"
    named = ", ".join(
        f"{field}={value!r}" for field, value in zip(model.model_fields, misplaced, strict=False)
    )
    return f"{name} takes its values by name; call {name}({named})"


def plain(value: Any) -> Any:
    """Return a value as JSON and YAML can store it: mappings and models as dicts, tuples as lists, recursively."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
