"""Variances and half-widths: what docs/statistics.md says of studies whose seeds happen to agree."""

from __future__ import annotations

import numpy as np

from lowland.evidence.core.variances import Variances, half_width

STUDIES, SEEDS, GROUPS = 20_000, 3, 1725
EXAMPLES_ALONE, INTERACTION = 0.061, 0.139
"""Variances of full fine-tuning against LoRA on MRPC, in squared points; the seeds have no effect of their own."""


def test_studies_whose_seeds_agree_err_more_often_and_the_others_less() -> None:
    rng = np.random.default_rng(0)
    chosen = rng.normal(0, np.sqrt(EXAMPLES_ALONE), (STUDIES, 1))
    differences = chosen + rng.normal(0, np.sqrt(INTERACTION * SEEDS), (STUDIES, SEEDS))
    seeds = differences.var(axis=1, ddof=1) / SEEDS
    parts = Variances(seeds, np.full(STUDIES, EXAMPLES_ALONE + INTERACTION), np.full(STUDIES, INTERACTION))
    half = half_width(parts, SEEDS, GROUPS, 0.95)
    errs, agree = np.abs(differences.mean(axis=1)) > half, seeds < INTERACTION / 4
    assert 0.042 < errs.mean() < 0.047
    assert 0.215 < agree.mean() < 0.235
    assert 0.14 < errs[agree].mean() < 0.165
    assert 0.011 < errs[~agree].mean() < 0.016
