"""What records show: statistics on plain arrays, without a deep-learning stack.

- ``pairs``: one method against a reference, with the same seeds and test examples
- ``intervals``: the paired interval over seeds and examples, and the detectable difference
- ``metrics``: accuracy and F1 on many bootstrap resamples at once
"""

from lowland.evidence.intervals import PairedInterval, detectable_difference, paired_interval
from lowland.evidence.metrics import METRICS
from lowland.evidence.pairs import (
    McNemar,
    PairedComparison,
    Permutation,
    compare_pairs,
    mcnemar,
    permutation_p,
)

__all__ = [
    "METRICS",
    "McNemar",
    "PairedComparison",
    "PairedInterval",
    "Permutation",
    "compare_pairs",
    "detectable_difference",
    "mcnemar",
    "paired_interval",
    "permutation_p",
]
