"""rho="auto": a measurement of how strong the noise may be. It is lowland's own, and not part of the paper.

Before the first step the loss is measured at growing strengths sigma. rho is the largest sigma that raises the loss by
no more than a given share. The measurement is made at the start, but rho is the strength at the end: the adapter has
learned nothing yet, and in training the loss falls while the noise grows (unless the schedule says otherwise). So the
measurement finds an order of magnitude, which differs from model to model. It does not replace validation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from transformers import TrainerState, TrainingArguments

from lowland.flat.config import DRAWS, LADDER, SHARE, FlatConfig, PlaceOptions, RhoSearch
from lowland.flat.losses import Batch, expected_losses
from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream, untouched_generators

BATCHES = 8
"""Number of batches that the callback measures on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutoRho:
    """Result of `auto_rho`.

    Attributes:
        rho: the largest strength of the ladder before the first that raises the loss by more than allowed.
        losses: expected loss at each strength of the ladder, up to the first that was too strong; empty for a resumed
            run, whose log has only `rho` and `base`.
        ladder: the strengths to try; for a resumed run the default ones.
        base: the loss without noise.
    """

    rho: float
    losses: tuple[float, ...]
    ladder: tuple[float, ...]
    base: float


def auto_rho(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    share: float = SHARE,
    ladder: Sequence[float] = LADDER,
    seed: int = 0,
    draws: int = DRAWS,
    **options: Unpack[PlaceOptions],
) -> AutoRho:
    """Find the largest sigma of a ladder that raises the expected loss by at most a share of the loss without noise.

    rho = max{sigma : E[L(W' + eps)] - L(W') <= share · L(W')}, tried from small to large, up to the first sigma that is
    too strong.

    Args:
        model: model with adapters, not armed; see `expected_losses`.
        batches: batches that are held out, or not yet trained on; see `expected_losses`.
        share: allowed rise of the loss, as a share of the loss without noise.
        ladder: strengths to try, from small to large.
        seed: seed of the noise.
        draws: number of draws of the noise, each used for all batches.
        **options: fields of `FlatConfig` that say where the noise acts: layers, vectors, noise.

    Raises:
        Mistake: if even the smallest strength is too strong, the loss is not a positive number, or a value is out of
            its range.

    Examples:
        >>> result = auto_rho(model, batches)
        >>> noise = arm(model, rho=result.rho, total_steps=1000)
    """
    search = RhoSearch(share=share, ladder=tuple(ladder), draws=draws)
    with untouched_generators():
        batches = list(batches)

    def loss_at(sigma: float) -> float:
        (loss,) = expected_losses(model, batches, [sigma], seed=seed, draws=search.draws, **options)
        return loss

    base = loss_at(0.0)
    if not 0 < base < math.inf:
        raise Mistake(
            f'the loss without noise is {base:g}; rho="auto" needs a finite loss above 0; set rho to a number'
        )
    losses: list[float] = []
    for sigma in search.ladder:
        losses.append(loss_at(sigma))
        if not losses[-1] - base <= search.share * base:  # so that a NaN loss ends the search, too
            break
    else:
        return AutoRho(search.ladder[-1], tuple(losses), search.ladder, base)
    if len(losses) == 1:
        raise Mistake(
            f"even the smallest noise, {search.ladder[0]:g}, changes the loss from {base:.4g} to {losses[0]:.4g}, by"
            f" more than the share {share:g}; allow a larger share, or give rho a number"
        )
    return AutoRho(search.ladder[len(losses) - 2], tuple(losses), search.ladder, base)


def auto_rho_of_training(
    model: nn.Module,
    args: TrainingArguments,
    state: TrainerState,
    loader: DataLoader[Any] | None,
    config: FlatConfig,
    share: float,
) -> AutoRho:
    """Return the result for a Trainer's run with rho="auto": read from the run's log if it is resumed, else measured.

    The loss is measured on training data, none of which has been trained on yet. A Trainer gives its callbacks no
    evaluation data when training begins, and those of an earlier evaluation may have been the test set. The result is
    logged (INFO) and added to the Trainer's log history, which is saved with checkpoints.

    Args:
        model: the Trainer's model.
        args: the Trainer's arguments.
        state: the Trainer's state; its log history gets an entry with "flat_rho".
        loader: the Trainer's loader of the training data.
        config: config of the noise; its seed determines the noise and the examples.
        share: see `auto_rho`.

    Raises:
        Mistake: as `auto_rho`, or if the training data cannot be read by index.
    """
    before = [entry for entry in state.log_history if "flat_rho" in entry]
    if before and state.global_step:
        return AutoRho(before[-1]["flat_rho"], (), LADDER, before[-1]["flat_loss_without_noise"])
    batches = sample_batches(loader, args, BATCHES, config.seed)
    result = auto_rho(model, batches, share=share, seed=config.seed, **_place_of(config))
    state.log_history.append(
        {"flat_rho": result.rho, "flat_loss_without_noise": result.base, "step": state.global_step}
    )
    logger.info(
        "rho is %g, the strongest noise that raises the loss by at most %g of it (loss by strength: %s; 0: %.4g)",
        result.rho,
        share,
        ", ".join(f"{a:g}: {b:.4g}" for a, b in zip(result.ladder, result.losses, strict=False)),
        result.base,
    )
    return result


def effect_on_loss(
    model: nn.Module, args: TrainingArguments, loader: DataLoader[Any] | None, config: FlatConfig
) -> str:
    """Return the loss of one batch without and with noise, as part of a warning; "" if it cannot be measured."""
    try:
        batches = sample_batches(loader, args, 1, config.seed)
        without, with_noise = expected_losses(
            model, batches, [0.0, config.rho], seed=config.seed, **_place_of(config)
        )
    except Mistake:
        return ""
    return f" (it changes the loss of a first batch from {without:.4g} to {with_noise:.4g})"


def sample_batches(
    loader: DataLoader[Any] | None, args: TrainingArguments, count: int, seed: int
) -> list[Batch]:
    """Return up to `count` batches of random training examples, on the Trainer's device.

    The loader is not iterated: examples are read from its data set by index.

    Raises:
        Mistake: if the data set is a stream, which cannot be read by index.
    """
    data: Any = getattr(loader, "dataset", None)
    if (
        loader is None
        or isinstance(data, IterableDataset)
        or not (hasattr(data, "__len__") and hasattr(data, "__getitem__"))
    ):
        raise Mistake(
            'rho="auto" needs training data that can be read by index, and these data are a stream; measure with'
            " lowland.flat.auto_rho(model, batches), and give rho the number"
        )
    size = args.per_device_train_batch_size
    indices = stream(seed, "auto").permutation(len(data))[: count * size].tolist()
    with untouched_generators():
        rows = [data[index] for index in indices]
        batches = [loader.collate_fn(rows[start : start + size]) for start in range(0, len(rows), size)]
    from accelerate.utils import send_to_device

    return [send_to_device(batch, args.device) for batch in batches]


def _place_of(config: FlatConfig) -> PlaceOptions:
    return {
        "layers": config.layers,
        "vectors": config.vectors,
        "noise": config.noise,
        "weights": config.weights,
    }
