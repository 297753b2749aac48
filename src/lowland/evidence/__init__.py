"""Statistics of records, without a deep-learning stack.

- ``core``: statistics on arrays

  - ``pairs``: comparison of a method with a reference, by the same seeds and test examples
  - ``unpaired``: the same with other seeds, by the same test examples alone
  - ``exact``: sign-flip test over seeds, and McNemar's test
  - ``intervals``: paired interval over seeds and examples
  - ``variances``: half-width and p-value from the parts of a variance, and the detectable difference
  - ``metrics``: mean score, accuracy and F1 on many bootstrap resamples at once
  - ``by_item``: estimates and tests over items, and Holm's correction
  - ``confidence``: calibration error, and accuracy on the most confident predictions
  - ``kappa``: agreement of two raters

- ``readers``: from records, rows of stress tests, and results of other tools to arrays
- ``study``, ``stress``, ``stress_adapters``, ``behaviour``, ``ratings``: what a study or a stress test shows
- ``studies``, ``running``: several studies beside each other, and one that runs
- ``damaged_examples``: texts that are answered right when clean, and wrong when damaged
- ``results``, ``pairing``, ``verdict``, ``calibration``: which of several results is better, and how sure that is
- ``errors``, ``wrong_examples``, ``categories``, ``text_rules``: which examples a study's runs get wrong
- ``inspect_metric``: a comparison with an earlier log as a metric of Inspect
"""

from lowland.evidence.core.exact import McNemar, Permutation, mcnemar, permutation_p
from lowland.evidence.core.intervals import PairedInterval, paired_interval, paired_metric_interval
from lowland.evidence.core.metrics import METRICS
from lowland.evidence.core.pairs import PairedComparison, compare_predictions, compare_scores
from lowland.evidence.core.variances import detectable_difference

__all__ = [
    "METRICS",
    "McNemar",
    "PairedComparison",
    "PairedInterval",
    "Permutation",
    "compare_predictions",
    "compare_scores",
    "detectable_difference",
    "mcnemar",
    "paired_interval",
    "paired_metric_interval",
    "permutation_p",
]
