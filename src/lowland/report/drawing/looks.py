"""Looks of a page's plots: a colour and a marker for each method, so that nothing rests on colour alone.

The colours are variables of the page's style, which has others for light and for dark.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowland.report.drawing.svg import SHAPES

INK, MUTED, FAINT = "var(--ink)", "var(--muted)", "var(--line)"
"""Colours of text, of axes, and of grid lines."""
COLOURS = 7
"""Number of colours that the page's style has: the variables `--s0` to `--s6`, after Okabe and Ito (2008)."""


@dataclass(frozen=True)
class Look:
    """Look of one method in all plots of a page.

    Attributes:
        colour: its colour.
        shape: its marker, one of `SHAPES`.
        dashed: whether its lines are dashed; they are from the eighth method on, where colours repeat.
    """

    colour: str
    shape: str
    dashed: bool


def look_of(number: int) -> Look:
    """Return the look of the method with this number; 42 methods look different."""
    shapes = list(SHAPES)
    return Look(f"var(--s{number % COLOURS})", shapes[number % len(shapes)], number // COLOURS % 2 == 1)
