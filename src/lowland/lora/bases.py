"""The layers that can be adapted, and how the full weight of each is read.

Quantised layers are known by what their weight calls itself, so that no package for them is imported before such a
layer is there: bitsandbytes' `Linear4bit` and `Linear8bitLt`, and `nn.Linear` with a weight of torchao's.
"""

from __future__ import annotations

import importlib
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.pytorch_utils import Conv1D

from lowland.ground.mistakes import reason_of

Linear = nn.Linear | Conv1D
"""Conv1D is GPT-2's linear layer; it holds its weight transposed, (in, out)."""
Adaptable = Linear | nn.Embedding
"""What can be adapted."""
READABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def quantised_by(weight: Tensor) -> str | None:
    """What quantised a weight: "4bit" or "8bit" of bitsandbytes, "torchao", or None."""
    kind = type(weight)
    if kind in (nn.Parameter, Tensor):  # which a compiler can follow, and names of modules not
        return None
    if kind.__module__.partition(".")[0] == "torchao":
        return "torchao"
    return {"Params4bit": "4bit", "Int8Params": "8bit"}.get(kind.__name__)


def is_quantised(base: nn.Module) -> bool:
    """Whether the layer holds its weight in fewer bits than it computes with."""
    return quantised_by(base.weight) is not None  # type: ignore[arg-type]


def weight_of(base: nn.Module) -> Tensor:
    """W (out, in): the weight itself (transposed for Conv1D), or a dequantised copy; (words, width) of an embedding.

    The base is never written.
    """
    weight: Any = base.weight
    kind = quantised_by(weight)
    if kind is None:
        return weight.T if isinstance(base, Conv1D) else weight
    with torch.no_grad():
        if kind == "torchao":
            return weight.dequantize()
        bits = importlib.import_module("bitsandbytes.functional")
        if kind == "4bit":
            return bits.dequantize_4bit(weight.data, weight.quant_state)
        return bits.int8_vectorwise_dequant(weight.data, _row_scales(base))


def shape_of(base: nn.Module) -> tuple[int, int]:
    """(out, in), without dequantising; (words, width) of an embedding."""
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


def adapter_place(base: nn.Module) -> dict[str, Any]:
    """Device and dtype of a layer's adapter: float32 at least, since 16 bits are too few to learn in."""
    weight: Any = base.weight
    dtype = torch.float32 if is_quantised(base) else torch.promote_types(weight.dtype, torch.float32)
    return {"device": weight.device, "dtype": dtype}


def goes_its_own_way(base: nn.Module) -> str | None:
    """Why a layer is more than its weight (it has a forward pass of its own, or is never called), or None."""
    if isinstance(base, NonDynamicallyQuantizableLinear):
        return "nn.MultiheadAttention reads its weight and never calls it"
    plain = (nn.Linear.forward, Conv1D.forward, nn.Embedding.forward)
    scaled = isinstance(base, nn.Embedding) and hasattr(base, "embed_scale")
    if type(base).forward in plain or scaled or is_quantised(base):
        return None
    return f"{type(base).__name__} has a forward pass of its own"


def why_not(base: nn.Module) -> str | None:
    """Why a layer cannot be adapted, or None if it can."""
    weight: Any = base.weight
    kind = quantised_by(weight)
    if kind is None and weight.dtype not in READABLE:
        return f"its weight is {weight.dtype}, quantised in a way that is not known here"
    if (kind == "4bit" and weight.quant_state is None) or (kind == "8bit" and _row_scales(base) is None):
        return "its weight is not quantised yet; move the model to its device first"
    if is_repacked(base):
        return "bitsandbytes has repacked its weight for inference; load the model again, and adapt it first"
    if kind == "torchao" and (reason := _why_not_dequantised(base)):
        return reason
    if isinstance(base, nn.Embedding) and base.max_norm is not None:
        return "with max_norm an embedding writes its weight while it is read"
    return goes_its_own_way(base)


def is_repacked(base: nn.Module) -> bool:
    """Whether bitsandbytes has repacked a 4-bit weight, for inference on processors with AVX512-BF16."""
    state = getattr(getattr(base, "weight", None), "quant_state", None)
    return bool(getattr(state, "packing_format_for_cpu", False))


def keep_readable(base: Any) -> None:
    """Keep bitsandbytes from repacking a 4-bit weight in evaluation.

    Repacked, it can neither be dequantised nor give gradients to what comes before it.
    """
    if hasattr(base, "support_avx512bf16_for_cpu"):
        base.support_avx512bf16_for_cpu = False


def _row_scales(base: Any) -> Tensor | None:
    """Of an 8-bit weight; the first forward pass moves them from the weight to the layer's state."""
    scales = getattr(base.weight, "SCB", None)
    return base.state.SCB if scales is None else scales


def _why_not_dequantised(base: nn.Module) -> str | None:
    """What torchao says, where it has no way to dequantise a weight of this kind on this machine."""
    try:
        weight_of(base)
    except (NotImplementedError, RuntimeError) as error:
        return f"torchao cannot dequantise {type(base.weight).__name__} on this machine ({reason_of(error)})"
    return None
