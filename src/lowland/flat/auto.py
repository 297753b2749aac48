"""How strong may the noise be? rho="auto" measures it: ours, not the paper's.

Before the first step the loss is measured at growing strengths sigma, and rho is the largest that lifts it by no more
than a stated share. What is measured is a start, and rho is a strength at the end: here the adapter has learned
nothing yet; in training its loss falls while the noise grows (unless the schedule says otherwise). So it finds an
order of magnitude, which differs from model to model, and is no substitute for validation.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import IterableDataset

from lowland.flat.arm import Noise
from lowland.flat.checks import check
from lowland.flat.config import FlatConfig
from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream, untouched_generators

LADDER = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
BATCHES = 8
"""Batches that the callback measures on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutoRho:
    """What `auto_rho` found.

    Attributes:
        rho: the largest strength of the ladder before the first that lifts the loss by more than was allowed.
        losses: expected loss at each strength of the ladder, up to the first that was too much.
        ladder: the strengths that were to be tried.
        base: the loss without noise.
    """

    rho: float
    losses: tuple[float, ...]
    ladder: tuple[float, ...]
    base: float


def expected_losses(
    model: nn.Module,
    batches: Iterable[Any],
    sigmas: Sequence[float],
    *,
    seed: int = 0,
    draws: int = 2,
    **options: Any,
) -> list[float]:
    """E[L(W' + eps)] at each sigma: the mean loss over batches and draws of the noise, in evaluation mode.

    Dropout is off, no parameter, buffer, mode or gradient changes, no global generator moves, and the model is left
    unarmed. Under data parallelism it is the mean over the processes, too. The batches are run at each sigma, and
    kept: give few.

    Args:
        model: with adapters, not armed.
        batches: what the model takes, by name or in order, with labels: it has to answer with its loss.
        sigmas: strengths of the noise; 0 is the loss without.
        seed: of the noise, which is the same for all sigmas but for its size.
        draws: of the noise, each for all the batches.
        **options: of `FlatConfig` that say where the noise is: layers, vectors, noise.

    Raises:
        Mistake: if the model cannot be armed, answers with no loss, or there is no batch.
    """
    if draws < 1:
        raise Mistake(f"draws is {draws}; it must be at least 1")
    with untouched_generators():
        batches = list(batches)
    if not batches:
        raise Mistake("there is no batch to measure the loss on; give at least one")
    return [_expected_loss(model, batches, sigma, seed, draws, options) for sigma in sigmas]


def auto_rho(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    share: float = 0.1,
    ladder: Sequence[float] = LADDER,
    seed: int = 0,
    draws: int = 2,
    **options: Any,
) -> AutoRho:
    """The largest sigma of a ladder whose expected rise of the loss is at most a share of the loss without noise.

    rho = max{sigma : E[L(W' + eps)] - L(W') <= share · L(W')}, from small to large, up to the first that is too much.

    Args:
        model: as in `expected_losses`; so are batches, seed, draws and options.
        batches: held out, or not learned from yet.
        share: the rise that is allowed, of the loss.
        ladder: strengths to try, rising.
        seed: of the noise.
        draws: of the noise.
        **options: of `FlatConfig`.

    Raises:
        Mistake: if even the smallest strength is too much, the loss is not a positive number, or a value is out of
            its range.

    Example:
        >>> found = auto_rho(model, batches)
        >>> noise = arm(model, rho=found.rho, total_steps=1000)
    """
    check_share(share)
    ladder = tuple(ladder)
    if not ladder or ladder[0] <= 0 or any(a >= b for a, b in itertools.pairwise(ladder)):
        raise Mistake(f"the ladder is {list(ladder)}; it must be strengths above 0, from small to large")
    with untouched_generators():
        batches = list(batches)
    asked: dict[str, Any] = {"seed": seed, "draws": draws, **options}
    (base,) = expected_losses(model, batches, [0.0], **asked)
    if not 0 < base < math.inf:
        raise Mistake(f"the loss without noise is {base:g}; a share of it says nothing, so give rho a number")
    losses: list[float] = []
    for sigma in ladder:
        losses += expected_losses(model, batches, [sigma], **asked)
        if not losses[-1] - base <= share * base:  # so that a loss that is not a number ends it, too
            break
    else:
        return AutoRho(ladder[-1], tuple(losses), ladder, base)
    if len(losses) == 1:
        raise Mistake(
            f"even the smallest noise, {ladder[0]:g}, moves the loss from {base:.4g} to {losses[0]:.4g}, by more than"
            f" the share {share:g}; allow a larger share, or give rho a number"
        )
    return AutoRho(ladder[len(losses) - 2], tuple(losses), ladder, base)


def check_share(share: float) -> None:
    """See that a share can be one.

    Raises:
        Mistake: if it is not a positive number.
    """
    if not isinstance(share, int | float) or not 0 < share < math.inf:
        raise Mistake(f"share is {share}; it must be a number above 0 (0.1: the loss may rise by a tenth)")


