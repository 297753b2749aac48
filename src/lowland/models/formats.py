"""Number format that a model is trained in: fp32 or bf16."""

from __future__ import annotations

import functools
import timeit
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from lowland.ground.mistakes import Mistake

if TYPE_CHECKING:
    import torch
    from torch import nn

NumberFormat = Literal["fp32", "bf16"]


def number_format(dtype: Literal["auto", "fp32", "bf16"]) -> NumberFormat:
    """Choose the number format to train in: "auto" is bf16 if the machine computes faster in it, else fp32.

    Raises:
        Mistake: if bf16 is asked for and the GPU does not support it.
    """
    import torch

    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        if dtype == "bf16" and not able:
            raise Mistake("dtype is bf16, and this GPU does not support it; use fp32, or auto")
    else:
        able = dtype == "auto" and processor_is_faster_in_bf16()
    return "bf16" if dtype == "bf16" or (dtype == "auto" and able) else "fp32"


@functools.cache
def processor_is_faster_in_bf16() -> bool:
    """Time a product of matrices in both formats: is bf16's time less than 3/4 of fp32's?

    It is measured because no list of instruction sets decides it: with AVX512-BF16 alone, an Intel Xeon took twice as
    long in bf16, and an AMD EPYC a quarter of the time. Both formats take turns, and the shortest of many times counts,
    so that other work on the machine seldom changes the answer.
    """
    import torch

    left, right = torch.randn(256, 512), torch.randn(512, 512)
    products = {
        dtype: functools.partial(torch.mm, left.to(dtype), right.to(dtype))
        for dtype in (torch.float32, torch.bfloat16)
    }
    seconds = dict.fromkeys(products, float("inf"))
    for _ in range(30):
        for dtype, product in products.items():
            seconds[dtype] = min(seconds[dtype], timeit.timeit(product, number=1))
    return seconds[torch.bfloat16] < 0.75 * seconds[torch.float32]


def hold_base_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast frozen parameters to `dtype` in place, except those of norms, embeddings, layer scales and fp32 heads.

    In bf16 this halves their memory and saves a cast at each step. Autocast rounds them in the same way at each step,
    so results are bit for bit the same. Trained parameters, norms and embeddings keep their dtype, so that the sums
    over the layers are in fp32. So do the parameters that a module has beside its parts, such as the class token of a
    ViT: autocast does not round these.
    """
    from torch import nn

    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        parts = any(True for _ in module.children())
        if parts or any(kind in type(module).__name__ for kind in ("Norm", "LayerScale")):
            continue
        if isinstance(module, _InFloat32):
            continue
        for parameter in module.parameters(recurse=False):
            if id(parameter) in embeddings:  # also where a head shares the weight
                continue
            if not parameter.requires_grad and parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
    return model


def answer_in_fp32(model: nn.Module) -> nn.Module:
    """Make the output head compute in fp32 under autocast, in place, by a change of its class.

    bf16 has 8 significant bits, so close logits would be rounded to equal values. Only while a model trains, a frozen
    head, as that of a language model is, computes as autocast wants it: with a vocabulary of 262,144 tokens, its
    product in fp32 would take longer than the other layers together.
    """
    from lowland.lora import find_head

    for name in find_head(model):
        head = model.get_submodule(name)
        head.__class__ = _in_fp32(type(head))  # type: ignore[arg-type]  # classes can be hashed
    return model


def attend_eagerly(model: nn.Module) -> nn.Module:
    """Make a model of transformers compute attention by products of matrices, in place, if it runs on a CPU in bf16.

    PyTorch's fused attention is slow there: forward and backward pass take 1.1 to 6.9 times as long as the products
    (batches of 1 to 16, 32 to 1,024 tokens, AMD EPYC with AVX512-BF16, torch 2.13). In fp32 it is not.
    """
    import torch
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel) or torch.cuda.is_available():
        return model
    if model.config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        model.set_attn_implementation("eager")
    return model


class _InFloat32:
    """Mix-in for a head that answers in fp32 under autocast; stands before the module's own class."""

    training: bool
    parameters: Callable[[], Iterator[nn.Parameter]]

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's own forward pass for x.float(), with autocast off, unless it is frozen and training."""
        import torch

        if self.training and not any(parameter.requires_grad for parameter in self.parameters()):
            return super().forward(x, *args, **kwargs)  # type: ignore[misc]
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float(), *args, **kwargs)  # type: ignore[misc]


@functools.cache
def _in_fp32(plain: Any) -> Any:
    """Return the class of modules of type `plain` that compute in fp32; it keeps the name, and pickles as `plain`."""

    def as_plain(module: nn.Module, protocol: Any) -> Any:
        return plain.__new__, (plain,), module.__dict__

    return type(plain.__name__, (_InFloat32, plain), {"__reduce_ex__": as_plain})
