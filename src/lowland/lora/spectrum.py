"""Spectrum of what an adapter adds: norms and singular values of s·BA from its factors. BA is never formed.

With the QR factorisations B = Q_b R_b and Aᵀ = Q_a R_a, s·BA = Q_b (s · R_b R_aᵀ) Q_aᵀ. Q_a and Q_b have orthonormal
columns, so s·BA has the singular values and the Frobenius norm of s · R_b R_aᵀ, a matrix of r x r.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lowland.lora.bases import gathered
from lowland.lora.layer import LoRALayer


class SVD(NamedTuple):
    """Singular value decomposition of a matrix (out, in): left · diag(values) · rightᵀ, without values of zero."""

    left: Tensor  # (out, rank)
    values: Tensor  # (rank,), in descending order
    right: Tensor  # (in, rank)


@dataclass(frozen=True)
class LowRank:
    """Matrix s·BA (out, in), held by its factors.

    Attributes:
        a: A (r, in).
        b: B (out, r).
        scaling: s.
    """

    a: Tensor
    b: Tensor
    scaling: float

    def matrix(self) -> Tensor:
        """Return s·BA (out, in), formed, in float32 or wider."""
        a, b = _wide(self.a), _wide(self.b)
        return self.scaling * (b @ a)

    def svd(self) -> SVD:
        """Return the decomposition of s·BA, by QR of the factors, in float32 or wider."""
        q_a, r_a = torch.linalg.qr(_wide(self.a).mT)  # (in, r), (r, r)
        q_b, r_b = torch.linalg.qr(_wide(self.b))  # (out, r), (r, r)
        inner = svd(self.scaling * (r_b @ r_a.mT))
        return SVD(q_b @ inner.left, inner.values, q_a @ inner.right)


@dataclass(frozen=True)
class Factors(LowRank):
    """Factors of an adapted layer.

    Attributes:
        base: the frozen layer that is adapted.
    """

    base: nn.Module


def svd(matrix: Tensor) -> SVD:
    """Return the decomposition of a matrix, without singular values that are zero but for rounding."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    largest = float(values[0]) if len(values) else 0.0
    smallest = largest * max(matrix.shape) * torch.finfo(matrix.dtype).eps
    rank = int((values > smallest).sum())
    return SVD(left[:, :rank], values[:rank], right[:rank].mT)


@dataclass(frozen=True)
class Spectrum:
    """Norms of a layer's factors, and singular values of what they add to its weight.

    Attributes:
        norm_a: ‖A‖, the Frobenius norm.
        norm_b: ‖B‖.
        norm_ba: ‖BA‖, without the scale s.
        singular_values: those of s·BA in descending order: r, or fewer if a side of the layer is shorter. NaN if a
            factor is not finite.
    """

    norm_a: float
    norm_b: float
    norm_ba: float
    singular_values: tuple[float, ...]

    @property
    def effective_rank(self) -> float:
        """See `effective_rank`."""
        return effective_rank(self.singular_values)


def effective_rank(singular_values: Sequence[float]) -> float:
    """Return exp(−Σ p_i ln p_i) with p_i = σ_i / Σσ: r if all σ are equal, 1 for rank 1 (Roy & Vetterli, 2007).

    0 for a matrix of zeros, which has no p.
    """
    total = sum(singular_values)
    if total == 0:
        return 0.0
    shares = [value / total for value in singular_values]
    return math.exp(-sum(p * math.log(p) for p in shares if p != 0))


def directions_for(singular_values: Sequence[float], share: float) -> int:
    """Return the smallest number of directions that hold a share of the energy Σσ²; 0 for a matrix of zeros."""
    energies = [value**2 for value in singular_values]
    wanted, held = share * sum(energies), 0.0
    for number, energy in enumerate(energies, start=1):
        held += energy
        if held >= wanted * (1 - 1e-12) and held > 0:
            return number
    return 0


def adapter_factors(model: nn.Module) -> dict[str, Factors]:
    """Return the factors of every layer with LoRA, lowland's or PEFT's (the first active adapter), by the layer's name.

    DoRA and PiSSA have factors, too. PEFT's adapters of embeddings and convolutions are left out.
    """
    factors: dict[str, Factors] = {}
    for name, module in model.named_modules():
        layer: Any = module
        if isinstance(module, LoRALayer):
            factors[name] = Factors(layer.lora_A, layer.lora_B, layer.scaling, layer.base)
        elif isinstance(getattr(module, "lora_A", None), nn.ModuleDict):
            active = next((adapter for adapter in layer.active_adapters if adapter in layer.lora_A), None)
            if active is not None and layer.lora_A[active].weight.ndim == 2:
                a, b = layer.lora_A[active].weight, layer.lora_B[active].weight
                factors[name] = Factors(a, b, layer.scaling[active], layer.get_base_layer())
    return factors


@torch.no_grad()
def spectra(factors: Mapping[str, LowRank]) -> dict[str, Spectrum]:
    """Return the spectrum of each layer. Layers of one shape are factorised together.

    It takes O((in + out) r²) operations a layer, in float32 or wider, and draws no random numbers.
    """
    alike: dict[Any, list[str]] = defaultdict(list)
    for name, layer in factors.items():
        alike[layer.a.shape, layer.b.shape, layer.a.dtype, layer.a.device].append(name)
    by_layer: dict[str, Spectrum] = {}
    for names in alike.values():
        a = _stacked([factors[name].a for name in names])  # (layers, r, in)
        b = _stacked([factors[name].b for name in names])  # (layers, out, r)
        core = _triangle(b) @ _triangle(a.mT).mT  # (layers, min(out, r), min(in, r))
        is_finite = core.isfinite().all(dim=(-2, -1), keepdim=True)
        values = torch.linalg.svdvals(core.where(is_finite, 0))  # it raises for NaN
        values = values.where(is_finite[..., 0], torch.nan)
        norms = torch.stack([torch.linalg.matrix_norm(part) for part in (a, b, core)], dim=1)
        rows = torch.cat([norms, values], dim=1).tolist()  # one transfer from the device
        for name, (norm_a, norm_b, norm_ba, *sigma) in zip(names, rows, strict=True):
            scale = abs(factors[name].scaling)
            by_layer[name] = Spectrum(norm_a, norm_b, norm_ba, tuple(scale * value for value in sigma))
    return {name: by_layer[name] for name in factors}


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Return matrices of one shape as one tensor, in float32 or wider."""
    return torch.stack([_wide(part) for part in parts])


def _wide(part: Tensor) -> Tensor:
    """Return a matrix as a whole, without its gradient, in float32 or wider."""
    return gathered(part.detach()).to(torch.promote_types(part.dtype, torch.float32))


def _triangle(columns: Tensor) -> Tensor:
    """Return R (..., min(n, r), r) of the QR factorisation of matrices (..., n, r)."""
    triangle: Tensor = torch.linalg.qr(columns, mode="r")[1]
    return triangle