def rho_of_training(
    model: nn.Module,
    args: Any,
    state: Any,
    loader: Any,
    *,
    share: float,
    seed: int,
    options: Mapping[str, Any],
) -> AutoRho:
    """What a Trainer's run with rho="auto" takes: what it found before it was stopped; else a measurement.

    Measured on the training data, of which nothing is learned yet: a Trainer hands its callbacks no evaluation data
    at the beginning, and those of an earlier evaluation may have been the test set. It is told once (INFO), and noted
    in the Trainer's log history, with which it is saved.

    Args:
        model: the Trainer's.
        args: the Trainer's.
        state: the Trainer's; its log history gets an entry with "flat_rho".
        loader: the Trainer's loader of the training data.
        share: as in `auto_rho`.
        seed: of the noise, and of the choice of examples.
        options: of `FlatConfig`.
    """
    before = [entry for entry in state.log_history if "flat_rho" in entry]
    if before and state.global_step:
        return AutoRho(before[-1]["flat_rho"], (), LADDER, before[-1]["flat_loss_without_noise"])
    found = auto_rho(model, examples(loader, args, BATCHES, seed), share=share, seed=seed, **where(options))
    state.log_history.append(
        {"flat_rho": found.rho, "flat_loss_without_noise": found.base, "step": state.global_step}
    )
    logger.info(
        "rho is %g, the strongest noise that lifts the loss by at most %g of it (loss by strength: %s; 0: %.4g)",
        found.rho,
        share,
        ", ".join(f"{a:g}: {b:.4g}" for a, b in zip(found.ladder, found.losses, strict=False)),
        found.base,
    )
    return found


def what_it_does(
    model: nn.Module, args: Any, loader: Any, rho: float, *, seed: int, options: Mapping[str, Any]
) -> str:
    """Part of a warning: the loss of one batch of a Trainer's, without and with noise; "" where it cannot be told."""
    try:
        batches = examples(loader, args, 1, seed)
        without, with_it = expected_losses(model, batches, [0.0, rho], seed=seed, **where(options))
    except Mistake:
        return ""
    return f" (it moves the loss of a first batch from {without:.4g} to {with_it:.4g})"


def where(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `FlatConfig`'s options that say where the noise is."""
    return {name: one for name, one in options.items() if name in ("layers", "vectors", "noise")}


def examples(loader: Any, args: Any, count: int, seed: int) -> list[Any]:
    """Up to `count` batches of a Trainer's data, on its device, chosen at random; the loader is not iterated.

    Raises:
        Mistake: if the data are a stream, from which reading would take.
    """
    data: Any = getattr(loader, "dataset", None)
    if isinstance(data, IterableDataset) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise Mistake(
            'rho="auto" needs training data that can be read at any place, and this is a stream; measure with'
            " lowland.flat.auto_rho(model, batches), and give rho the number"
        )
    size = args.per_device_train_batch_size
    chosen = stream(seed, "auto").permutation(len(data))[: count * size].tolist()
    with untouched_generators():
        rows = [data[place] for place in chosen]
        batches = [loader.collate_fn(rows[start : start + size]) for start in range(0, len(rows), size)]
    from accelerate.utils import send_to_device  # type: ignore[import-untyped]

    return [send_to_device(batch, args.device) for batch in batches]


def _expected_loss(
    model: nn.Module, batches: Sequence[Any], sigma: float, seed: int, draws: int, options: Mapping[str, Any]
) -> float:
    config = FlatConfig(rho=sigma, schedule="constant", seed=seed, **options)
    check(model, config, None)
    losses = []
    with untouched_generators(), _evaluating(model), Noise(model, config, None) as noise, torch.no_grad():
        noise.gate.measures = True
        for draw in range(draws if sigma else 1):
            noise.begin_step(draw)
            losses += [_loss(model, batch).detach().double() for batch in batches]
        mean = torch.stack(losses).mean()
        if distributed.is_initialized():
            mean = mean.float()  # not every device has float64
            distributed.all_reduce(mean)
            mean /= distributed.get_world_size()
    return mean.item()


def _loss(model: nn.Module, batch: Any) -> Tensor:
    """The loss () that a model answers with."""
    try:
        answer = model(**batch) if isinstance(batch, Mapping) else model(*batch)
    except (TypeError, ValueError) as error:
        raise Mistake(
            f"the loss cannot be measured, since the model does not take what the batches hold ({error}); give rho a"
            " number"
        ) from error
    loss = (
        answer["loss"]
        if isinstance(answer, Mapping) and "loss" in answer
        else getattr(answer, "loss", answer)
    )
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise Mistake(
            "the model answers with no loss, which is to be measured; give batches with labels, or a rho"
        )
    return loss.reshape(())


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode; each one's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
