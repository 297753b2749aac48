"""Methods by name: a row of the table, or a row with prefixes in front, such as `flat+dora` and `neftune+full`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.names import nearest
from lowland.train.prefixes import PREFIXES
from lowland.train.rows import Method, Prefix
from lowland.train.settings import Settings
from lowland.train.table import ALIASES, METHODS

if TYPE_CHECKING:
    from transformers import TrainerCallback

_COMPOSITIONS = {row: name for name, row in ALIASES.items()}
"""Rows that are compositions, and the compositions."""


def method_named(name: str) -> Method:
    """Return the method of a name: a row, or a row with prefixes in front, joined by "+".

    The order of the prefixes does not matter. `flat+lora` is the row `flat-lora`.

    Raises:
        Mistake: if a part of the name is unknown or repeated, or cannot be combined with the method.

    Examples:
        >>> method_named("flat+neftune+dora").name, method_named("flat+lora").name
        ('neftune+flat+dora', 'flat-lora')
    """
    *front, row = name.split("+")
    if problem := _problem_with_name(name, front, row):
        raise Mistake(problem)
    for part in front:
        if [*front, *METHODS[row].prefixes].count(part) > 1:
            who = row if part in METHODS[row].prefixes else name
            raise Mistake(f"method '{name}' has {part} twice: {who} has it already; once is enough")
    *own, row = _COMPOSITIONS.get(row, row).split("+")
    method = METHODS[row]
    for part in sorted([*front, *own], key=list(PREFIXES).index, reverse=True):
        if reason := _why_not(PREFIXES[part], method):
            raise Mistake(f"method '{name}' cannot be used: {reason}")
        method = _with_prefix(PREFIXES[part], method)
    return method


def users_of(setting: str) -> str:
    """Return the methods that use a setting, in words: rows of the table, and prefixes such as `flat+…`."""
    rows = [row.name for row in METHODS.values() if setting in row.uses]
    return ", ".join(rows + [f"{prefix.name}+…" for prefix in PREFIXES.values() if setting in prefix.options])


def _problem_with_name(name: str, front: Sequence[str], row: str) -> str | None:
    """Return what is wrong with the parts of a method's name, in one sentence with the name that is meant."""
    if len(names := re.split(r"[,\s]+", name.strip(" ,"))) > 1:
        return (
            f"'{name}' names {len(names)} methods; give one, or several separated by spaces where several can be given"
            f" (lowland compare --methods {' '.join(names)})"
        )
    rows = [part for part in (*front, row) if part in METHODS]
    prefixes = [part for part in (*front, row) if part in PREFIXES]
    if not front and prefixes:
        return f"{row} in '{name}' is a prefix; put a method behind it, as in {row}+lora"
    if len(rows) > 1 and len(rows) + len(prefixes) == len(front) + 1:
        return f"'{name}' joins the methods {' and '.join(rows)}; give one method, or list them one by one"
    if front and len(rows) == 1 and len(prefixes) == len(front):
        right = "+".join((*prefixes, *rows))
        return None if rows == [row] else f"'{name}' has the method first; write {right}"
    if front and not rows and len(prefixes) > len(front):
        return f"'{name}' has no method; put one behind the prefixes, as in {name}+lora"
    if not front and row in METHODS:
        return None
    return _unknown_name(name, front, row)


def _unknown_name(name: str, front: Sequence[str], row: str) -> str:
    """Return the sentence for a name with an unknown part, with the nearest name as a whole."""
    if not front:
        return one_of("method", name, METHODS)
    meant = [nearest(part, PREFIXES) for part in front] + [nearest(row, METHODS)]
    hint = "" if None in meant else f"did you mean '{'+'.join(filter(None, meant))}'? "
    before = ", ".join(f"{prefix}+" for prefix in PREFIXES)
    return f"unknown method '{name}'; {hint}Allowed: {', '.join(METHODS)}; in front of them {before}"


def callbacks_of(method: Method, settings: Settings, seed: int) -> list[TrainerCallback]:
    """Return the Trainer's callbacks of a method: the row's own, and those of the prefixes in front of it."""
    own = [] if method.callback is None else [method.callback(settings, seed)]
    return own + [PREFIXES[name].callback(method, settings, seed) for name in method.prefixes]


def _with_prefix(prefix: Prefix, method: Method) -> Method:
    """Return a method with one prefix more in front."""
    name = f"{prefix.name}+{method.name}"
    composed = replace(
        method,
        name=name,
        prefixes=(prefix.name, *method.prefixes),
        options=(*method.options, *prefix.options),
    )
    return METHODS[ALIASES[name]] if name in ALIASES else composed


def _why_not(prefix: Prefix, method: Method) -> str | None:
    """Return the reason why a prefix cannot stand in front of a method, or None."""
    if method.counts_words:
        return f"{method.name} trains no network that {prefix.name} could change"
    if prefix.needs == "adapter" and not method.has_adapter:
        return (
            f"{prefix.name} changes an adapter's merged weight, and {method.name} has no adapter; use a method with"
            " an adapter"
        )
    if prefix.needs == "weights" and not (method.has_adapter or method.trains_weights):
        return (
            f"{prefix.name} changes an adapter's merged weight, or weights that are all trained, and {method.name} has"
            " neither; use full, or a method with an adapter"
        )
    for other in (*method.prefixes, method.name.rpartition("+")[2]):
        if other in prefix.excludes or (other in PREFIXES and prefix.name in PREFIXES[other].excludes):
            return f"{prefix.name} and {other} exclude each other; use one of them"
    return None
