"""Standard normal numbers for the noise, drawn once and read at random places ever after.

To draw a normal for every weight costs as much as a good part of the training step. So there is one bank of N = 2^22,
with mean 0 and variance 1 (to 1e-6), and a layer's E of one optimizer step is a window of it, at an offset from (seed,
step, layer), with the sign of each row flipped at random: over the steps each entry takes its values from the whole
bank. What is approximated: the windows of two layers or steps may overlap (and in a model with more weights than N they
must), so that they hold some of the same numbers at shifted places. Random places and signs make those uncorrelated
over the steps, but not independent.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowland.ground.rng import stream_seed

SIZE = 2**22
LONGEST = SIZE // 2
"""Entries of one window at the most; a larger layer takes several, each at an offset of its own."""
ALIGNMENT = 8
"""Offsets are multiples of 16 bytes, in 16 bits and in 32."""


@functools.cache
def bank(device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The bank (SIZE + LONGEST,), the same bits on every device; its start stands again at its end."""
    if dtype != torch.float32:
        return bank(device, torch.float32).to(dtype)
    generator = torch.Generator().manual_seed(stream_seed(0, "bank"))
    numbers = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    numbers = ((numbers - numbers.mean()) / numbers.std(correction=0)).float()
    return torch.cat([numbers, numbers[:LONGEST]]).to(device)


@dataclass(frozen=True)
class Window:
    """One layer's E (out, in) of one optimizer step.

    Attributes:
        signs: (out, 1) of the rows, +1 or -1.
        blocks: E without its signs, by rows: views of the bank, nothing is copied.
    """

    signs: Tensor
    blocks: tuple[Tensor, ...]


def window(
    shape: tuple[int, int],
    seed: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    transposed: bool = False,
) -> Window:
    """The window that a seed gives a weight.

    Args:
        shape: (out, in) of the weight.
        seed: of the offsets and signs; the global generators are not touched.
        device: of the weight.
        dtype: of the bank: 16 bits for weights of 16 bits, else 32.
        transposed: whether the weight lies in memory as (in, out); so does E then.

    Raises:
        ValueError: for a layer whose rows are longer than a window can be.
    """
    outs, ins = shape
    rows = LONGEST // ins
    if rows == 0:
        raise ValueError(f"a layer with {ins} inputs is too wide for the noise bank; at most {LONGEST}")
    source = random.Random(seed)
    numbers = bank(device, dtype)
    blocks = []
    for start in range(0, outs, rows):
        height, offset = min(rows, outs - start), source.randrange(SIZE // ALIGNMENT) * ALIGNMENT
        flat = numbers[offset : offset + height * ins]
        blocks.append(flat.view(ins, height).T if transposed else flat.view(height, ins))
    bits = np.frombuffer(source.randbytes(-(-outs // 8)), dtype=np.uint8)
    signs = torch.from_numpy(np.unpackbits(bits, count=outs).astype(np.float32) * 2 - 1)
    return Window(signs[:, None].to(device), tuple(blocks))
