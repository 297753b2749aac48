"""Templates of texts with slots: `{company} raised its profit by {percent}`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from lowland.ground.mistakes import Mistake, one_of

SLOT = re.compile(r"\{(\w+)\}")

Forms = tuple[str, ...]
"""A value of a slot: its forms. Most values have one form."""
Slots = Mapping[str, tuple[Forms, ...]]
"""The values of each slot."""


def slots_in(template: str) -> tuple[str, ...]:
    """Return the names of a template's slots, each once."""
    return tuple(dict.fromkeys(SLOT.findall(template)))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the text of a template with its slots filled."""
    return SLOT.sub(lambda match: values[match[1]], template)


def problems_with_template(template: str, slots: Collection[str]) -> list[str]:
    """Return a sentence for each unknown slot of a template, and for braces that are no slot."""
    problems = [
        f"{one_of('slot', name, slots)} (in the template '{template}')"
        for name in slots_in(template)
        if name not in slots
    ]
    if set("{}") & set(SLOT.sub("", template)):
        problems.append(f"the template '{template}' has a brace without a slot; write a slot as {{name}}")
    return problems


def read_slots(value: Any) -> Any:
    """Return the values of all slots as lists of forms.

    Raises:
        Mistake: with a sentence for each slot that is no list of texts, or of lists of texts.
    """
    if not isinstance(value, Mapping):
        return value
    problems = [
        problem
        for name, values in value.items()
        if (problem := _problem_with_slot(str(name), values)) is not None
    ]
    if problems:
        raise Mistake(*problems)
    return {
        str(name): tuple(
            tuple(each) if isinstance(each, Sequence) and not isinstance(each, str) else (each,)
            for each in values
        )
        for name, values in value.items()
    }


def _problem_with_slot(name: str, values: Any) -> str | None:
    """Return what is wrong with the values of a slot; None if nothing is."""
    if not SLOT.fullmatch(f"{{{name}}}"):
        return f"a slot is called '{name}'; a name consists of letters, digits and underscores"
    if not isinstance(values, list | tuple) or not values:
        return f"the slot '{name}' holds {values!r:.60}; it must be a list of texts that is not empty"
    for each in values:
        forms = each if isinstance(each, list | tuple) else [each]
        if not forms or not all(isinstance(form, str) and form.strip() for form in forms):
            return (
                f"the slot '{name}' holds {each!r:.60}; each value must be text (a number in quotes), or a list of"
                " texts"
            )
    return None


SlotValues = Annotated[Slots, BeforeValidator(read_slots)]
