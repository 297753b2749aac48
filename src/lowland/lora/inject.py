"""Adapters into a model and out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lowland.lora.linear import Linear, LoRALinear
from lowland.mistakes import Mistake, one_of
from lowland.rng import stream_seed

ALL_LINEAR = "all-linear"
HEAD_NAMES = ("lm_head", "head", "score", "classifier", "classification_head", "qa_outputs")
"""What output heads are called in models that are not Hugging Face's; those say themselves which are theirs."""


@dataclass(frozen=True)
class LoRAConfig:
    """How to adapt a model.

    Attributes:
        r: rank; 8 and alpha 16 are common for classifiers of this size (Hu et al., 2021, section 7.2: 1 to 8 do).
        alpha: the branch is scaled by alpha / r.
        dropout: on the branch's input, in training.
        targets: "all-linear" (every linear layer but the output head), or one or several names or regular
            expressions: a layer is meant if its name is the entry, ends with "." and the entry, or matches it whole.
        rslora: scale by alpha / sqrt(r) instead.
        modules_to_save: names of modules that are trained in full beside the adapters, and saved with them: a new
            head.

    Raises:
        Mistake: if a value is out of its range.
    """

    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str | tuple[str, ...] | list[str] = ALL_LINEAR
    rslora: bool = False
    modules_to_save: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Hold every value against its range."""
        problems = []
        if not isinstance(self.r, int) or self.r < 1:
            problems.append(f"r is {self.r!r}; it must be a whole number of at least 1")
        if not self.alpha > 0:
            problems.append(f"alpha is {self.alpha!r}; it must be above 0")
        if not 0 <= self.dropout < 1:
            problems.append(f"dropout is {self.dropout!r}; it must be in [0, 1)")
        if isinstance(self.modules_to_save, str):
            object.__setattr__(self, "modules_to_save", (self.modules_to_save,))
        if not self.targets:
            problems.append("targets is empty; name layers, or say 'all-linear'")
        if problems:
            raise Mistake(*problems)


def add_lora(model: nn.Module, config: LoRAConfig | None = None, *, seed: int = 0) -> nn.Module:
    """Put a `LoRALinear` around every layer that the config names, and freeze all else, in place.

    What trains afterwards: A and B of each layer, and the config's `modules_to_save`.

    Args:
        model: any module with `nn.Linear` or Hugging Face `Conv1D` layers, on any device.
        config: default `LoRAConfig()`.
        seed: A of a layer is a function of the seed and the layer's name, and the global generator stays as it is.

    Returns:
        The same model.

    Raises:
        Mistake: if nothing matches, the rank does not fit a layer, or the model has adapters already. The model is
            then left as it was.

    Example:
        >>> model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased")
        >>> add_lora(model, LoRAConfig(r=8, targets=["query", "value"], modules_to_save=("classifier",)))
    """
    config = config or LoRAConfig()
    if any(True for _ in lora_layers(model)):
        raise Mistake("the model has LoRA layers already; call remove_lora(model) first")
    names = _targets(model, config)
    for name in names:
        _check_rank(name, cast(Linear, model.get_submodule(name)), config.r)
    trained = [_named(model, name) for name in config.modules_to_save]

    model.requires_grad_(False)
    for name in names:
        base = cast(Linear, model.get_submodule(name))
        device = torch.device("cpu") if base.weight.is_meta else base.weight.device
        generator = torch.Generator(device).manual_seed(stream_seed(seed, "adapter", name))
        layer = LoRALinear(base, config.r, config.alpha, config.dropout, config.rslora, generator)
        model.set_submodule(name, layer.train(base.training))
    for module in trained:
        module.requires_grad_(True)
    model.lora_config = config  # type: ignore[assignment]
    return model


def remove_lora(model: nn.Module) -> nn.Module:
    """Take the adapters out again, in place: the base layers come back, bit for bit, and stay frozen.

    Raises:
        Mistake: if there are none, or they are merged (say which you want: `unmerge_lora` first, or
            `merge_lora(model, keep=False)`).
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise Mistake("the model has no LoRA layers to remove; add_lora(model, config) adds them")
    if any(layer.merged for layer in layers.values()):
        raise Mistake("the adapters are merged; call unmerge_lora(model) before remove_lora(model)")
    for name, layer in layers.items():
        model.set_submodule(name, layer.base)
    del model.lora_config
    return model


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """The adapted layers of a model, with their names."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


@dataclass(frozen=True)
class ParameterCount:
    """How many parameters a model has; a tied one counts once."""

    trainable: int
    total: int

    @property
    def share(self) -> float:
        """Trainable parameters as a share of all, in [0, 1]."""
        return self.trainable / self.total if self.total else 0.0


def config_of(model: nn.Module) -> LoRAConfig:
    """The config that `add_lora` adapted a model by."""
    return cast(LoRAConfig, model.lora_config)


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count a model's parameters: `.trainable`, `.total`, `.share`."""
    parameters = list(model.parameters())
    return ParameterCount(
        trainable=sum(one.numel() for one in parameters if one.requires_grad),
        total=sum(one.numel() for one in parameters),
    )


