"""The options of the noise, and the errors for values out of their range."""

from __future__ import annotations

import math
import warnings
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from lowland.flat import FlatConfig
from lowland.flat.config import FlatOptions, warn_of_much_noise
from lowland.flat.schedule import SCHEDULES, ScheduleName
from lowland.ground.mistakes import Mistake

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rho": -0.1}, "rho is -0.1; it must be at least 0"),
    ({"rho": math.nan}, "rho is nan; it must be finite"),
    ({"rho": math.inf}, "rho is inf; it must be finite"),
    ({"rho": "much"}, "rho is 'much'; it must be a number"),
    ({"rho": True}, "rho is True; it must be a number"),
    (
        {"schedule": "cosin"},
        "unknown schedule 'cosin'; did you mean 'cosine'? Allowed: cosine, linear, constant, a function",
    ),
    ({"every": 0}, "every is 0; it must be at least 1"),
    ({"every": 1.5}, "every is 1.5; it must be a whole number"),
    ({"redraw": "batch"}, "unknown redraw 'batch'; did you mean 'micro-batch'? Allowed: step, micro-batch"),
    ({"noise": "tokens"}, "unknown noise 'tokens'; did you mean 'token'? Allowed: weight, token"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG, ids=lambda value: str(value)[:24])
def test_a_value_out_of_its_range_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Mistake) as caught:
        FlatConfig(**options)
    assert caught.value.problems == (sentence,)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(Mistake) as caught:
        FlatConfig(rho=-1, schedule="x", every=0, redraw="x", noise="x")
    assert len(caught.value.problems) == 5


def test_the_defaults_are_the_papers() -> None:
    config = FlatConfig()
    assert (config.rho, config.schedule, config.every, config.redraw) == (0.05, "cosine", 1, "step")
    assert (config.layers, config.vectors, config.per_rank, config.noise) == (None, False, False, "weight")
    with pytest.raises(ValidationError, match="frozen"):
        config.rho = 1  # type: ignore[misc]


def test_layers_are_one_name_or_several() -> None:
    assert FlatConfig(layers="up").layers == FlatConfig(layers=["up"]).layers == ("up",)
    with pytest.raises(Mistake, match="layers holds 3"):
        FlatConfig(layers=["up", 3])


def test_the_types_of_the_options_name_every_field_and_every_schedule() -> None:
    assert set(FlatOptions.__annotations__) == set(FlatConfig.model_fields)
    assert get_args(ScheduleName) == tuple(SCHEDULES)


def test_the_strength_is_the_schedules_and_never_beyond_its_end() -> None:
    assert FlatConfig(schedule="linear").strength(0.3) == 0.3
    assert FlatConfig(schedule="linear").strength(1.7) == 1
    assert FlatConfig(schedule=lambda progress: 2 - progress).strength(0.5) == 1.5
    assert FlatConfig(schedule="cosine").strength(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, None, True])
def test_a_schedule_must_return_finite_numbers_from_0(value: Any) -> None:
    with pytest.raises(
        Mistake, match=rf"the schedule returned {value} at progress 0\.5; it must return finite numbers"
    ):
        FlatConfig(schedule=lambda progress: value).strength(0.5)


def test_more_noise_than_output_is_warned_of() -> None:
    with pytest.warns(
        UserWarning, match=r"rho is 1\.5: the noise .* than the output itself \(so\); usual values are"
    ):
        warn_of_much_noise(1.5, " (so)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_much_noise(1.0)
