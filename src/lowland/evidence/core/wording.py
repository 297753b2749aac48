"""Names and numbers of scores as sentences and tables write them."""

import math
from collections.abc import Sequence


def score_name(metric: str) -> str:
    """Return a score's name as a sentence writes it: "macro_f1" as "macro F1", other names unchanged."""
    if metric == "f1":
        return "F1"
    return f"{metric.removesuffix('_f1')} F1" if metric.endswith("_f1") else metric


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