def find_head(model: nn.Module) -> tuple[str, ...]:
    """The names of the modules that make up the output head: what "all-linear" skips.

    In a Hugging Face model these are the children beside its backbone that hold parameters, and its output
    embeddings; in another model the children of a usual name (`HEAD_NAMES`).
    """
    children = dict(model.named_children())
    if not isinstance(model, PreTrainedModel):
        return tuple(name for name in children if name in HEAD_NAMES)
    if model.base_model is model:
        return ()
    beside = {
        name
        for name, child in children.items()
        if child is not model.base_model and any(True for _ in child.parameters())
    }
    output = model.get_output_embeddings()
    beside |= {name for name, child in model.named_modules() if output is not None and child is output}
    return tuple(sorted(beside))


def _targets(model: nn.Module, config: LoRAConfig) -> list[str]:
    linear = [name for name, module in model.named_modules() if _adaptable(module)]
    saved = config.modules_to_save  # trained in full: nothing to adapt
    linear = [name for name in linear if not any(f"{name}.".startswith(f"{top}.") for top in saved)]
    if not linear:
        raise Mistake(f"{type(model).__name__} has no linear layer to adapt")
    if config.targets in (ALL_LINEAR, (ALL_LINEAR,), [ALL_LINEAR]):
        head = find_head(model)
        names = [one for one in linear if not any(f"{one}.".startswith(f"{top}.") for top in head)]
        if not names:
            raise Mistake(f"all linear layers of {type(model).__name__} are its output head")
        return names
    wanted = (config.targets,) if isinstance(config.targets, str) else tuple(config.targets)
    endings = sorted({name.rsplit(".", 1)[-1] for name in linear})
    missed = [one for one in wanted if not any(_meant(name, one) for name in linear)]
    if missed:
        raise Mistake(*(one_of("target module", one, [ALL_LINEAR, *endings]) for one in missed))
    return [name for name in linear if any(_meant(name, one) for one in wanted)]


def _adaptable(module: nn.Module) -> bool:
    """A linear layer whose forward is called: `nn.MultiheadAttention` reads the weight of its own directly."""
    return isinstance(module, nn.Linear | Conv1D) and not isinstance(module, NonDynamicallyQuantizableLinear)


def _meant(name: str, target: str) -> bool:
    if name == target or name.endswith(f".{target}"):
        return True
    try:
        return re.fullmatch(target, name) is not None
    except re.error:
        return False


def _check_rank(name: str, base: Linear, r: int) -> None:
    smaller = min(base.weight.shape)
    if r > smaller:
        raise Mistake(
            f"rank {r} is larger than layer {name} ({' x '.join(map(str, base.weight.shape))});"
            f" it must be at most {smaller}"
        )


def _named(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        children = [child for child, _ in model.named_children()]
        raise Mistake(one_of("module to save", name, children)) from None
