"""PEFT's own adapters, on the layers that our LoRA would adapt: DoRA, PiSSA, VeRA; and (IA)³ where PEFT puts it.

Each function wraps a model for training: the adapters, the head, and what else the checkpoint lacked are trained.
PEFT draws from the global generator; it gets the run's stream "adapter", and the generator stays as it was.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed
from lowland.ground.spec import RunSpec

if TYPE_CHECKING:
    from torch import nn

ADAPTER = "default"
"""What PEFT calls the first adapter."""


def dora(model: nn.Module, spec: RunSpec) -> nn.Module:
    """DoRA (Liu et al., 2024, arXiv 2402.09353): W' = m · (W + s·BA) / ‖W + s·BA‖, with m trained, too.

    Raises:
        Mistake: if a target or pattern names no layer, or a rank does not fit its layer.
    """
    names = _targets(model, spec.options["targets"], **_ranks(spec))
    return _wrap(model, spec, _lora_config(model, spec, names, use_dora=True))


def pissa(model: nn.Module, spec: RunSpec) -> nn.Module:
    """PiSSA (Meng et al., 2024, arXiv 2404.02948): s·BA starts as the rank-r part of W, and **W as what remains**.

    The one method that changes the base weight itself. What it learned is saved as the difference to its start,
    a plain LoRA of twice the rank that fits the unchanged base; so the rank is at most half of a layer's smaller side.

    Raises:
        Mistake: as `dora`.
    """
    names = _targets(model, spec.options["targets"], **_ranks(spec))
    _check_half(model, names, **_ranks(spec))
    wrapped = _wrap(model, spec, _lora_config(model, spec, names, init_lora_weights="pissa"))
    if wrapped is not model:
        start = {name: tensor.clone() for name, tensor in _state(wrapped).items() if ".lora_" in name}
        wrapped.pissa_start = start  # type: ignore[assignment]
    return wrapped


def vera(model: nn.Module, spec: RunSpec) -> nn.Module:
    """VeRA (Kopiczko et al., 2024, arXiv 2310.11454): W' = W + diag(b) B diag(d) A, one frozen random A and B for all.

    It trains rank + out_features numbers a layer, so its ranks are higher than LoRA's: 256 to 1024 in the paper.

    Raises:
        Mistake: if a target names no layer.
    """
    from peft import VeraConfig

    names = _targets(model, spec.options["targets"], r=1)  # of any rank: it need not fit the layers
    config = VeraConfig(
        r=spec.options["rank"],
        vera_dropout=spec.options["dropout"],
        target_modules=names,
        modules_to_save=_trained_whole(model),
        fan_in_fan_out=_transposed(model, names),
        projection_prng_key=stream_seed(spec.seed, "adapter"),
    )
    return _wrap(model, spec, config)


def ia3(model: nn.Module, spec: RunSpec) -> nn.Module:
    """(IA)³ (Liu et al., 2022, arXiv 2205.05638): vectors that scale keys, values and the feed-forward.

    The layers are PEFT's for the architecture: the method is tied to what a layer does.

    Raises:
        Mistake: if PEFT knows none for this architecture.
    """
    from peft import IA3Config
    from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN

    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if kind not in KNOWN:
        raise Mistake(
            f"PEFT knows no layers for ia3 in a model of type {kind}; leave ia3 out, or take a model of one of"
            f" the types {', '.join(sorted(KNOWN))}"
        )
    names = [name for name, _ in model.named_modules() if name.endswith(tuple(KNOWN[kind]))]
    config = IA3Config(modules_to_save=_trained_whole(model), fan_in_fan_out=_transposed(model, names))
    return _wrap(model, spec, config)


def save_peft(model: Any, folder: Path, base_model: str) -> None:
    """Write a wrapped model's adapter, with the modules trained whole, so that `PeftModel.from_pretrained` reads it.

    Args:
        model: one that a function of this module wrapped.
        folder: where to; it is made.
        base_model: the base model's name, for the config.
    """
    config = model.peft_config[ADAPTER]
    config.base_model_name_or_path = base_model
    if hasattr(model, "pissa_start"):
        _save_difference(model, folder)
    else:
        model.save_pretrained(folder, save_embedding_layers=False)


def _save_difference(model: Any, folder: Path) -> None:
    """What PiSSA learned as plain LoRA on the first W: s(BA - B₀A₀) = s [B, -B₀] [A; A₀].

    PEFT's own conversion leaves the modules trained whole out of the file.
    """
    import torch
    from safetensors.torch import save_file

    state = _state(model)
    for name, start in model.pissa_start.items():
        down = ".lora_A" in name
        state[name] = torch.cat(
            [state[name], start if down else -start], dim=0 if down else 1
        )  # (2r, in), (out, 2r)
    config = copy.deepcopy(model.peft_config[ADAPTER])
    config.init_lora_weights, config.inference_mode = True, True
    config.r, config.lora_alpha = 2 * config.r, 2 * config.lora_alpha
    config.rank_pattern = {name: 2 * one for name, one in config.rank_pattern.items()}
    config.alpha_pattern = {name: 2 * one for name, one in config.alpha_pattern.items()}
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without a warning that no user can mend: PEFT 0.21 asks transformers 5.23 by an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def _wrap(model: nn.Module, spec: RunSpec, config: Any) -> nn.Module:
    import torch
    from peft import get_peft_model

    if next(
        model.parameters()
    ).is_meta:  # all is said that can be without weights, which PiSSA and DoRA look at
        return model
    with torch.random.fork_rng(devices=[]), quiet_peft():
        torch.default_generator.manual_seed(stream_seed(spec.seed, "adapter"))
        wrapped: nn.Module = get_peft_model(model, config)
    return wrapped


def _state(model: Any) -> dict[str, Any]:
    """What is saved, by PEFT's names."""
    from peft import get_peft_model_state_dict

    return dict(get_peft_model_state_dict(model, save_embedding_layers=False))


