"""The older form of settings for one method in a recipe, `overrides`: read, checked, and shown in the newer form."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lowland.ground.mistakes import Mistake
from lowland.train.choice import MethodChoice
from lowland.train.methods import method_named
from lowland.train.settings import Settings


@dataclass(frozen=True)
class MethodsWithOverrides:
    """Entries of `methods`, and the older form of settings for one method, `overrides`."""

    methods: Any
    overrides: Any


def read_overrides(value: Any) -> dict[str, dict[str, Any]]:
    """Return settings by the names of methods.

    Raises:
        Mistake: naming each entry that is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise Mistake(f"overrides is {value!r}; it must be a mapping such as {{full: {{lr: 5e-5}}}}")
    if wrong := {name: row for name, row in value.items() if not isinstance(row, Mapping)}:
        raise Mistake(
            *(
                f"overrides holds {row!r} for {name}; give settings by name, as in {{{name}: {{lr: 1e-4}}}}"
                for name, row in wrong.items()
            )
        )
    return {str(name): dict(row) for name, row in value.items()}


def older_settings(name: str, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `overrides` says of a method; of the row behind prefixes, too."""
    if not overrides:
        return {}
    method = method_named(name).name
    row = method.rpartition("+")[2]
    by_name = {
        method_named(key).name: values for key, values in overrides.items() if canonical_name(key) is not None
    }
    return {**by_name.get(row, {}), **by_name.get(method, {})}


def override_problems(
    overrides: Mapping[str, Mapping[str, Any]], base: Settings, entries: Sequence[Any]
) -> list[str]:
    """Return what is wrong with the older form, also for methods that the recipe does not name."""
    problems: list[str] = []
    names: list[str] = []
    for name, values in overrides.items():
        try:
            names.append(MethodChoice.choose(name, base, values).name)
        except Mistake as mistake:
            problems += [f"overrides: {problem}" for problem in mistake.problems]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [f"overrides names {name} more than once; once is enough" for name in twice]
    chosen = [method for entry in entries if (method := canonical_name(entry)) is not None]
    if len(chosen) < len(entries):  # these are to be mended first
        return problems
    return problems + [
        f"overrides names {name}, which is not among the methods ({', '.join(chosen)}); add it to them, or leave"
        " its settings out"
        for name in dict.fromkeys(names)
        if not overrides_reach(name, chosen)
    ]


def overrides_reach(name: str, chosen: Sequence[str]) -> bool:
    """Return whether what `overrides` says of a method holds for a chosen one, perhaps behind prefixes."""
    return any(name in (method, method.rpartition("+")[2]) for method in chosen)


def canonical_name(entry: Any) -> str | None:
    """Return the canonical name of the method of an entry of `methods`; None if there is no such method."""
    if isinstance(entry, MethodChoice):
        return entry.name
    name = next(iter(entry), None) if isinstance(entry, Mapping) else entry
    try:
        return method_named(name).name if isinstance(name, str) else None
    except Mistake:
        return None


def warn_of_overrides(choices: Sequence[MethodChoice]) -> None:
    """Warn of the older form, and show the newer one as YAML."""
    methods = {"methods": [choice.as_recipe() for choice in choices]}
    form = yaml.safe_dump(methods, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    warnings.warn(
        f"overrides is an older form; write settings beside the method's name: {form.strip()[1:-1]}",
        FutureWarning,
        stacklevel=2,
    )
