"""Reading of `adapter_model.safetensors`, PEFT's file of an adapter's tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from lowland.ground.mistakes import Mistake, reason_of
from lowland.lora.bases import READABLE

WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Prefix that PEFT puts before the name of every tensor."""
SHOWN = 10
"""Number of names that an error lists."""
A_OR_B = re.compile(r"\.lora_(embedding_)?[AB](\.|$)")
"""Part of the names of A and B."""
NAMED = (
    re.compile(r"(?P<start>.*\.lora_[AB])\.(?P<adapter>[^.]+)(?P<end>\.(?:weight|bias))"),
    re.compile(r"(?P<start>.*\.lora_embedding_[AB])\.(?P<adapter>[^.]+)(?P<end>)"),
    re.compile(r"(?P<start>.*\.trainable_tokens_delta)\.(?P<adapter>[^.]+)(?P<end>)"),
)
"""Names of tensors with the name of their adapter inside, as a `PeftModel` has them in memory."""


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of an adapter's file, by `plain_names`.

    Raises:
        Mistake: if the file is missing or damaged, holds several adapters, or holds values that are not finite.
    """
    saved = read_unchecked(folder)
    _check_numbers(saved, folder / WEIGHTS_FILE)
    return saved


def read_unchecked(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of an adapter's file, by `plain_names`, whatever their values.

    Raises:
        Mistake: if the file is missing or damaged, or holds several adapters.
    """
    path = folder / WEIGHTS_FILE
    try:
        tensors = load(path.read_bytes())
    except FileNotFoundError:
        pickled = "; adapter_model.bin is a pickle file, which is not read: save the adapter again with a recent PEFT"
        hint = pickled if (folder / "adapter_model.bin").exists() else ""
        raise Mistake(f"{folder} holds no {WEIGHTS_FILE}{hint}") from None
    except (SafetensorError, OSError) as error:
        raise Mistake(f"{path} is damaged ({reason_of(error)})") from None
    saved: dict[str, Tensor] = {}
    for key, name in plain_names(tensors, path).items():
        if name in saved and not _equal(saved[name], tensors[key]):
            raise Mistake(f"{path} holds two values for {name}; the other one is {key}")
        saved[name] = tensors[key]
    return saved


def plain_names(keys: Iterable[str], path: Path) -> dict[str, str]:
    """Return the names of tensors without what PEFT puts into them, by the keys of its file.

    These are its prefix, the name of the adapter (`lora_A.default.weight`), and `modules_to_save`. What
    `modules_to_save` replaces (`original_module`) is left out.

    Args:
        keys: keys of the file.
        path: path of the file, for errors.

    Raises:
        Mistake: if the keys contain the names of several adapters.
    """
    short = {key: key.removeprefix(PREFIX) for key in keys}
    matches = {key: _named(name) for key, name in short.items() if A_OR_B.search(name)}
    adapters = sorted({match["adapter"] for match in matches.values() if match})
    if len(adapters) > 1 or (adapters and not all(matches.values())):
        without = [] if all(matches.values()) else ["one without a name"]
        raise Mistake(
            f"{path} holds several adapters: its keys name {', '.join([*adapters, *without])}; save the one to load"
            " into a folder of its own"
        )
    names = {
        key: match["start"] + match["end"] if (match := _named(name)) else name for key, name in short.items()
    }
    inner = "".join(rf"(?:{re.escape(adapter)}\.)?" for adapter in adapters)
    whole = re.compile(rf"\.modules_to_save\.{inner}")
    plain = {key: whole.sub(".", name) for key, name in names.items()}
    replaced = {name.rpartition(".modules_to_save.")[0] for name in names.values()}
    return {
        key: name
        for key, name in plain.items()
        if name.rpartition(".original_module.")[0] not in replaced - {""}
    }


def is_adapter(name: str) -> bool:
    """Return whether a tensor's name is that of A or B."""
    return ".lora_" in name


def listed(names: Sequence[str]) -> str:
    """Return names, separated by commas, for an error: all, or the first ten and the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _named(name: str) -> re.Match[str] | None:
    """Return the match of a tensor's name that contains the name of its adapter, or None."""
    return next((match for pattern in NAMED if (match := pattern.fullmatch(name))), None)


def _equal(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors have the same shape, type and values."""
    return first.dtype == second.dtype and first.shape == second.shape and bool((first == second).all())


def _check_numbers(saved: dict[str, Tensor], path: Path) -> None:
    """Check that A and B are floating-point numbers, and all numbers finite; raise `Mistake` otherwise."""
    adapter = {name: tensor for name, tensor in saved.items() if is_adapter(name)}
    if unreadable := [name for name, tensor in adapter.items() if tensor.dtype not in READABLE]:
        dtype = adapter[unreadable[0]].dtype
        raise Mistake(
            f"{path} is damaged: {listed(unreadable)} should be floating-point numbers, not {dtype}"
        )
    floating = {name: tensor for name, tensor in saved.items() if tensor.is_floating_point()}
    if diverged := [name for name, tensor in floating.items() if not tensor.isfinite().all()]:
        raise Mistake(
            f"{path} has NaN or infinity in {listed(diverged)}; save the adapter from a step at which all values are"
            " finite"
        )
