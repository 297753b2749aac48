"""Monitor of a training: what the adapters learn, what it costs, and whether it is sound. docs/logging.md lists it.

It reads the model, and changes nothing: no random numbers are drawn, and autograd sees none of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from lowland.flat import FlatLoRA
from lowland.flat.arming import WRAPPERS
from lowland.lora import count_parameters
from lowland.lora.bases import gathered, quantised_by
from lowland.lora.spectrum import Factors, Spectrum, adapter_factors, spectra
from lowland.train.cost import peak_memory

ENTRIES = 10
"""Number of entries in a training, about, besides those at the end of each epoch."""
LAYERS_SHOWN = 48
"""Number of adapted layers above which trackers get means alone; the history has every layer."""
CHECKED = 3
"""Number of frozen weights whose bits are compared with those at the start."""

Values = dict[str, float]


class Monitor(TrainerCallback):
    """Callback that logs an entry at the end of each epoch, and about ten times in a training.

    Args:
        log: the Trainer's `log`, which sends an entry to the history and to the trackers.
        examples: number of training examples.
        noise: the callback of Flat-LoRA's noise, if there is one.
    """

    with_gradient: Values
    strength: Values
    noise_norms: Values

    def __init__(self, log: Callable[[Values], None], examples: int, noise: FlatLoRA | None = None) -> None:
        self.log, self.examples, self.noise = log, examples, noise

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Find the adapted layers, and note the bits of some frozen weights."""
        counts = count_parameters(model)
        self.counts = {
            "efficiency/trainable_parameters": float(counts.trainable),
            "efficiency/trainable_share": counts.share,
        }
        self.factors = {WRAPPERS.sub("", name): layer for name, layer in adapter_factors(model).items()}
        self.frozen = _some_frozen(list(self.factors.values()))
        self.bits = [_checksum(weight) for weight in self.frozen]
        self.logged = state.global_step
        self._forget()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock; evaluation, between two epochs, is not counted."""
        self.since, self.since_step = time.perf_counter(), state.global_step

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at gradients and noise, which are gone at the step's end, if the step gets an entry."""
        if not _is_due(args, state, state.global_step + 1):
            return
        if self.factors:
            self.with_gradient = {"verification/with_gradient": _share_with_gradient(self.factors.values())}
        if self.noise is not None and self.noise.noise is not None:
            noise = self.noise.noise
            self.strength = {"noise/rho": noise.config.rho, "noise/sigma": noise.sigma(state.global_step)}
            self.noise_norms = {name: layer.noise_norm() for name, layer in noise.layers.items()}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Log an entry behind that of the loss, if one is due."""
        if "loss" in (logs or {}) and _is_due(args, state, state.global_step):
            self._enter(args, state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log an entry."""
        self._enter(args, state)

    def _forget(self) -> None:
        """Forget what was seen within a step."""
        self.with_gradient, self.strength, self.noise_norms = {}, {}, {}

    def _enter(self, args: Any, state: Any) -> None:
        """Log an entry, unless this step has one."""
        if self.logged == state.global_step:
            return
        seconds = time.perf_counter() - self.since
        layers = spectra(self.factors)
        by_layer = {
            name: value for layer, spectrum in layers.items() for name, value in _named(layer, spectrum)
        }
        values = {
            **self._efficiency(args, state, seconds),
            **_training_efficiency(state, _seen(args, state, self.examples)),
            **_means(list(layers.values())),
            **self._verification(),
            **self._noise(layers),
        }
        if len(layers) <= LAYERS_SHOWN:
            self.log({**values, **by_layer})
        else:
            self.log(values)
            state.log_history[-1] |= by_layer
        self._forget()
        self.logged = state.global_step
        self.since, self.since_step = time.perf_counter(), state.global_step

    def _efficiency(self, args: Any, state: Any, seconds: float) -> Values:
        """Return what the training costs; `seconds` are those since the last entry of this epoch."""
        steps = state.global_step - self.since_step
        return {
            **self.counts,
            "efficiency/seconds_per_step": seconds / max(steps, 1),
            "efficiency/examples_per_second": steps * _batch(args) / seconds,
            "efficiency/peak_bytes": float(peak_memory()),
        }

    def _verification(self) -> Values:
        """Return whether all adapters learn, and whether frozen weights are as they were."""
        if not self.factors:
            return {}
        pairs = zip(self.frozen, self.bits, strict=True)
        changed = sum(_checksum(weight) != bits for weight, bits in pairs)
        return {**self.with_gradient, "verification/frozen_weights_changed": float(changed)}

    def _noise(self, layers: Mapping[str, Spectrum]) -> Values:
        """Return how strong the noise of this step was."""
        if not self.noise_norms:
            return {}
        added = {name: layer.singular_values for name, layer in layers.items()}
        ratios = [
            norm / size
            for name, norm in self.noise_norms.items()
            if (size := sum(value**2 for value in added.get(name, ())) ** 0.5) > 0
        ]
        to_adapter = {"noise/to_adapter": fmean(ratios)} if ratios else {}
        return {**self.strength, "noise/mean_norm": fmean(self.noise_norms.values()), **to_adapter}


