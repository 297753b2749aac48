"""How the values of a recipe's fields are read, and the ranges that they must lie in, in the words of an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from lowland.ground.mistakes import Mistake


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _whole(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = float(value)  # "1e3"
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    return float(value)  # of a string, too: YAML 1.1 reads 5e-4 as one


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _some(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda value: tuple(read(one) for one in (value if isinstance(value, list | tuple) else [value]))


def _by_layer(read: Callable[[Any], Any]) -> Callable[[Any], Mapping[str, Any]]:
    def reader(value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise TypeError
        return MappingProxyType({_text(name): read(one) for name, one in value.items()})

    return reader


def _overrides(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """Methods that are not named keep the default's."""
    rows = {str(name): MappingProxyType(dict(row)) for name, row in dict(value).items()}
    return MappingProxyType({**DEFAULT_OVERRIDES, **rows})


DEFAULT_OVERRIDES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"full": MappingProxyType({"lr": 5e-5})}
)

KINDS: Mapping[str, Callable[[Any], Any]] = {
    "a text": _text,
    "a text or null": lambda value: None if value is None else _text(value),
    "a whole number": _whole,
    "a number": _number,
    "true or false": _truth,
    "one or several texts": _some(_text),
    "one or several whole numbers": _some(_whole),
    "a mapping such as {full: {lr: 5e-5}}": _overrides,
    "a mapping of layers to whole numbers such as {query: 4}": _by_layer(_whole),
    "a mapping of layers to numbers such as {query: 32}": _by_layer(_number),
}
"""How a field's value is read: what it must be, in the words of an error, and the function that reads it."""

RANGES: Mapping[str, Callable[[Any], bool]] = {
    "": lambda value: True,
    "not be empty": lambda value: len(value) > 0,
    "be at least 0": lambda value: value >= 0,
    "be at least 1": lambda value: value >= 1,
    "be above 0": lambda value: value > 0,
    "be auto, fp32 or bf16": lambda value: value in ("auto", "fp32", "bf16"),
    "hold ranks of at least 1": lambda value: all(one >= 1 for one in value.values()),
    "hold finite numbers above 0": lambda value: all(0 < one < math.inf for one in value.values()),
    "be in (0, 1)": lambda value: 0 < value < 1,
    "be in [0, 1)": lambda value: 0 <= value < 1,
}
"""What must hold of a value, and the function that says whether it does."""


def read_yaml(path: Path, what: str) -> Any:
    """What a YAML file holds.

    Args:
        path: of the file.
        what: it is meant to be, as "recipe file".

    Raises:
        Mistake: if there is none, or it is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise Mistake(f"the {what} {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Mistake(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None
