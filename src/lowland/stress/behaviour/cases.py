"""Cases of a suite: texts with their expectations, drawn from the templates.

The draw depends on (seed, name of the test, template) alone, so that all runs get the same cases, and a test that is
added to a suite changes no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream, stream_seed
from lowland.stress.behaviour.changes import Change, Pair
from lowland.stress.behaviour.suites import AnyTest, ChangeTest, DirectionTest, FunctionalityTest, Suite
from lowland.stress.behaviour.templates import Slots, fill, slots_in
from lowland.text.corruptions import corrupt
from lowland.text.levels import rate_of
from lowland.text.protection import vital

SAME = "the same label"
"""Expectation of an invariance."""


@dataclass(frozen=True)
class Case:
    """Case of a test.

    Attributes:
        item: name of the case, different in a suite.
        test: name of the test.
        kind: kind of the test.
        capability: capability that it tests.
        group: the template; cases of one template are alike.
        original: text before the change; "" for a minimum functionality, which has one text.
        text: text that the model must cope with.
        expected: expectation, for people.
        label: label whose probability is compared, or that must be predicted; "" for an invariance.
        must: "not fall" or "not rise" for a direction; "" else.
        tolerance: largest difference of the probabilities that passes.
        edits: number of damaged places.
    """

    item: str
    test: str
    kind: str
    capability: str
    group: str
    original: str
    text: str
    expected: str
    label: str = ""
    must: str = ""
    tolerance: float = 0.0
    edits: int = 0


def cases_of(suite: Suite, limit: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Return the cases of all tests, a row for each, with the fields of `Case` as columns.

    Args:
        suite: the tests.
        limit: largest number of cases of a test; None for the suite's own.
        seed: seed of the draw.

    Raises:
        Mistake: if a test has no case: a sentence for each.
    """
    most = min(suite.cases, limit or suite.cases)
    cases = {test.name: _cases_of_test(test, suite.slots, most, seed) for test in suite.tests}
    if empty := [name for name, drawn in cases.items() if not drawn]:
        raise Mistake(
            *(f"test '{name}' has no case: its change alters no text; give other templates" for name in empty)
        )
    return pd.DataFrame([vars(case) for drawn in cases.values() for case in drawn])


def _cases_of_test(test: AnyTest, slots: Slots, most: int, seed: int) -> list[Case]:
    """Draw the cases of a test, about equally many from each template."""
    choices = [_Choices(text, slots, _change_of(test)) for text in test.texts]
    cases: list[Case] = []
    shares = _shares(most, [each.count for each in choices])
    for number, (each, share) in enumerate(zip(choices, shares, strict=True), start=1):
        texts = each.draw(share, seed, test.name)
        for original, text, edits in dict.fromkeys(texts):
            item = f"{test.name} {len(cases) + 1}"
            cases.append(_case(test, item, f"{test.name} {number}", each.template, original, text, edits))
    return cases


def _change_of(test: AnyTest) -> Change | None:
    return test.change if isinstance(test, ChangeTest) else None


def _case(test: AnyTest, item: str, group: str, template: str, original: str, text: str, edits: int) -> Case:
    """Return a case with the expectation of its test."""
    about = (item, test.name, test.kind, test.capability, group)
    if isinstance(test, FunctionalityTest):
        label = next(label for label, texts in test.templates.items() if template in texts)
        return Case(*about, "", text, label, label)
    if isinstance(test, DirectionTest):
        expected = f"{test.label} must {test.must}"
        return Case(*about, original, text, expected, test.label, test.must, test.tolerance, edits)
    return Case(*about, original, text, SAME, edits=edits)


@dataclass(frozen=True)
class _Choices:
    """All texts that a template can become.

    Attributes:
        template: the template.
        slots: values of all slots.
        change: how the changed text is made from the original; None for a template without a changed text.
    """

    template: str
    slots: Slots
    change: Change | None

    @property
    def added(self) -> tuple[str, ...]:
        """The sentences of which one is added; without any, one that is empty."""
        return (self.change.append if self.change is not None else ()) or ("",)

    @property
    def pairs(self) -> Mapping[str, Sequence[Pair]]:
        """Pairs of values that the two texts can have in each slot."""
        names = dict.fromkeys(name for text in (self.template, *self.added) for name in slots_in(text))
        return {name: self._pairs_of(name) for name in names}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of choices of a sentence to add, and of each slot."""
        return (len(self.added), *map(len, self.pairs.values()))

    @property
    def count(self) -> int:
        """The number of combinations."""
        return math.prod(self.sizes)

    def draw(self, count: int, seed: int, test: str) -> list[tuple[str, str, int]]:
        """Return some of the combinations: original text, changed text and number of damaged places."""
        rng = stream(seed, "behaviour", test, self.template)
        numbers = np.sort(rng.choice(self.count, count, replace=False))
        drawn = []
        for place in zip(*np.unravel_index(numbers, self.sizes), strict=True):
            chosen = {
                name: pairs[int(index)]
                for (name, pairs), index in zip(self.pairs.items(), place[1:], strict=True)
            }
            before, after = ({name: pair[side] for name, pair in chosen.items()} for side in (0, 1))
            original = fill(self.template, before)
            changed = fill(f"{self.template} {self.added[int(place[0])]}".rstrip(), after)
            drawn.append(self._damaged(original, changed, seed))
        return [texts for texts in drawn if self.change is None or texts[0] != texts[1]]

    def _damaged(self, original: str, changed: str, seed: int) -> tuple[str, str, int]:
        """Return both texts, the changed text with the damage that is asked for, and the number of its edits."""
        if self.change is None or self.change.corrupt is None:
            return original, changed, 0
        rate = rate_of(self.change.level)
        corrupted = corrupt(
            changed,
            self.change.corrupt,
            rate,
            seed=stream_seed(seed, "behaviour", "corruption"),
            protect=vital(f" {changed}"),  # with the space, a name that begins the text counts, too
        )
        return original, corrupted.text, len(corrupted.edits)

    def _pairs_of(self, name: str) -> Sequence[Pair]:
        values = self.slots[name]
        if self.change is not None and name == self.change.slot:
            return self.change.pairs(values)
        return [(form, form) for forms in values for form in forms]


def _shares(total: int, sizes: Sequence[int]) -> list[int]:
    """Split a number into equal shares, each at most the size of its place.

    Examples:
        >>> _shares(10, [2, 9, 9])
        [2, 4, 4]
    """
    shares = [0] * len(sizes)
    while total and (open_places := [place for place, size in enumerate(sizes) if shares[place] < size]):
        for place in open_places[:total]:
            shares[place] += 1
        total -= len(open_places[:total])
    return shares
