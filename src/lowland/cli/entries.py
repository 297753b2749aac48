"""The entries of a recipe file's methods that the command line names, and settings that none of them uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowland.cli.options import Values, option_name
from lowland.ground.mistakes import Mistake, gathering
from lowland.study.overrides import canonical_name, overrides_reach
from lowland.study.recipe import named_settings
from lowland.train.choice import unused
from lowland.train.methods import method_named
from lowland.train.settings import Settings

Method = tuple[str, dict[str, Any]]
"""Name of a method and settings of its own."""


def unused_problems(own: Values, methods: Sequence[Any]) -> list[str]:
    """Return a sentence for each setting on the command line that none of the methods uses."""
    names = [name for entry in methods if (name := canonical_name(entry)) is not None]
    if not names or len(names) < len(methods):  # these are to be mended first
        return []
    used = {setting for name in names for setting in method_named(name).uses}
    return [
        unused(setting, names, option_name(setting))
        for setting in own
        if setting in Settings.model_fields and setting not in used
    ]


def overridden_problems(own: Values, methods: Sequence[Any]) -> list[str]:
    """Return a sentence for each setting on the command line of which all its methods have values of their own."""
    names = [name for entry in methods if (name := canonical_name(entry)) is not None]
    problems = []
    for setting in own:
        users = [name for name in names if setting in method_named(name).uses]
        if users and all(setting in method_named(name).defaults for name in users):
            value = method_named(users[0]).defaults[setting]
            problems.append(
                f"{option_name(setting)} is given, but {users[0]} has a value of its own, {value:g}; change it in a"
                f" recipe file, as {users[0]}: {{{setting}: …}}"
            )
    return problems


def leave_overrides_out(values: Values, chosen: Sequence[Any], among: Sequence[Any]) -> None:
    """Leave out the older settings of methods of a recipe file that are not run, in place."""
    if not isinstance(overrides := values.get("overrides"), Mapping):
        return
    names, others = ([name for entry in each if (name := canonical_name(entry))] for each in (chosen, among))

    def is_left(name: object) -> bool:
        method = canonical_name(name)
        return method is None or overrides_reach(method, names) or not overrides_reach(method, others)

    values["overrides"] = {name: row for name, row in overrides.items() if is_left(name)}
    if overrides and not values["overrides"]:
        del values["overrides"]


def as_list(value: Any) -> list[Any]:
    """Return a list or tuple as a list, and any other value as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def entries_of(methods: Any, problems: list[str]) -> dict[str, Method]:
    """Return name and settings of each method in a recipe file, by its label; add what is wrong to the problems."""
    entries: dict[str, Method] = {}
    for entry in as_list(methods):
        with gathering(problems):
            name, settings = named_settings(entry)
            label = str(settings.get("label", name))
            if label in entries:
                raise Mistake(f"methods names {label} more than once; give each a label of its own")
            entries[label] = name, settings
    return entries


def chosen_entries(labels: Sequence[Any], entries: Mapping[str, Method]) -> list[Any]:
    """Return the entries of a recipe file with these labels; what is no label there stays as it is."""
    chosen: list[Any] = []
    for label in labels:
        _check_label(label, entries, "--methods")
        name, settings = entries.get(label, (label, {}))
        chosen.append({name: settings} if settings else name)
    return chosen


def _check_label(label: str, entries: Mapping[str, Method], option: str) -> None:
    """Check that a recipe file does not have a method under other labels than its name; raise `Mistake` otherwise."""
    if label not in entries and (labels := [key for key, (name, _) in entries.items() if name == label]):
        raise Mistake(f"the recipe file labels {label} {' and '.join(labels)}; give the label with {option}")


def method_of(label: str, entries: Mapping[str, Method]) -> Method:
    """Return the method of a label in a recipe file, or of a name.

    Raises:
        Mistake: if there is none, or the recipe file has the method under other labels.
    """
    _check_label(label, entries, "--method")
    name, settings = entries.get(label, (label, {}))
    method_named(name)
    return name, dict(settings)
