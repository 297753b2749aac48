"""Rows of the table of methods, and of the table of prefixes that go in front of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from lowland.models.load import LoadedModel
from lowland.train.adapted import AdaptedModel, ParameterGroups
from lowland.train.parts import train_everything
from lowland.train.settings import TRAINING, Settings

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from transformers import TrainerCallback

BRANCH = ("rank", "alpha", "dropout", "targets", "rank_pattern", "alpha_pattern")
LORA = (*BRANCH, "rslora")
"""Settings of LoRA's branch, and of lowland's LoRA."""

Adapt = Callable[[LoadedModel, Settings, int], AdaptedModel]
Needs = Literal["network", "weights", "adapter"]
"""What a prefix changes: the training of any network; weights with an adapter or trained in full; or an adapter's."""


def one_rate(model: nn.Module, settings: Settings) -> ParameterGroups | None:
    """Leave the parameter groups to the Trainer: one learning rate for all."""
    return None


@dataclass(frozen=True)
class Method:
    """A row of the table of methods, or a row with prefixes in front.

    Attributes:
        name: name in recipes, and in a run's key.
        summary: one line for `lowland methods`.
        adapt: function that returns the model, changed in place or wrapped; only the parameters to train require
            gradients afterwards. On a model on the meta device it raises Mistake for what does not fit.
        prefixes: names of `PREFIXES`: noise, an ascent step, an average.
        parameter_groups: function that returns the optimizer's parameter groups; None leaves them to the Trainer.
        callback: function that returns the Trainer's callback of the row itself, for settings and a seed; a
            `MethodCallback` where the Trainer's own events do not suffice. None for a row without.
        optimizer: function that returns the optimizer for parameter groups that hold their weight decay; None for
            AdamW. Its learning rate is set by the schedule.
        options: settings that the method uses in addition to those of `TRAINING`.
        defaults: settings whose default differs for this method.
        clips_gradient: whether gradients of a norm above 1 are scaled down to 1 before an optimizer step.
        has_adapter: whether it adds an adapter, whose merged weight can take noise.
        trains_weights: whether it trains all weights themselves.
        counts_words: whether it is the bag of words, which trains no network and ignores the model.
    """

    name: str
    summary: str
    adapt: Adapt = train_everything
    prefixes: tuple[str, ...] = ()
    parameter_groups: Callable[[nn.Module, Settings], ParameterGroups | None] = one_rate
    callback: Callable[[Settings, int], TrainerCallback] | None = None
    optimizer: Callable[[ParameterGroups, Settings], Optimizer] | None = None
    options: tuple[str, ...] = ()
    defaults: Mapping[str, float] = field(default_factory=dict)
    clips_gradient: bool = True
    has_adapter: bool = True
    trains_weights: bool = False
    counts_words: bool = False

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of all settings that the method uses."""
        return self.options if self.counts_words else (*TRAINING, *self.options)


@dataclass(frozen=True)
class Prefix:
    """A row of the table of prefixes: noise, an ascent step or an average, in front of a method.

    Attributes:
        name: prefix of a composed name, as in `flat+dora`.
        summary: one line for `lowland methods`.
        callback: function that returns the Trainer's callback that does it, for a method, settings and a seed; a
            `MethodCallback` where the Trainer's own events do not suffice.
        options: settings that it uses.
        needs: what it changes, and so which methods it can stand in front of.
        excludes: names of prefixes and rows that it cannot be combined with.
        needs_one_process: whether several processes cannot train one run together under it.
        needs_eager: whether it does not work with torch.compile.
    """

    name: str
    summary: str
    callback: Callable[[Method, Settings, int], TrainerCallback]
    options: tuple[str, ...]
    needs: Needs = "network"
    excludes: tuple[str, ...] = ()
    needs_one_process: bool = False
    needs_eager: bool = False
