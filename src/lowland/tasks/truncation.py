"""Texts that are longer than a model reads: how many are cut, and how much of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

WORTH_SAYING = 0.01
"""Share of cut inputs above which a person should know of it."""
UNLIMITED = 2**31 - 1


@dataclass(frozen=True)
class Truncation:
    """Inputs that were cut off.

    Attributes:
        inputs: number of all inputs.
        cut: number of those that were cut.
        tokens_lost: number of tokens that were cut from all of them.
        longest: number of tokens of the longest input, uncut; 0 if none was cut.
        without_target: number of cut inputs that have lost their whole target; nothing can be learned from them.
    """

    inputs: int = 0
    cut: int = 0
    tokens_lost: int = 0
    longest: int = 0
    without_target: int = 0

    def __add__(self, other: Truncation) -> Truncation:
        return Truncation(
            self.inputs + other.inputs,
            self.cut + other.cut,
            self.tokens_lost + other.tokens_lost,
            max(self.longest, other.longest),
            self.without_target + other.without_target,
        )

    def describe(self) -> dict[str, int]:
        """Return the entry for a record: plain values."""
        return asdict(self)

    def sentence(self, max_length: int, requested: int | None = None) -> str | None:
        """Return a sentence if more than `WORTH_SAYING` of the inputs were cut, or one has lost its whole target.

        Args:
            max_length: number of tokens after which an input was cut.
            requested: number of tokens that the user asked for; larger if the model reads no more.
        """
        if self.cut <= WORTH_SAYING * self.inputs and not self.without_target:
            return None
        advice = "A larger max_length reads more of them"
        if requested is not None and requested > max_length:
            advice = f"The model reads no more, whatever max_length is ({requested})"
        nothing = f", {self.without_target:,} of them before the target" if self.without_target else ""
        return (
            f"{self.cut:,} of {self.inputs:,} inputs ({self.cut / self.inputs:.0%}) are longer than {max_length} tokens"
            f" and were cut{nothing}; the longest has {self.longest:,}. {advice}"
        )


def count_truncated(
    lengths: Sequence[int], max_length: int, whole: Callable[[list[int]], Sequence[int]]
) -> Truncation:
    """Count the inputs that an encoding has cut.

    Args:
        lengths: number of tokens of each encoded input.
        max_length: number of tokens after which they were cut.
        whole: function that returns the numbers of tokens, uncut, of the inputs at these positions.
    """
    full = [number for number, length in enumerate(lengths) if length >= max_length]
    longer = [length for length in whole(full) if length > max_length] if full else []
    lost = sum(longer) - max_length * len(longer)
    return Truncation(len(lengths), len(longer), lost, max(longer, default=0))
