"""Methods in a recipe: which value of a setting applies, labels, and the conversion back to a recipe."""

from __future__ import annotations

import pytest

from lowland.ground.mistakes import Mistake
from lowland.train.choice import MethodChoice
from lowland.train.methods import method_named
from lowland.train.settings import Settings
from lowland.train.table import METHODS

OWN_DEFAULTS = [
    (method, name, value) for method in METHODS for name, value in method_named(method).defaults.items()
]


def test_at_least_one_method_has_its_own_default() -> None:
    assert OWN_DEFAULTS  # otherwise the next test would be empty


@pytest.mark.parametrize(("method", "name", "default"), OWN_DEFAULTS)
def test_own_settings_override_the_methods_defaults_and_those_override_the_base(
    method: str, name: str, default: float
) -> None:
    base = Settings(**{name: 7 * default})
    assert getattr(MethodChoice.choose(method, base).settings, name) == default
    assert getattr(MethodChoice.choose(method, base, {name: 3 * default}).settings, name) == 3 * default
    assert getattr(MethodChoice.choose("lora", base).settings, name) == 7 * default


def test_a_choice_records_the_settings_that_its_method_uses_and_no_other() -> None:
    for method in METHODS:
        used = set(method_named(method).uses)
        assert set(MethodChoice.choose(method, Settings()).as_dict()) == {"name", "label", *used}


@pytest.mark.parametrize(
    ("own", "label"), [({}, None), ({"rank": 32}, None), ({"rank": 32, "alpha": 64.0}, "wide"), ({}, "other")]
)
def test_its_entry_in_a_recipe_leads_back_to_it(own: dict[str, float], label: str | None) -> None:
    choice = MethodChoice.choose("lora", Settings(), own, label)
    entry = choice.as_recipe()
    name, fields = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    label = fields.pop("label", None)
    assert MethodChoice.choose(name, Settings(), fields, label) == choice


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(Mistake) as caught:
        MethodChoice.choose("full", Settings(), {"rank": 4, "lr": -1.0})
    assert len(caught.value.problems) == 2
    assert "rank" in caught.value.problems[0]
    assert "lr" in caught.value.problems[1]


@pytest.mark.parametrize("label", [".hidden", "a/b", "a b", ""])
def test_a_label_that_cannot_name_a_folder_is_refused(label: str) -> None:
    with pytest.raises(Mistake):
        MethodChoice.choose("lora", Settings(), label=label)