def _is_due(args: Any, state: Any, step: int) -> bool:
    """Return whether an optimizer step gets an entry: the last of an epoch, and every k-th of those with a loss."""
    every = int(args.logging_steps) * max(1, round(state.max_steps / args.logging_steps / ENTRIES))
    return step % _steps_in_epoch(args, state) == 0 or step % every == 0


def _steps_in_epoch(args: Any, state: Any) -> int:
    return max(1, int(state.max_steps) // int(args.num_train_epochs))


def _batch(args: Any) -> int:
    """Return the number of examples in an optimizer step."""
    return int(args.train_batch_size * args.gradient_accumulation_steps * args.world_size)


def _seen(args: Any, state: Any, examples: int) -> int:
    """Return the number of examples seen so far; the last batch of an epoch may be smaller than the others."""
    epochs, steps = divmod(int(state.global_step), _steps_in_epoch(args, state))
    return epochs * examples + steps * _batch(args)


def _training_efficiency(state: Any, seen: int) -> Values:
    """Return the examples seen, and the loss, gradient norm and learning rate that were logged last."""
    names = {"loss": "loss", "grad_norm": "gradient_norm", "learning_rate": "learning_rate"}
    last: Mapping[str, float] = next((entry for entry in reversed(state.log_history) if "loss" in entry), {})
    logged = {f"training_efficiency/{names[name]}": last[name] for name in names if name in last}
    return {"training_efficiency/examples_seen": float(seen), **logged}


def _named(layer: str, spectrum: Spectrum) -> list[tuple[str, float]]:
    """Return the values of one layer, or of their means, by name."""
    values = spectrum.singular_values
    return [
        (f"lora_adapters/{layer}/norm_a", spectrum.norm_a),
        (f"lora_adapters/{layer}/norm_b", spectrum.norm_b),
        (f"lora_adapters/{layer}/norm_ba", spectrum.norm_ba),
        (f"lora_rank/{layer}/effective_rank", spectrum.effective_rank),
        (f"lora_rank/{layer}/singular_values/largest", values[0]),
        (f"lora_rank/{layer}/singular_values/mean", fmean(values)),
        (f"lora_rank/{layer}/singular_values/smallest", values[-1]),
    ]


def _means(layers: Sequence[Spectrum]) -> Values:
    """Return the means of all values over the layers."""
    rows = [_named("mean", spectrum) for spectrum in layers]
    return {column[0][0]: fmean(value for _, value in column) for column in zip(*rows, strict=True)}


def _share_with_gradient(layers: Collection[Factors]) -> float:
    """Return the share of the factors A and B whose gradient is finite and not zero."""
    gradients = [factor.grad for layer in layers for factor in (layer.a, layer.b) if factor.grad is not None]
    norms = torch.stack([gathered(gradient).norm().float() for gradient in gradients]) if gradients else None
    alive = 0 if norms is None else int((norms.isfinite() & (norms > 0)).sum())
    return alive / (2 * len(layers))


def _some_frozen(layers: Sequence[Factors]) -> list[Tensor]:
    """Return the frozen weights of the first, the middle and the last adapted layer."""
    places = dict.fromkeys(round(part * (len(layers) - 1) / (CHECKED - 1)) for part in range(CHECKED))
    weights = [layers[place].base.weight for place in places] if layers else []
    return [weight for weight in weights if isinstance(weight, Tensor) and quantised_by(weight) != "torchao"]


def _checksum(weight: Tensor) -> int:
    """Return the sum of a weight's bits, read as whole numbers: a changed entry changes it."""
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = gathered(weight.detach()).contiguous().view(whole[weight.itemsize])
    return int(bits.sum(dtype=torch.int64))
