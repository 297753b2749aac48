"""PEFT's own adapters: DoRA, PiSSA and VeRA on the layers that lowland's LoRA would adapt, (IA)³ where PEFT puts it.

Each function wraps a model so that the adapters, the head and the modules that the checkpoint lacked are trained, and
all other parameters are frozen. PEFT draws from the global generator, which is seeded by the run's stream "adapter" and
restored afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed
from lowland.models.load import LoadedModel
from lowland.train.adapted import AdaptedModel
from lowland.train.peft_files import peft_state
from lowland.train.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from lowland.lora import LoRAConfig


def dora(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Wrap a model for DoRA: W' = m · (W + s·BA) / ‖W + s·BA‖, with m trained, too.

    Source: Liu et al., 2024, arXiv 2402.09353.

    Raises:
        Mistake: if a target or pattern matches no layer, a layer cannot be adapted or is an embedding, or a rank
            exceeds the size of its layer.
    """
    names = _target_names(loaded, settings.lora_config(loaded.trained_whole))
    return AdaptedModel(_wrap(loaded, seed, _peft_config(loaded, settings, names, use_dora=True)))


def pissa(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Wrap a model for PiSSA: s·BA starts as the principal rank-r part of W, and W is replaced by the residual.

    Source: Meng et al., 2024, arXiv 2404.02948.

    This is the one method that changes the base weight itself. What it learned is saved as the difference to its
    start: a plain LoRA of twice the rank that fits the unchanged base. So the rank is at most half of a layer's
    smaller side.

    Raises:
        Mistake: as `dora`; or if a rank is above half of a layer's smaller side.
    """
    config = settings.lora_config(loaded.trained_whole)
    names = _target_names(loaded, config)
    _check_rank_fits_twice(loaded, names, config)
    wrapped = _wrap(loaded, seed, _peft_config(loaded, settings, names, init_lora_weights="pissa"))
    if wrapped is loaded.model:
        return AdaptedModel(wrapped)
    start = {name: tensor.clone() for name, tensor in peft_state(wrapped).items() if ".lora_" in name}
    return AdaptedModel(wrapped, pissa_start=start)


def vera(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Wrap a model for VeRA: W' = W + diag(b) B diag(d) A, with one frozen random A and B for all layers.

    Source: Kopiczko et al., 2024, arXiv 2310.11454.

    It trains rank + out_features numbers for each layer, so its ranks are higher than LoRA's: 256 to 1024 in the paper.

    Raises:
        Mistake: if a target matches no layer, or a layer cannot be adapted or is an embedding.
    """
    from peft import VeraConfig

    from lowland.lora import LoRAConfig

    any_rank = LoRAConfig(r=1, targets=settings.targets, modules_to_save=tuple(loaded.trained_whole))
    names = _target_names(loaded, any_rank)  # VeRA's rank need not fit the layers
    config = VeraConfig(
        r=settings.rank,
        vera_dropout=settings.dropout,
        target_modules=names,
        modules_to_save=loaded.trained_whole,
        fan_in_fan_out=_holds_weights_transposed(loaded, names),
        projection_prng_key=stream_seed(seed, "adapter"),
    )
    return AdaptedModel(_wrap(loaded, seed, config))


def ia3(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Wrap a model for (IA)³: vectors that scale keys, values and the feed-forward.

    Source: Liu et al., 2022, arXiv 2205.05638.

    The layers are PEFT's choice for the architecture, because the method depends on what a layer does.

    Raises:
        Mistake: if PEFT knows no layers for this architecture.
    """
    from peft import IA3Config
    from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN

    model = loaded.model
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if kind not in KNOWN:
        raise Mistake(
            f"PEFT knows no layers for ia3 in a model of type {kind}; leave ia3 out, or take a model of one of"
            f" the types {', '.join(sorted(KNOWN))}"
        )
    names = [name for name, _ in model.named_modules() if name.endswith(tuple(KNOWN[kind]))]
    config = IA3Config(
        modules_to_save=loaded.trained_whole, fan_in_fan_out=_holds_weights_transposed(loaded, names)
    )
    return AdaptedModel(_wrap(loaded, seed, config))


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Suppress a FutureWarning: PEFT 0.21 uses a name that transformers 5.23 deprecates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def _wrap(loaded: LoadedModel, seed: int, config: Any) -> nn.Module:
    """Wrap a model with PEFT; return a model on the meta device unchanged, since only its config is checked."""
    import torch
    from peft import get_peft_model

    model: nn.Module = loaded.model
    if next(model.parameters()).is_meta:  # PiSSA and DoRA would look at the weights
        return model
    with torch.random.fork_rng(devices=[]), quiet_peft():
        torch.default_generator.manual_seed(stream_seed(seed, "adapter"))
        wrapped: nn.Module = get_peft_model(model, config)
    return wrapped


def _peft_config(loaded: LoadedModel, settings: Settings, names: Sequence[str], **variant: Any) -> Any:
    """Return PEFT's LoraConfig for these layers; `variant` says which kind of LoRA."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # PEFT takes any number
        lora_dropout=settings.dropout,
        target_modules=list(names),
        modules_to_save=loaded.trained_whole,
        rank_pattern=dict(settings.rank_pattern),
        alpha_pattern=dict(settings.alpha_pattern),
        fan_in_fan_out=_holds_weights_transposed(loaded, names),
        **variant,
    )


def _target_names(loaded: LoadedModel, config: LoRAConfig) -> list[str]:
    """Return the names of the layers that lowland's LoRA would adapt, and check them.

    PEFT itself ignores patterns that match nothing, and ranks that do not fit.
    """
    from torch import nn

    from lowland.lora.targets import check_config, check_layers, target_names

    model = loaded.model
    names = target_names(model, config)
    check_config(model, config, names)
    check_layers(model, config, names)
    if tables := [name for name in names if isinstance(model.get_submodule(name), nn.Embedding)]:
        raise Mistake(
            f"{tables[0]} is an embedding, which lora adapts and PEFT's rows do not; name linear layers"
        )
    return names


def _check_rank_fits_twice(loaded: LoadedModel, names: Sequence[str], config: LoRAConfig) -> None:
    """Check that a file of twice the rank fits the layers."""
    from lowland.lora.bases import shape_of

    for name in names:
        side, rank = min(shape_of(loaded.model.get_submodule(name))) // 2, config.rank_of(name)
        if rank > side:
            raise Mistake(
                f"rank {rank} is too large for pissa in layer {name}; it must be at most {side}, half the smaller side"
            )


def _holds_weights_transposed(loaded: LoadedModel, names: Sequence[str]) -> bool:
    """Return whether any of these layers is GPT-2's Conv1D, which stores its weight transposed."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(loaded.model.get_submodule(name), Conv1D) for name in names)
