"""Expected loss of a model under noise of given strengths, measured without changing the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

import torch
from torch import Tensor, distributed, nn

from lowland.flat.arming import checked_noise
from lowland.flat.config import DRAWS, FlatConfig, PlaceOptions, RhoSearch
from lowland.ground.mistakes import Mistake
from lowland.ground.rng import untouched_generators

Batch = Any
"""Inputs of one forward pass: keyword arguments in a mapping, or positional ones in a sequence."""


def expected_losses(
    model: nn.Module,
    batches: Iterable[Batch],
    sigmas: Sequence[float],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    **options: Unpack[PlaceOptions],
) -> list[float]:
    """Return E[L(W' + eps)] at each sigma: the mean loss over batches and draws of the noise, in evaluation mode.

    Dropout is off. No parameter, buffer, mode or gradient changes, the global random generators are restored, and the
    model is disarmed at the end. Under data parallelism the mean is over the processes, too. The batches are kept in
    memory and run at each sigma, so give few.

    Args:
        model: model with adapters, not armed.
        batches: inputs of the model with labels, by name or in order; the model must return its loss.
        sigmas: strengths of the noise; 0 gives the loss without noise.
        seed: seed of the noise, which differs between the sigmas only in its size.
        draws: number of draws of the noise, each used for all batches.
        **options: fields of `FlatConfig` that say where the noise acts: layers, vectors, noise.

    Raises:
        Mistake: if the model cannot be armed or returns no loss, or there is no batch.
    """
    draws = RhoSearch(draws=draws).draws
    with untouched_generators():
        batches = list(batches)
    if not batches:
        raise Mistake("there is no batch to measure the loss on; give at least one")
    configs = [FlatConfig(rho=sigma, schedule="constant", seed=seed, **options) for sigma in sigmas]
    return [_expected_loss(model, batches, config, draws) for config in configs]


def _expected_loss(model: nn.Module, batches: Sequence[Batch], config: FlatConfig, draws: int) -> float:
    losses = []
    with (
        untouched_generators(),
        _evaluation_mode(model),
        checked_noise(model, config, None, in_every_pass=True) as noise,
        torch.no_grad(),
    ):
        for draw in range(draws if config.rho else 1):
            noise.begin_step(draw)
            losses += [_loss(model, batch).detach().double() for batch in batches]
        mean = torch.stack(losses).mean()
        if distributed.is_initialized():
            mean = mean.float()  # not every device supports float64
            distributed.all_reduce(mean)
            mean /= distributed.get_world_size()
    return mean.item()


def _loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return the loss () that the model computes for a batch."""
    try:
        output = model(**batch) if isinstance(batch, Mapping) else model(*batch)
    except (TypeError, ValueError) as error:
        raise Mistake(
            f"the loss cannot be measured, because the model does not accept the batches ({error}); give rho a number"
        ) from error
    loss = (
        output["loss"]
        if isinstance(output, Mapping) and "loss" in output
        else getattr(output, "loss", output)
    )
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise Mistake(
            "the model returns no loss, so it cannot be measured; give batches with labels, or a rho"
        )
    return loss.reshape(())


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and restore each module's own mode at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
