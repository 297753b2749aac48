"""Checks of what an adapter learned: whether it has an effect, which layers hardly moved, and which rank is wasted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from lowland.ground.mistakes import plural
from lowland.lora.spectrum import Spectrum, directions_for
from lowland.measure.adapter_files import AdapterFile
from lowland.measure.diagnosis.finding import NAMES_SHOWN, Finding, first_of

HARDLY = 0.01
"""Share of the median layer's update below which a layer has hardly moved."""
SMALLEST_SCALE, LARGEST_SCALE = 1 / 16, 16.0
"""Scales s beyond which there is a note. Those in use are mostly from 1/4 to 4."""
HELD = 0.99
"""Share of the energy that a smaller rank would have to hold."""
NINE_OF_TEN = 0.9
"""Share of the layers for which that smaller rank must suffice."""


def _no_effect(file: AdapterFile, spectrum: Mapping[str, Spectrum]) -> list[Finding]:
    """Check that the adapter changes the model, in every layer."""
    dead = [name for name, layer in spectrum.items() if layer.norm_ba == 0]
    if not dead:
        zero = all(layer.scaling == 0 for layer in file.factors.values())
        return (
            [Finding("FAIL", "no effect", "alpha is 0, so the adapter changes nothing; set lora_alpha")]
            if zero
            else []
        )
    part = "B" if all(spectrum[name].norm_b == 0 for name in dead) else "A or B"
    if len(dead) < len(spectrum):
        sentence = (
            f"{part} is zero in {len(dead)} of {len(spectrum)} layers ({first_of(dead)}), which learned nothing: leave"
            " them out of the targets, or see why no gradient reached them"
        )
        return [Finding("note", "no effect", sentence)]
    sentence = (
        f"{part} is zero in all {plural(len(spectrum), 'layer')}, as before the first step, so the adapter changes"
        " nothing: it was not trained, or its weights were not gathered when it was saved (DeepSpeed, FSDP); train or"
        " save it again"
    )
    return [Finding("FAIL", "no effect", sentence)]


def _still_layers(file: AdapterFile, spectrum: Mapping[str, Spectrum]) -> list[Finding]:
    """Note layers that hardly moved, compared with the others."""
    norms = {name: layer.norm_ba * abs(file.factors[name].scaling) for name, layer in spectrum.items()}
    moved = {name: norm for name, norm in norms.items() if norm > 0}
    if len(moved) < NAMES_SHOWN:
        return []
    usual = median(moved.values())
    still = sorted(
        (name for name, norm in moved.items() if norm < HARDLY * usual), key=lambda name: moved[name]
    )
    if not still:
        return []
    least = moved[still[0]]
    return [
        Finding(
            "note",
            "still layers",
            f"{len(still)} of {len(norms)} layers hardly moved ({first_of(still)}): ‖s·BA‖ is {least:.2g} in the first,"
            f" and {usual:.2g} in the median layer; leave them out of the targets to save parameters",
        )
    ]


def _wasted_rank(file: AdapterFile, spectrum: Mapping[str, Spectrum]) -> list[Finding]:
    """Note a rank of which most is not used."""
    used = {
        name: directions_for(layer.singular_values, HELD)
        for name, layer in spectrum.items()
        if layer.singular_values[0] > 0
    }
    ranks = {len(file.factors[name].a) for name in used}
    if not used or len(ranks) > 1 or (r := ranks.pop()) < 2:
        return []
    needed = sorted(used.values())[min(len(used) - 1, int(NINE_OF_TEN * len(used)))]
    enough = 1 << (needed - 1).bit_length()
    if enough > r // 2:
        return []
    return [
        Finding(
            "note",
            "wasted rank",
            f"rank {r}, and {plural(needed, 'direction')} carry {HELD:.0%} of the update in nine of ten layers (median"
            f" {median(used.values()):g}): r = {enough} would hold it",
        )
    ]


def _extreme_scale(file: AdapterFile, spectrum: Mapping[str, Spectrum]) -> list[Finding]:
    """Note a scale that is far from those in use."""
    scales = {abs(layer.scaling) for layer in file.factors.values()} - {0.0}
    rule = "alpha / sqrt(r)" if file.config.get("use_rslora") else "alpha / r"
    extreme = [s for s in scales if not SMALLEST_SCALE <= s <= LARGEST_SCALE]
    if not extreme:
        return []
    s = max(extreme) if max(extreme) > LARGEST_SCALE else min(extreme)
    effect = "small steps of A and B move the model far" if s > 1 else "the adapter hardly reaches the output"
    todo = "check alpha and use_rslora, with which a learning rate of its own is needed"
    return [Finding("note", "scale", f"the scale s = {rule} is {s:g}, so that {effect}; {todo}")]


LEARNED: Sequence[Callable[[AdapterFile, Mapping[str, Spectrum]], list[Finding]]] = (
    _no_effect,
    _still_layers,
    _wasted_rank,
    _extreme_scale,
)
"""Checks of what was learned."""
