"""Checks of an adapter beside its base's weights: what a merge would lose, and updates that are larger than W."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import torch
from torch import Tensor

from lowland.lora.spectrum import LowRank
from lowland.measure.diagnosis.finding import Finding, layers_of
from lowland.measure.rounding import lost_share

MOST_LOST = 0.5
"""Share of the entries of s·BA below half an ulp of W from which a merge loses much."""
NOTHING_LEFT = 0.99
"""Share of the entries of s·BA below half an ulp of W in float32 from which the adapter changes nothing."""
FORMATS: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@torch.no_grad()
def merge_findings(factors: Mapping[str, LowRank], weights: Mapping[str, Tensor]) -> list[Finding]:
    """Return what a merge into W would lose, and whether an update is larger than its W."""
    lost: dict[str, list[float]] = {name: [] for name in ("fp32", *FORMATS)}
    large: dict[str, float] = {}
    for name, weight in weights.items():
        update = factors[name].matrix()
        if not update.any():
            continue
        for dtype, kind in {"fp32": torch.float32, **FORMATS}.items():
            lost[dtype].append(lost_share(weight, update, kind))
        if (ratio := float(update.norm() / weight.norm())) > 1:
            large[name] = ratio
    if lost["fp32"] and min(lost["fp32"]) >= NOTHING_LEFT:
        sentence = (
            f"at least {min(lost['fp32']):.0%} of the entries of s·BA are below half a rounding step of W in every"
            " layer, even in fp32, so the adapter changes nothing; train it longer, or with a higher learning rate"
        )
        return [Finding("FAIL", "no effect", sentence)]
    return [*_lossy_merge(lost), *_large_updates(large)]


def _lossy_merge(lost: Mapping[str, list[float]]) -> list[Finding]:
    """Return what a merge in 16 bits would lose in the median layer."""
    shares = {dtype: median(lost[dtype]) for dtype in FORMATS if lost[dtype]}
    lossy = {dtype: share for dtype, share in shares.items() if share >= MOST_LOST}
    if not lossy:
        return []
    words = " and ".join(f"{share:.0%} in {dtype}" for dtype, share in lossy.items())
    sentence = (
        f"entries of s·BA below half a rounding step of W are lost in a merge: {words} (median layer); keep the adapter"
        " unmerged, or merge it in fp32"
    )
    return [Finding("note", "merging", sentence)]


def _large_updates(large: Mapping[str, float]) -> list[Finding]:
    """Return in which layers the update is larger than W; `large` has their ratios by name."""
    if not large:
        return []
    most = max(large, key=lambda name: large[name])
    sentence = (
        f"s·BA is larger than W in {layers_of(list(large))}, up to {large[most]:.2g} times ({most}): the base is"
        " overwritten rather than adapted; train with a lower learning rate or scale"
    )
    return [Finding("note", "large update", sentence)]
