"""Figures of what training added to a layer's weight: norms, ranks, and intruder dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.lora.spectrum import LowRank, Spectrum, directions_for, effective_rank, spectra
from lowland.measure.intruders import similarities
from lowland.measure.tuned import Update

Value = float | None


@dataclass(frozen=True)
class LayerFigures:
    """Figures of one layer. Norms are Frobenius norms; ΔW is s·BA, or W' - W where there are no factors.

    Attributes:
        rank: r of the adapter; None without factors.
        scaling: s; None without factors.
        norm_a: ‖A‖; None without factors.
        norm_b: ‖B‖; None without factors.
        norm_ba: ‖BA‖, without the scale; None without factors.
        norm_update: ‖ΔW‖.
        relative_update: ‖ΔW‖ / ‖W‖; None without the base's weight.
        largest_singular_value: that of ΔW.
        effective_rank: see `lowland.lora.spectrum.effective_rank`.
        directions_90: number of directions that hold 90 % of the energy Σσ² of ΔW.
        directions_99: number of directions that hold 99 % of it.
        rank_utilisation: directions_99 / r; None without factors.
        intruders: number of intruder dimensions; None if they are not measured.
        leading: number of leading singular vectors of W + ΔW that were looked at; None if they are not measured.
        least_similarity: smallest similarity of them; None if they are not measured.
    """

    rank: int | None
    scaling: Value
    norm_a: Value
    norm_b: Value
    norm_ba: Value
    norm_update: float
    relative_update: Value
    largest_singular_value: float
    effective_rank: float
    directions_90: int
    directions_99: int
    rank_utilisation: Value
    intruders: int | None = None
    leading: int | None = None
    least_similarity: Value = None


def update_spectra(updates: Mapping[str, Update]) -> dict[str, Spectrum]:
    """Return the spectrum of each update, by QR of its factors; without factors by SVD, and their norms are NaN."""
    result = spectra({name: update for name, update in updates.items() if isinstance(update, LowRank)})
    nan = float("nan")
    for name, update in updates.items():
        if not isinstance(update, LowRank):
            values = torch.linalg.svdvals(update.difference)
            result[name] = Spectrum(nan, nan, nan, tuple(values.tolist()))
    return result


def layer_figures(
    update: Update,
    spectrum: Spectrum,
    weight: Tensor | None,
    of_base: Tensor | None,
    k: int,
    epsilon: float,
) -> LayerFigures:
    """Return the figures of a layer.

    Args:
        update: what training added to its weight.
        spectrum: the update's spectrum.
        weight: the base's weight (out, in); None if it is not known.
        of_base: the left singular vectors of that weight; None leaves the intruder dimensions out.
        k: number of leading singular vectors that may be intruders.
        epsilon: similarity below which they are.
    """
    factors = update if isinstance(update, LowRank) else None
    values = spectrum.singular_values
    norm = sum(value**2 for value in values) ** 0.5
    of_99 = directions_for(values, 0.99)
    cosines = (
        None if weight is None or of_base is None else similarities(of_base, weight + update.matrix(), k)
    )
    return LayerFigures(
        rank=None if factors is None else len(factors.a),
        scaling=None if factors is None else factors.scaling,
        norm_a=None if factors is None else spectrum.norm_a,
        norm_b=None if factors is None else spectrum.norm_b,
        norm_ba=None if factors is None else spectrum.norm_ba,
        norm_update=norm,
        relative_update=None if weight is None else norm / float(weight.norm()),
        largest_singular_value=values[0],
        effective_rank=effective_rank(values),
        directions_90=directions_for(values, 0.9),
        directions_99=of_99,
        rank_utilisation=None if factors is None else of_99 / len(factors.a),
        intruders=None if cosines is None else int((cosines < epsilon).sum()),
        leading=None if cosines is None else len(cosines),
        least_similarity=None if cosines is None else float(cosines.min()),
    )