def _lora_config(model: nn.Module, spec: RunSpec, names: Sequence[str], **kind: Any) -> Any:
    from peft import LoraConfig

    asked = spec.options
    return LoraConfig(
        r=asked["rank"],
        lora_alpha=asked["alpha"],
        lora_dropout=asked["dropout"],
        target_modules=list(names),
        modules_to_save=_trained_whole(model),
        rank_pattern=dict(asked["rank_pattern"]),
        alpha_pattern=dict(asked["alpha_pattern"]),
        fan_in_fan_out=_transposed(model, names),
        **kind,
    )


def _ranks(spec: RunSpec) -> dict[str, Any]:
    """What was asked of ranks and alphas, as our `LoRAConfig` has it."""
    patterns = {name: dict(spec.options[name]) for name in ("rank_pattern", "alpha_pattern")}
    return {"r": spec.options["rank"], "alpha": spec.options["alpha"], **patterns}


def _targets(model: nn.Module, targets: Any, **ranks: Any) -> list[str]:
    """The layers that our LoRA would adapt; PEFT passes over patterns that name nothing and ranks that do not fit."""
    from torch import nn

    from lowland.lora import LoRAConfig
    from lowland.lora.targets import check_config, check_layers, target_names

    config = LoRAConfig(targets=targets, modules_to_save=tuple(_trained_whole(model)), **ranks)
    names = target_names(model, config)
    check_config(model, config, names)
    check_layers(model, config, names)
    if tables := [name for name in names if isinstance(model.get_submodule(name), nn.Embedding)]:
        raise Mistake(
            f"{tables[0]} is an embedding, which lora adapts and PEFT's rows do not; name linear layers"
        )
    return names


def _check_half(model: nn.Module, names: Sequence[str], **ranks: Any) -> None:
    """A file of twice the rank must fit the layers, too."""
    from lowland.lora import LoRAConfig
    from lowland.lora.bases import shape_of

    config = LoRAConfig(**ranks)
    for name in names:
        side, rank = min(shape_of(model.get_submodule(name))) // 2, config.rank_of(name)
        if rank > side:
            raise Mistake(
                f"rank {rank} is too large for pissa in layer {name}; it must be at most {side}, half the smaller side"
            )


def _trained_whole(model: nn.Module) -> list[str]:
    from lowland.lora import find_head

    return [*find_head(model), *getattr(model, "fresh_modules", ())]


def _transposed(model: nn.Module, names: Sequence[str]) -> bool:
    """Whether these layers are GPT-2's Conv1D, which hold their weights transposed; PEFT wants to be told."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(model.get_submodule(name), Conv1D) for name in names)
