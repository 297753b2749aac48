"""Watch over an armed model: what changes after arming is noticed at the next step."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from torch import nn

from lowland.flat.checks import layers_to_perturb, reason_without_noise
from lowland.flat.config import FlatConfig
from lowland.flat.linear import base_of
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake
from lowland.lora.bases import forward_is_replaced


class Watch:
    """Looks whether an armed model is still one that arming would accept.

    A look costs about a microsecond for each module; everything is checked again only if something has changed.

    Args:
        model: the armed model.
        config: config of the noise.
        layers: the armed layers, by name.
    """

    def __init__(self, model: nn.Module, config: FlatConfig, layers: Mapping[str, nn.Module]) -> None:
        self._model, self._config, self._layers = model, config, layers
        self._seen = self._state()

    def look(self) -> None:
        """Check the model again if it has changed since the last look.

        Raises:
            Mistake: if a layer was adapted after arming, cannot get noise any more, or is no longer in the model.
        """
        state = self._state()
        if state == self._seen:
            return
        if problems := self._problems():
            raise Mistake(f"{problems[0]}; disarm the model, and arm it when its adapters are complete")
        self._seen = state

    def _problems(self) -> list[str]:
        """Return a sentence for each layer that would train without noise, or whose noise could not be right."""
        present = set(self._model.modules())
        if gone := [name for name, layer in self._layers.items() if layer not in present]:
            return [
                f"{name} is no longer in the model, after merge_and_unload or unload perhaps" for name in gone
            ]
        problems = []
        for name, layer in layers_to_perturb(self._model, self._config.layers, self._config.weights).items():
            if not isinstance(layer, Perturbed):
                problems.append(f"{name} was adapted after the model was armed, and gets no noise")
            elif reason := reason_without_noise(self._model, name, layer):
                problems.append(f"{name} cannot get noise any more: {reason}")
            elif getattr(layer, "merged", False):
                problems.append(
                    f"{name} cannot get noise any more: its adapter is merged, and was not unmerged"
                )
        return problems

    def _state(self) -> Hashable:
        """Return what changes when adapters, hooks or trained weights are added, removed, activated or merged."""
        return tuple(map(id, self._model.modules())), tuple(map(_state_of, self._layers.values()))


def _state_of(layer: Any) -> Hashable:
    base = base_of(layer)
    hooks = (base._forward_pre_hooks, base._forward_hooks, base._backward_pre_hooks, base._backward_hooks)
    return (
        id(base),
        any(hooks),
        tuple(parameter.requires_grad for parameter in base.parameters(recurse=False)),
        getattr(layer, "merged", False),
        forward_is_replaced(base) or forward_is_replaced(layer),
        tuple(getattr(layer, "active_adapters", ())),
        len(getattr(layer, "lora_variant", ())),
    )
