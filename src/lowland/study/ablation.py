"""Ablations: a method as a recipe has it, and again with other values of some of its settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lowland.ground.mistakes import Mistake, gathering, one_of
from lowland.study.recipe import Recipe
from lowland.train.choice import MethodChoice
from lowland.train.methods import method_named, users_of
from lowland.train.settings import Settings
from lowland.train.table import METHODS

Values = Sequence[Any]
"""Values of a setting."""

USUAL: Mapping[str, Values] = {
    "rank": (4, 8, 16),
    "alpha": (8, 16, 32),
    "targets": ("standard", "extended", "all-linear"),
    "rho": (0, 0.01, 0.05, 0.1, 0.15, 0.3),
    "lr": (1e-4, 3e-4, 5e-4, 1e-3),
}
"""Values of an axis that is named without values."""
USUAL_OF_METHODS: Mapping[str, Mapping[str, Values]] = {
    name: {"lr": (1e-5, 2e-5, 5e-5, 1e-4)} for name in ("full", "flat-full")
}
"""Values of methods to which those of `USUAL` do not apply; of no other method with an lr of its own there are any."""

ALPHA_PER_RANK = 2
"""alpha = 2r along the axis of the rank, so that the scale of the adapter stays what it is."""


def read_axes(words: Sequence[str], method: str | None = None) -> dict[str, Values]:
    """Return the values of each axis.

    Args:
        words: each a setting with values, as "lr=1e-4,3e-4", or without, for the usual ones.
        method: name of the method, if it is known; some have usual values of their own.

    Raises:
        Mistake: if a word is no setting, has no values and there are no usual ones, or a setting is named twice.

    Examples:
        >>> read_axes(["rank", "lr=1e-4,3e-4"])
        {'rank': (4, 8, 16), 'lr': (0.0001, 0.0003)}
    """
    usual = _usual_values(method)
    axes: dict[str, Values] = {}
    problems: list[str] = []
    for word in words:
        name, equals, listed = word.partition("=")
        name = name.strip().replace("-", "_")
        values = [value for value in listed.split(",") if value] if equals else usual.get(name, ())
        if not equals and name.replace(".", "").isdigit():
            problems.append(
                f"the axis {name} is a number; write the values of an axis without spaces, as rank=4,8"
            )
        elif name not in Settings.model_fields:
            problems.append(one_of("axis", name, tuple(Settings.model_fields)))
        elif not values:
            problems.append(
                f"the axis {name} has no values; give them, as {name}=VALUE,VALUE (only {', '.join(usual)} have usual"
                " ones)"
            )
        elif name in axes:
            problems.append(f"the axis {name} is named twice; list all its values behind one equals sign")
        else:
            with gathering(problems):
                axes[name] = tuple(
                    dict.fromkeys(getattr(Settings(**{name: value}), name) for value in values)
                )
    if problems:
        raise Mistake(*problems)
    return axes


def _usual_values(method: str | None) -> Mapping[str, Values]:
    """Return the usual values by setting; a method with a default of its own for a setting has its own, or none."""
    own = set() if method is None else set(method_named(method).defaults)
    return {
        **{name: values for name, values in USUAL.items() if name not in own},
        **USUAL_OF_METHODS.get(method or "", {}),
    }


def method_for(axes: Mapping[str, Values]) -> str:
    """Return the first method of the table that uses all axes, LoRA before any other.

    Raises:
        Mistake: if there is none.
    """
    for name in ("lora", *METHODS):
        if set(axes) <= set(method_named(name).uses):
            return name
    users = "; ".join(f"{name} is used by {users_of(name)}" for name in axes)
    raise Mistake(f"no method uses {' and '.join(axes)} ({users}); give fewer axes, or --method")


def check_axes(method: str, axes: Mapping[str, Values]) -> None:
    """Check that a method uses all axes; raise `Mistake` otherwise."""
    if unused := [name for name in axes if name not in method_named(method).uses]:
        raise Mistake(
            *(f"{method} does not use the axis {name}; methods that do: {users_of(name)}" for name in unused)
        )


def ablated(recipe: Recipe, axes: Mapping[str, Values]) -> Recipe:
    """Return a recipe with its one method as it is, and once for each other combination of the axes' values.

    Along the axis of the rank, alpha is twice the rank, unless it is an axis, too. Labels name the values.

    Args:
        recipe: the recipe, with one method.
        axes: values by setting; all their combinations are made.

    Raises:
        Mistake: if the method does not use a setting, or a value is out of range.
    """
    (base,) = recipe.methods
    check_axes(base.name, axes)
    shared = Settings(**{name: getattr(recipe, name) for name in Settings.model_fields})
    choices: dict[str, MethodChoice] = {}
    problems: dict[str, None] = {}
    for values in itertools.product(*axes.values()):
        own = {**_own(base), **_tied(dict(zip(axes, values, strict=True)))}
        label = "-".join(
            [base.label, *(_named(name, value) for name, value in zip(axes, values, strict=True))]
        )
        try:
            choice = MethodChoice.choose(base.name, shared, own, label)
        except Mistake as mistake:
            problems |= dict.fromkeys(mistake.problems)
            continue
        if choice.settings != base.settings:
            choices[label] = choice
    if problems:
        raise Mistake(*problems)
    if not choices:
        raise Mistake(
            f"the axes hold no value but those of {base.label} itself ({', '.join(axes)}); give others to compare with"
        )
    return recipe.replace(methods=(base, *choices.values()))


def _own(base: MethodChoice) -> dict[str, Any]:
    """Return the settings that the recipe gives to the method alone."""
    return {name: getattr(base.settings, name) for name in base.own}


def _tied(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the alpha that belongs to their rank."""
    if "rank" in values and "alpha" not in values:
        return {"alpha": ALPHA_PER_RANK * values["rank"], **values}
    return values


def _named(name: str, value: Any) -> str:
    """Return the part of a label for a value, as "rank4", "rho0.05" or "standard"."""
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}"
