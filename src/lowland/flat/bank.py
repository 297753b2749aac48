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
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.rng import stream_seed

SIZE = 2**22
LONGEST = SIZE // 2
"""Entries of one window at the most; a larger layer takes several, each at an offset of its own."""
ALIGNMENT = 4
"""Offsets are multiples of 16 bytes."""


@functools.cache
def bank(device: torch.device) -> Tensor:
    """The bank (SIZE + LONGEST,) in float32, the same bits on every device; its start stands again at its end."""
    generator = torch.Generator().manual_seed(stream_seed(0, "bank"))
    numbers = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    numbers = ((numbers - numbers.mean()) / numbers.std(correction=0)).float()
    return torch.cat([numbers, numbers[:LONGEST]]).to(device)


@dataclass(frozen=True)
class Window:
    """Where one layer's E of one optimizer step lies.

    Attributes:
        offsets: in the bank, one for each block of `rows` rows.
        rows: of a block.
        signs: (out, 1) of the rows, +1 or -1.
    """

    offsets: tuple[int, ...]
    rows: int
    signs: Tensor

    def blocks(self, like: Tensor) -> list[Tensor]:
        """E (out, in) without its signs, in blocks of rows: views of the bank, nothing is copied."""
        outs, ins = like.shape
        numbers = bank(like.device)
        starts = range(0, outs, self.rows)
        heights = [min(self.rows, outs - start) for start in starts]
        return [
            numbers[offset : offset + height * ins].view(height, ins)
            for offset, height in zip(self.offsets, heights, strict=True)
        ]


def window(shape: torch.Size, device: torch.device, seed: int) -> Window:
    """The window that a seed gives a weight of shape (out, in).

    Raises:
        ValueError: for a layer whose rows are longer than a window can be.
    """
    outs, ins = shape
    rows = LONGEST // ins
    if rows == 0:
        raise ValueError(f"a layer with {ins} inputs is too wide for the noise bank; at most {LONGEST}")
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-outs // rows)
    offsets = torch.randint(SIZE // ALIGNMENT, (blocks,), generator=generator) * ALIGNMENT
    signs = torch.randint(2, (outs, 1), generator=generator, dtype=torch.float32) * 2 - 1
    return Window(tuple(offsets.tolist()), rows, signs.to(device))
