"""Arming a model: which of its layers get noise, and a new draw for each optimizer step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed, nn

from lowland.flat.checks import check, perturbed
from lowland.flat.config import MICRO_BATCH, TOKEN, FlatConfig, warn_of_much_noise
from lowland.flat.layers import PerturbedLinear, arm_linear
from lowland.flat.perturbed import Gate, disarm_module
from lowland.flat.vectors import PerturbedNorm, arm_norms
from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed

WRAPPERS = re.compile(r"\b(module|_orig_mod|_checkpoint_wrapped_module|base_model\.model)\.")
"""What DDP, compilers, checkpointing and PEFT put into a layer's name; the noise goes by the name without."""


class Noise:
    """The noise of one training run; `arm` makes one.

    Call `begin_step(t)` before optimizer step t (its forward passes, one or several under accumulation, share the
    draw), `end_step()` after it, and `disarm()` at the end. It works as a context manager that disarms.

    Attributes:
        config: what was asked.
        layers: the armed layers, by the names that their noise goes by.
        norms: the armed norms, where vectors get noise, too.
        gate: says which forward passes have noise.
    """

    def __init__(self, model: nn.Module, config: FlatConfig, total_steps: int | None) -> None:
        self.config, self.total_steps = config, total_steps
        self.gate = gate = Gate()
        self._hooks = [
            model.register_forward_pre_hook(gate.enter),
            model.register_forward_hook(gate.leave, always_call=True),
        ]
        layers = unwrapped_names(perturbed(model, config.layers))
        self.layers: dict[str, PerturbedLinear] = {
            name: arm_linear(one, gate) for name, one in layers.items()
        }
        self.norms: dict[str, PerturbedNorm] = {}
        if config.vectors:
            self.norms = unwrapped_names(arm_norms(model, gate))

    def sigma(self, step: int, progress: float | None = None) -> float:
        """The noise's strength at optimizer step t of T: rho · schedule(t / T), or 0 in a step that has none.

        Args:
            step: t, counted from 0.
            progress: instead of t / T: the share of all tokens, say.

        Raises:
            Mistake: if the progress is not known and the schedule needs it.
        """
        if step % self.config.every:
            return 0.0
        if progress is None and self.total_steps is None:
            if self.config.schedule != "constant":
                raise Mistake(
                    "the noise's schedule needs the length of the training, which is not known; give total_steps, or a"
                    ' progress to begin_step (the share of all tokens, say), or take schedule="constant"'
                )
            progress = 0.0
        if progress is None:
            progress = step / (self.total_steps or 1)
        return self.config.rho * self.config.strength(progress)

    @torch.no_grad()
    def begin_step(self, step: int, micro: int = 0, *, progress: float | None = None) -> None:
        """Give each layer its noise of optimizer step `step`, counted from 0.

        With sigma 0 there is none at all, so that rho = 0 is LoRA to the bit.

        Args:
            step: t.
            micro: which micro-batch of the step begins, from 0; it matters with redraw="micro-batch" alone.
            progress: see `sigma`.
        """
        sigma, config = self.sigma(step, progress), self.config
        if sigma == 0:
            self.end_step()
            return
        draw: tuple[str | int, ...] = ("noise", step)
        if config.redraw == MICRO_BATCH:
            draw = (*draw, "micro-batch", micro)
        if config.per_rank and distributed.is_initialized():
            draw = (*draw, "rank", distributed.get_rank())
        for name, layer in self.layers.items():
            seed = stream_seed(config.seed, *draw, name)
            layer.draw(sigma, seed, token=config.noise == TOKEN, bias=config.vectors)
        for name, norm in self.norms.items():
            norm.draw(sigma, stream_seed(config.seed, *draw, name))

    def end_step(self) -> None:
        """Take the noise away until the next step begins."""
        for module in (*self.layers.values(), *self.norms.values()):
            module._noise = None
        for layer in self.layers.values():
            layer._bias_noise = None

    def disarm(self) -> None:
        """Turn the layers back into what they were."""
        for hook in self._hooks:
            hook.remove()
        for module in (*self.layers.values(), *self.norms.values()):
            disarm_module(module)
        self.layers, self.norms, self._hooks = {}, {}, []

    def __enter__(self) -> Noise:
        return self

    def __exit__(self, *error: object) -> None:
        self.disarm()


def unwrapped_names(modules: Mapping[str, Any]) -> dict[str, Any]:
    """Modules by their names without what wraps them; as they are, where two would become one."""
    short = {WRAPPERS.sub("", name): one for name, one in modules.items()}
    return short if len(short) == len(modules) else dict(modules)


def arm(model: nn.Module, *, total_steps: int | None = None, **options: Any) -> Noise:
    """Make a model's LoRA layers ready to train under noise.

    Args:
        model: one that `add_lora` or PEFT adapted (LoRA, rsLoRA, DoRA, PiSSA, OLoRA, VeRA, (IA)³).
        total_steps: optimizer steps of the whole run, T; may be left out where `begin_step` is told the progress,
            or the schedule is constant.
        **options: of `FlatConfig`: rho, schedule, every, layers, vectors, redraw, per_rank, noise, seed.

    Raises:
        Mistake: if there is no layer to perturb, one that cannot be, the model is armed or merged already, or a value
            is out of its range.

    Example:
        >>> with arm(model, rho=0.05, total_steps=len(batches)) as noise:
        ...     for step, batch in enumerate(batches):
        ...         noise.begin_step(step)
        ...         model(**batch).loss.backward()
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        ...         noise.end_step()
    """
    config = FlatConfig(**options)
    check(model, config, total_steps)
    warn_of_much_noise(config.rho)
    return Noise(model, config, total_steps)
