"""Arming a model: which of its layers get noise, and a new draw for each optimizer step."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TypeVar, Unpack

import torch
from torch import distributed, nn

from lowland.flat.checks import check_can_be_armed, layers_to_perturb
from lowland.flat.config import FlatConfig, FlatOptions, warn_of_much_noise
from lowland.flat.layers import arm_linear
from lowland.flat.linear import PerturbedLinear
from lowland.flat.perturbed import ArmedModel, ForwardPassGate
from lowland.flat.vectors import PerturbedNorm, arm_norms
from lowland.flat.watch import Watch
from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed

M = TypeVar("M", bound=nn.Module)

WRAPPERS = re.compile(r"\b(module|_orig_mod|_checkpoint_wrapped_module|base_model\.model)\.")
"""Parts that DDP, compilers, checkpointing and PEFT add to a layer's name; they do not enter the noise's seed."""


class Noise:
    """Noise of one training run; `arm` makes one.

    Call `begin_step(t)` before optimizer step t (all its forward passes under accumulation share the draw),
    `end_step()` after it, and `disarm()` after the last step. As a context manager it disarms the model at the end, and
    warns if the model was trained and no step was begun.

    Args:
        model: model that `check_can_be_armed` has checked; see `checked_noise`.
        config: config of the noise.
        total_steps: optimizer steps of the whole run, if known.
        in_every_pass: let noise act in evaluation, too, and without gradients.

    Attributes:
        config: config of the noise.
        layers: the armed layers, by the names that seed their noise.
        norms: the armed norms, with `vectors=True`.
    """

    def __init__(
        self, model: nn.Module, config: FlatConfig, total_steps: int | None, *, in_every_pass: bool = False
    ) -> None:
        self.config, self.total_steps = config, total_steps
        self._gate = gate = ForwardPassGate(always_open=in_every_pass)
        self._has_begun = False
        self._model: ArmedModel | None = ArmedModel.arm(model, gate)
        layers = without_wrappers(layers_to_perturb(model, config.layers, config.weights))
        self.layers: dict[str, PerturbedLinear] = {
            name: arm_linear(layer, gate) for name, layer in layers.items()
        }
        self.norms: dict[str, PerturbedNorm] = {}
        if config.vectors:
            self.norms = without_wrappers(arm_norms(model, gate))
        self._watch = Watch(model, config, self.layers)

    def sigma(self, step: int, progress: float | None = None) -> float:
        """Return the noise's strength at optimizer step t of T: rho · schedule(t / T), or 0 in a step without noise.

        Args:
            step: t, counted from 0.
            progress: in place of t / T, for instance the share of all tokens seen.

        Raises:
            Mistake: if a value is below 0, the step is not whole, the progress is unknown and the schedule needs it, or
                a user's schedule does not return a finite number of at least 0.
        """
        if int(step) != step:
            raise Mistake(f"the optimizer step is {step}; it must be a whole number")
        if step < 0 or (progress is not None and progress < 0):
            raise Mistake(f"optimizer step {step}, progress {progress}: neither may be below 0")
        if step % self.config.every:
            return 0.0
        if progress is None and self.total_steps is None:
            if self.config.schedule != "constant":
                raise Mistake(
                    "the noise's schedule needs the length of the training, which is not known; give total_steps, or"
                    ' give begin_step a progress (for instance the share of all tokens), or use schedule="constant"'
                )
            progress = 0.0
        if progress is None:
            progress = step / (self.total_steps or 1)
        return self.config.rho * self.config.strength(progress)

    @torch.no_grad()
    def begin_step(self, step: int, micro: int = 0, *, progress: float | None = None) -> None:
        """Draw the noise of an optimizer step in each layer.

        With sigma = 0 there is no noise at all, so that rho = 0 is LoRA to the bit.

        Args:
            step: t, counted from 0.
            micro: number of the micro-batch that begins, from 0; used only with redraw="micro-batch".
            progress: see `sigma`.

        Raises:
            Mistake: as `sigma`; or if a layer is too wide for the noise bank, or adapters, hooks or frozen weights have
                changed since arming, so that arming would refuse the model.
        """
        self._watch.look()
        self._has_begun = True
        sigma, config = self.sigma(step, progress), self.config
        if sigma == 0:
            self.end_step()
            return
        draw: tuple[str | int, ...] = ("noise", step)
        if config.redraw == "micro-batch":
            draw = (*draw, "micro-batch", micro)
        if config.per_rank and distributed.is_initialized():
            draw = (*draw, "rank", distributed.get_rank())
        for name, layer in self.layers.items():
            seed = stream_seed(config.seed, *draw, name)
            layer.draw(sigma, seed, token=config.noise == "token", bias=config.vectors)
        for name, norm in self.norms.items():
            norm.draw(sigma, stream_seed(config.seed, *draw, name))

    def end_step(self) -> None:
        """Drop the noise until the next step begins."""
        for module in (*self.layers.values(), *self.norms.values()):
            module.drop_noise()

    def disarm(self) -> None:
        """Restore the layers and norms as they were before arming."""
        for module in (*self.layers.values(), *self.norms.values()):
            module.disarm()
        if self._model is not None:
            self._model.disarm()
        self.layers, self.norms, self._model = {}, {}, None

    def __enter__(self) -> Noise:
        return self

    def __exit__(self, *error: object) -> None:
        self.disarm()
        if self._gate.has_trained and not self._has_begun and error[0] is None:
            warnings.warn(
                "the model was trained without noise: call noise.begin_step(t) before the forward passes of each"
                " optimizer step, and noise.end_step() after it",
                stacklevel=2,
            )


def without_wrappers(modules: Mapping[str, M]) -> dict[str, M]:
    """Return modules by their names without wrappers; with the full names if two modules would share one."""
    unwrapped = {WRAPPERS.sub("", name): module for name, module in modules.items()}
    return unwrapped if len(unwrapped) == len(modules) else dict(modules)


def checked_noise(
    model: nn.Module,
    config: FlatConfig,
    total_steps: int | None,
    *,
    effect: str = "",
    in_every_pass: bool = False,
) -> Noise:
    """Check that a model can be armed, warn if there is very much noise, and arm the model.

    Args:
        model: model with adapters.
        config: config of the noise.
        total_steps: optimizer steps of the whole run, if known.
        effect: effect of the noise on the loss, for the warning; see `warn_of_much_noise`.
        in_every_pass: let noise act in evaluation, too, and without gradients, to measure what it does: no warning.

    Raises:
        Mistake: if the model cannot be armed, with one sentence for each problem.
    """
    check_can_be_armed(model, config, total_steps)
    if not in_every_pass:
        warn_of_much_noise(config.rho, effect)
    return Noise(model, config, total_steps, in_every_pass=in_every_pass)


def arm(model: nn.Module, *, total_steps: int | None = None, **options: Unpack[FlatOptions]) -> Noise:
    """Arm a model: make its LoRA layers, or its trained linear layers, ready to train under noise.

    Args:
        model: model adapted by `add_lora` or PEFT (LoRA, rsLoRA, DoRA, PiSSA, OLoRA, VeRA, (IA)³), or trained in full.
        total_steps: optimizer steps of the whole run, T. Not needed if `begin_step` is given the progress or the
            schedule is constant.
        **options: fields of `FlatConfig`: rho, schedule, every, layers, vectors, redraw, per_rank, noise, weights,
            seed.

    Raises:
        Mistake: if the model has no layer to perturb or one that cannot be perturbed, is armed or merged already, or
            an option is out of its range.

    Examples:
        >>> with arm(model, rho=0.05, total_steps=len(batches)) as noise:
        ...     for step, batch in enumerate(batches):
        ...         noise.begin_step(step)
        ...         model(**batch).loss.backward()
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        ...         noise.end_step()
    """
    return checked_noise(model, FlatConfig(**options), total_steps)
