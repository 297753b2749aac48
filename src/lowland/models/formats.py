"""The number format that a model is trained in: fp32 or bf16."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from lowland.ground.mistakes import Mistake, one_of
from lowland.lora import find_head

if TYPE_CHECKING:
    import torch
    from torch import nn


def number_format(asked: str) -> Literal["fp32", "bf16"]:
    """The number format to train in: what was asked, or for "auto" bf16 where the machine is fast at it, else fp32.

    Raises:
        Mistake: if bf16 is asked of a GPU that has none, or something else than auto, fp32 or bf16 is asked.
    """
    import torch

    if asked not in ("auto", "fp32", "bf16"):
        raise Mistake(one_of("dtype", asked, ["auto", "fp32", "bf16"]))
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        if asked == "bf16" and not able:
            raise Mistake("dtype is bf16, which this GPU has not; take fp32, or auto")
    else:
        # AVX512-BF16 alone is not enough: with it a product of bf16 matrices took twice as long as one of fp32 on
        # the processor measured. A torch that cannot be asked gets fp32.
        capabilities = getattr(torch.cpu, "get_capabilities", None)
        able = bool(capabilities and capabilities().get("amx_bf16"))
    return "bf16" if asked == "bf16" or (asked == "auto" and able) else "fp32"


def hold_base_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Hold the frozen weights of products in a smaller format, in place: half their memory, and no cast at each step.

    Autocast rounds them so at each step anyhow: no result changes by a bit. What it leaves alone stays as it is:
    embeddings and norms, from which the sums over the layers come in fp32, and all that is trained.
    """
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Embedding) or "Norm" in type(module).__name__:
            continue
        for one in module.parameters(recurse=False):
            if not one.requires_grad and one.is_floating_point():
                one.data = one.data.to(dtype)
    return model


def answer_in_fp32(model: nn.Module) -> nn.Module:
    """Compute the output head in fp32 under autocast, too, in place.

    Logits of bf16 have 8 bits: near answers would become ties.
    """
    for name in find_head(model):
        head = model.get_submodule(name)
        head.forward = _without_autocast(head.forward)
    return model


def _without_autocast(forward: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    def in_fp32(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float(), *args, **kwargs)

    return in_fp32
