"""Names and numbers of scores as sentences and tables write them."""

import math
import re
from collections.abc import Sequence


def score_name(metric: str) -> str:
    """Return a score's name as a sentence writes it: "macro_f1" as "macro F1", "exact_match" as "exact match"."""
    return "F1" if metric == "f1" else re.sub(r" f1$", " F1", metric.replace("_", " "))


def identical_words(
    compared: str, method: str, reference: str, *, examples: int, groups: int, seeds: int
) -> str:
    """Write that two methods agree on every example: `predictions of a and b are identical on all 9 test examples …`.

    Args:
        compared: what is identical, "predictions" or "scores".
        method: name of the method.
        reference: name of the reference.
        examples: number of test examples.
        groups: number of groups into which they fall; equal to `examples` if each is its own.
        seeds: number of seeds.
    """
    where = f"{examples_words(examples, groups)}{seeds_words(seeds)}"
    return f"{compared} of {method} and {reference} are identical on all {where}"


def examples_words(examples: int, groups: int) -> str:
    """Write the number of test examples, with the number of their groups unless each is its own group."""
    return f"{examples} test examples" + ("" if groups == examples else f" in {groups} groups")


def seeds_words(seeds: int) -> str:
    """Write that something holds for every seed."""
    return f" in all {seeds} seeds" if seeds > 1 else " with 1 seed"


def points(shares: Sequence[float]) -> list[str]:
    """Write shares as percentage points: one decimal, or as many as keep the smallest from reading 0."""
    smallest = min((abs(100 * x) for x in shares if abs(x) > 1e-9), default=1.0)
    return _fixed([100 * x for x in shares], max(1, -math.floor(math.log10(smallest))))


def quantities(values: Sequence[float]) -> list[str]:
    """Write numbers that are not shares: as many decimals as show two digits of the smallest."""
    least = 1e-9 * max(map(abs, values), default=0.0)
    smallest = min((abs(x) for x in values if abs(x) > least), default=1.0)
    return _fixed(list(values), max(0, 1 - math.floor(math.log10(smallest))))


def _fixed(values: list[float], decimals: int) -> list[str]:
    texts = [f"{x:.{decimals}f}" for x in values]
    return [text.lstrip("-") if float(text) == 0 else text for text in texts]
