"""Entry of a recipe's `methods`: a method of the table, with a label and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from lowland.ground.asked import Asked, Text, plain
from lowland.ground.mistakes import Mistake, unknown_setting
from lowland.train.methods import method_named, users_of
from lowland.train.rows import Method
from lowland.train.settings import Settings


def _check_label(value: str) -> str:
    """Check that a label can be part of a folder's name."""
    if not re.fullmatch(r"[\w.+-]+", value) or value.startswith("."):
        raise ValueError("hold letters, digits and - + _ . alone, and not begin with a dot")
    return value


def unused(setting: str, names: Sequence[str], shown: str | None = None) -> str:
    """Return the sentence for a setting that no chosen method uses.

    Args:
        setting: its field.
        names: of the chosen methods.
        shown: the setting as it was given, such as `--rho`; default: the field.
    """
    shown = shown or setting
    without = f"{names[0]} does not use it" if len(names) == 1 else f"none of {', '.join(names)} uses it"
    return f"{shown} is given, but {without}; leave it out, or take a method that does: {users_of(setting)}"


class MethodChoice(Asked):
    """Entry of a recipe's `methods`: a method's name, its label and its settings.

    Make one with `choose`.
    """

    name: Text
    """the method's name in its canonical form"""
    label: Annotated[Text, AfterValidator(_check_label)]
    """label in tables and folder names; the same method may be listed twice under two labels"""
    settings: Settings
    """all settings, checked"""
    own: frozenset[str] = frozenset()
    """names of the settings that were given for this method alone"""

    @classmethod
    def choose(
        cls, name: str, base: Settings, own: Mapping[str, Any] | None = None, label: str | None = None
    ) -> MethodChoice:
        """Choose a method.

        Args:
            name: as `method_named` takes it.
            base: settings that hold for all methods of the recipe.
            own: settings for this method alone; they override the method's defaults, which override the base.
            label: default: the method's name.

        Raises:
            Mistake: if the method is unknown, does not use one of its own settings, or a value is out of range.
        """
        method, own = method_named(name), dict(own or {})
        problems = [
            unused(key, [name])
            if key in Settings.model_fields
            else unknown_setting(f"setting of {name}", key, (*method.uses, "label"))
            for key in own
            if key not in method.uses
        ]
        settings = base
        try:
            known = {key: value for key, value in own.items() if key in method.uses}
            settings = base.replace(**{**method.defaults, **known})
        except Mistake as mistake:
            problems += [f"{name}: {problem}" for problem in mistake.problems]
        if problems:
            raise Mistake(*problems)
        label = method.name if label is None else label
        return cls(name=method.name, label=label, settings=settings, own=frozenset(own))

    @property
    def method(self) -> Method:
        """The row of the table."""
        return method_named(self.name)

    def as_dict(self) -> dict[str, Any]:
        """Return name, label and the settings that the method uses, as plain values for a record."""
        used = {name: plain(getattr(self.settings, name)) for name in self.method.uses}
        return {"name": self.name, "label": self.label, **used}

    def as_recipe(self) -> str | dict[str, dict[str, Any]]:
        """Return the entry for a recipe file: the name, or the name with the settings that were given for it alone."""
        own = {
            name: plain(getattr(self.settings, name)) for name in Settings.model_fields if name in self.own
        }
        if self.label != self.name:
            own["label"] = self.label
        return {self.name: own} if own else self.name
