"""What records show: statistics on plain arrays, without a deep-learning stack.

- ``pairs``: one method against a reference, with the same seeds and test examples
- ``exact``: the sign-flip test over seeds, and McNemar's
- ``intervals``: the paired interval over seeds and examples, and the detectable difference
- ``metrics``: accuracy and F1 on many bootstrap resamples at once
"""

from lowland.evidence.core.exact import McNemar, Permutation, mcnemar, permutation_p
from lowland.evidence.core.intervals import PairedInterval, detectable_difference, paired_interval
from lowland.evidence.core.metrics import METRICS
from lowland.evidence.core.pairs import PairedComparison, compare_pairs

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
