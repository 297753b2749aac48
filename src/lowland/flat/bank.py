"""Bank of standard normal numbers for the noise, drawn once and then read at random offsets.

To draw a fresh normal for every weight would cost a good part of the training step. So there is one bank of N = 2^22
numbers with mean 0 and variance 1 (to 1e-6). A layer's E in one optimizer step is a window of the bank, at an offset
from (seed, step, layer), with the sign of each row flipped at random. Over the steps each entry takes its values from
the whole bank.

This is an approximation: the windows of two layers or steps may overlap (in a model with more weights than N they
must), and then hold some of the same numbers at shifted places. Random offsets and signs make such numbers uncorrelated
over the steps, but not independent.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed

SIZE = 2**22
"""N, the numbers in the bank."""
MAX_WINDOW = SIZE // 2
"""Largest number of entries in one window; a larger layer takes several windows, each at its own offset."""
ALIGNMENT = 8
"""Offsets are multiples of 8 numbers: 16 bytes of a 16-bit bank, 32 bytes of a 32-bit one."""


@functools.cache
def bank(device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the bank (SIZE + MAX_WINDOW,): the same bits on every device, with its start repeated at its end."""
    if dtype != torch.float32:
        return bank(device, torch.float32).to(dtype)
    generator = torch.Generator().manual_seed(stream_seed(0, "bank"))
    numbers = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    numbers = ((numbers - numbers.mean()) / numbers.std(correction=0)).float()
    return torch.cat([numbers, numbers[:MAX_WINDOW]]).to(device)


@dataclass(frozen=True)
class Window:
    """E (out, in) of one layer in one optimizer step.

    Attributes:
        signs: signs of the rows (out, 1), +1 or -1.
        blocks: blocks of rows of E without its signs, as views of the bank.
    """

    signs: Tensor
    blocks: tuple[Tensor, ...]


def width_problem(in_features: int) -> str | None:
    """Return a sentence if a row of a weight is longer than a window can be, else None."""
    if in_features <= MAX_WINDOW:
        return None
    return (
        f"a layer with {in_features} inputs is too wide for the noise bank, which supports at most {MAX_WINDOW}; leave"
        " the layer out with layers=..."
    )


def window(
    shape: tuple[int, int],
    seed: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    transposed: bool = False,
) -> Window:
    """Return the window of the bank for a weight and a seed.

    Args:
        shape: (out, in) of the weight.
        seed: seed of the offsets and signs; the global random generators are not used.
        device: device of the weight.
        dtype: data type of the bank: 16 bits for weights of 16 bits, else 32 bits.
        transposed: whether the weight is stored as (in, out); E is then stored so, too.

    Raises:
        Mistake: if a row of the weight is longer than a window can be.
    """
    outs, ins = shape
    if problem := width_problem(ins):
        raise Mistake(problem)
    rows = MAX_WINDOW // ins
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
