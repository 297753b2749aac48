"""Changes that make a second text of an original: another value or form of a slot, a sentence more, or damage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Self

from pydantic import model_validator

from lowland.ground.asked import Asked, Several, Text
from lowland.ground.mistakes import Mistake, gathering, one_of
from lowland.stress.behaviour.templates import Forms, Slots, problems_with_template, slots_in
from lowland.text.corruptions import CORRUPTIONS
from lowland.text.levels import rate_of

Pair = tuple[str, str]
"""Values of a slot in the original text and in the changed text."""
WAYS = ("exchange", "rewrite", "increase", "append", "corrupt")


class Change(Asked):
    """Change of an original text. One of the fields `exchange`, `rewrite`, `increase`, `append`, `corrupt` is given."""

    exchange: Text | None = None
    """slot that gets another value"""
    rewrite: Text | None = None
    """slot whose value gets another form; the values are lists of forms that mean the same"""
    increase: Text | None = None
    """slot whose value grows; the values are lists of forms, in rising order"""
    append: Several[Text] = ()
    """sentences (templates); one of them is added to the text"""
    corrupt: Text | None = None
    """corruption of the text, such as typos, which leaves names and numbers as they are"""
    level: str | float = "light"
    """amount of damage, for corrupt: light, heavy, or a rate such as 0.1"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems: list[str] = []
        ways = [name for name in WAYS if getattr(self, name)]
        if len(ways) != 1:
            problems.append(
                f"it names {' and '.join(ways) or 'no way to change a text'}; give one of {', '.join(WAYS)}"
            )
        if self.corrupt is not None and self.corrupt not in CORRUPTIONS:
            problems.append(one_of("corruption", self.corrupt, CORRUPTIONS))
        with gathering(problems):
            rate_of(self.level)
        if problems:
            raise Mistake(*problems)
        return self

    @property
    def slot(self) -> str | None:
        """The slot that differs between both texts; None if none does."""
        return self.exchange or self.rewrite or self.increase

    def pairs(self, values: Sequence[Forms]) -> list[Pair]:
        """Return what the original and the changed text can have in the slot that differs."""
        if self.exchange is not None:
            chosen = permutations(values, 2)
            return [(before, after) for ours, theirs in chosen for before in ours for after in theirs]
        choose = permutations if self.rewrite is not None else combinations
        return [pair for forms in values for pair in choose(forms, 2)]

    def problems(self, templates: Sequence[str], slots: Slots) -> list[str]:
        """Return a sentence for everything that keeps the change from being made in the templates."""
        problems = [problem for text in self.append for problem in problems_with_template(text, slots)]
        if (name := self.slot) is None:
            return problems
        if name not in slots:
            return [*problems, one_of("slot", name, slots)]
        if not self.pairs(slots[name]):
            need = "two values" if self.exchange else "a value that is a list of two forms or more"
            problems.append(f"the change needs {need} of the slot '{name}'; add some")
        return problems + [
            f"the slot '{name}', which is to change, is not in the template '{text}'; add it"
            for text in templates
            if name not in slots_in(text)
        ]
