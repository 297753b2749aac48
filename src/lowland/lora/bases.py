"""Layers that can be adapted, and access to the full weight of each kind.

A quantised layer is recognised by the type of its weight, so that no quantisation package is imported before one is
needed. Supported are bitsandbytes' `Linear4bit` and `Linear8bitLt`, and `nn.Linear` with a weight of torchao.
"""

from __future__ import annotations

import importlib
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.pytorch_utils import Conv1D

from lowland.ground.mistakes import reason_of

Linear = nn.Linear | Conv1D
"""Linear layers. Conv1D is that of GPT-2; it stores its weight transposed, (in_features, out_features)."""
Adaptable = Linear | nn.Embedding
"""Layers that can be adapted."""
READABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Data types of unquantised weights."""


def quantised_by(weight: Tensor) -> str | None:
    """Return what quantised a weight: "4bit" or "8bit" of bitsandbytes, "torchao", or None if nothing did."""
    kind = type(weight)
    if kind in (nn.Parameter, Tensor):  # checked first, since torch.compile cannot trace module names
        return None
    if kind.__module__.partition(".")[0] == "torchao":
        return "torchao"
    return {"Params4bit": "4bit", "Int8Params": "8bit"}.get(kind.__name__)


def is_quantised(base: nn.Module) -> bool:
    """Return whether a layer stores its weight in fewer bits than it computes with."""
    return quantised_by(base.weight) is not None  # type: ignore[arg-type]


def gathered(tensor: Tensor) -> Tensor:
    """Return the full tensor if it is sharded over several processes (FSDP2), else the tensor itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_names(model: nn.Module) -> list[str]:
    """Return the names of the parameters that are sharded over several processes."""
    return [name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)]


def weight_of(base: nn.Module) -> Tensor:
    """Return the weight W (out_features, in_features), or (num_embeddings, embedding_dim) for an embedding.

    The result is the weight itself, its transpose for `Conv1D`, or a dequantised copy. The layer is not changed.
    """
    weight: Any = base.weight
    kind = quantised_by(weight)
    full: Tensor
    if kind is None:
        full = weight.T if isinstance(base, Conv1D) else weight
        return full
    with torch.no_grad():
        if kind == "torchao":
            full = weight.dequantize()
            return full
        functional = importlib.import_module("bitsandbytes.functional")
        if kind == "4bit":
            full = functional.dequantize_4bit(weight.data, weight.quant_state)
        else:
            full = functional.int8_vectorwise_dequant(weight.data, _row_scales(base))
        return full


def shape_of(base: nn.Module) -> tuple[int, int]:
    """Return the shape of `weight_of(base)`, without dequantising."""
    if isinstance(base, nn.Linear):
        return base.out_features, base.in_features
    rows, columns = base.weight.shape  # type: ignore[misc]
    return (columns, rows) if isinstance(base, Conv1D) else (rows, columns)


def plain_layer(base: nn.Linear, weight: Tensor) -> nn.Linear:
    """Return the unquantised counterpart of a quantised linear layer: `nn.Linear`, or `Conv1D` if made from one.

    Args:
        base: the quantised layer; the new one shares its bias.
        weight: weight of the new layer (out_features, in_features).
    """
    was_conv1d = getattr(base, "source_cls", None) is Conv1D
    with torch.device("meta"):
        sizes = base.in_features, base.out_features
        plain: Any = Conv1D(*reversed(sizes)) if was_conv1d else nn.Linear(*sizes)
    stored = weight.T.contiguous() if was_conv1d else weight
    plain.weight, plain.bias = nn.Parameter(stored, requires_grad=False), base.bias
    return cast(nn.Linear, plain.train(base.training))


def adapter_factory_kwargs(base: nn.Module) -> dict[str, Any]:
    """Return `device` and `dtype` of a layer's adapter: at least float32, as 16 bits are too few for small updates."""
    weight: Any = base.weight
    dtype = torch.float32 if is_quantised(base) else torch.promote_types(weight.dtype, torch.float32)
    return {"device": weight.device, "dtype": dtype}


def custom_forward_problem(base: nn.Module) -> str | None:
    """Return why a layer's output is not given by its weight alone, or None if it is.

    Such a layer has a forward pass of its own, or is never called by the module that owns it.
    """
    if isinstance(base, NonDynamicallyQuantizableLinear):
        return "nn.MultiheadAttention reads its weight and never calls it"
    plain = (nn.Linear.forward, Conv1D.forward, nn.Embedding.forward)
    scaled = isinstance(base, nn.Embedding) and hasattr(base, "embed_scale")
    if type(base).forward in plain or scaled or is_quantised(base):
        return None
    return f"{type(base).__name__} has a forward pass of its own"


def adaptation_problem(base: nn.Module) -> str | None:
    """Return why a layer cannot be adapted, or None if it can."""
    weight: Any = base.weight
    kind = quantised_by(weight)
    if kind is None and weight.dtype not in READABLE:
        return f"its weight is {weight.dtype}, quantised in a way that lowland does not support"
    if (kind == "4bit" and weight.quant_state is None) or (kind == "8bit" and _row_scales(base) is None):
        return "its weight is not quantised yet; move the model to its device first"
    if is_repacked(base):
        return "bitsandbytes has repacked its weight for inference; load the model again, and adapt it first"
    if kind == "torchao" and (reason := _dequantisation_problem(base)):
        return reason
    if isinstance(base, nn.Embedding) and base.max_norm is not None:
        return "with max_norm an embedding overwrites its weight in the forward pass"
    return custom_forward_problem(base)


def forward_is_replaced(module: nn.Module) -> bool:
    """Return whether somebody has put another forward method on this instance, as accelerate's hooks do."""
    own = vars(module).get("forward")
    return own is not None and getattr(own, "__func__", None) is not type(module).forward


def is_repacked(base: nn.Module) -> bool:
    """Return whether bitsandbytes has repacked a 4-bit weight for inference on processors with AVX512-BF16."""
    state = getattr(getattr(base, "weight", None), "quant_state", None)
    return bool(getattr(state, "packing_format_for_cpu", False))


def disable_repacking(base: Any) -> None:
    """Prevent bitsandbytes from repacking a 4-bit weight in evaluation mode.

    A repacked weight can neither be dequantised nor pass gradients to the layer's input.
    """
    if hasattr(base, "support_avx512bf16_for_cpu"):
        base.support_avx512bf16_for_cpu = False


def _row_scales(base: Any) -> Tensor | None:
    """Return the scales of an 8-bit weight; the first forward pass moves them from the weight to the layer's state."""
    scales: Tensor | None = getattr(base.weight, "SCB", None)
    if scales is None:
        scales = base.state.SCB
    return scales


def _dequantisation_problem(base: nn.Module) -> str | None:
    """Return torchao's reason if it cannot dequantise a weight of this kind on this machine, else None."""
    try:
        weight_of(base)
    except RuntimeError as error:  # torch raises it, or a subclass, where it lacks the operation
        return f"torchao cannot dequantise {type(base.weight).__name__} on this machine ({reason_of(error)})"
    return None
