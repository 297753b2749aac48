"""Measures of what runs and adapters learned: figures of layers, overlap of subspaces, drift of hidden states."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from lowland.deploy.find import Base
from lowland.deploy.load import load_base
from lowland.ground.mistakes import Mistake, gathering, plural
from lowland.ground.progress import Progress
from lowland.measure.adapter_settings import AdapterMeasureSettings
from lowland.measure.adapters import layer_figures, update_spectra
from lowland.measure.drifted import measure_drift
from lowland.measure.intruders import left_vectors
from lowland.measure.overlap import overlap, random_overlap
from lowland.measure.retained import read_retention
from lowland.measure.tuned import Tuned, Update, base_weight, find_tuned
from lowland.models.quantised import quantised_with

Subspaces = Mapping[str, tuple[Tensor, Tensor]]
"""Leading left (out, k) and right (in, k) singular vectors of the update of each layer."""


@dataclass
class Learned:
    """Measures of runs and adapters. Each row begins with `task`, `method`, `seed` and `run`.

    Attributes:
        layers: rows with the figures of each layer, `LayerFigures`.
        overlaps: rows for each layer of two runs: `method_b`, `seed_b`, `run_b`, and `left`, `right`, `left_random` and
            `right_random`.
        drifts: rows for each layer's hidden states: `cka` and `cosine`.
        retained: mean score of each run on other texts minus the base's, by method and seed; empty if it was not given.
        notes: sentences on what could not be measured, and why.
        k: number of leading singular vectors that may be intruders.
        epsilon: similarity below which they are.
        directions: number of directions whose subspaces are compared.
    """

    layers: list[dict[str, Any]] = field(default_factory=list)
    overlaps: list[dict[str, Any]] = field(default_factory=list)
    drifts: list[dict[str, Any]] = field(default_factory=list)
    retained: Mapping[tuple[str, int], float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    k: int = 10
    epsilon: float = 0.5
    directions: int = 4

    def note(self, sentence: str) -> None:
        """Keep a sentence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def table(self) -> pd.DataFrame:
        """Return all figures as a table, whose column `part` says what a row is of.

        - "layer": the figures of a layer, `k` and `epsilon`, and with retention what its run lost (`retention`);
        - "overlap": the overlaps of a layer of two runs, and `directions`;
        - "drift": the similarity of hidden states; `layer` is the number of the layer.
        """
        layers = [
            {"part": "layer", **row, "k": self.k, "epsilon": self.epsilon, **self._retention(row)}
            for row in self.layers
        ]
        overlaps = [{"part": "overlap", **row, "directions": self.directions} for row in self.overlaps]
        drifts = [{"part": "drift", **row, "layer": str(row["layer"])} for row in self.drifts]
        table = pd.DataFrame([*layers, *overlaps, *drifts])
        seeds = [name for name in ("seed", "seed_b") if name in table]
        return table.astype(dict.fromkeys(seeds, "Int64"))

    def _retention(self, row: Mapping[str, Any]) -> dict[str, float | None]:
        if not self.retained:
            return {}
        return {"retention": self.retained.get((row["method"], row["seed"]))}


def measure_adapters(settings: AdapterMeasureSettings, progress: Progress | None = None) -> Learned:
    """Measure what runs and adapters learned.

    Args:
        settings: the runs, and what to measure.
        progress: reports the layers and inputs that are done.

    Raises:
        Mistake: if a folder holds neither a run nor an adapter, weights are gone, damaged or not finite, or a run is
            given twice.
    """
    progress = progress or Progress()
    learned = Learned(k=settings.k, epsilon=settings.epsilon, directions=settings.directions)
    if settings.retention is not None:
        learned.retained = read_retention(settings.retention)
    everything = _find_all(settings, learned)
    groups = _by_base(everything)
    if len(groups) > 1 and "overlap" in settings.parts:
        learned.note("what runs of different base models learned is not compared with each other")
    if any(
        tuned.record is not None and tuned.record.environment.get("dtype") == "bf16" for tuned in everything
    ):
        learned.note("runs that were trained in bf16 are measured in float32")
    for same_base in groups:
        _measure_group(same_base, settings, learned, progress)
        gc.collect()  # the next base is loaded into the memory of this one
    return learned


def _find_all(settings: AdapterMeasureSettings, learned: Learned) -> list[Tuned]:
    """Find all runs and adapters; raise `Mistake` with everything that is wrong."""
    everything: list[Tuned] = []
    problems: list[str] = []
    for folder in settings.runs:
        with gathering(problems):
            if (tuned := find_tuned(folder, settings.model)) is None:
                learned.note(f"{folder} trains no network, and is left out")
            else:
                everything.append(tuned)
    names: dict[tuple[Any, ...], Tuned] = {}
    for tuned in everything:
        first = names.setdefault((tuned.task, tuned.method, tuned.seed), tuned)
        if first is not tuned:
            problems.append(
                f"{first.folder} and {tuned.folder} are both runs of {tuned.method}, seed {tuned.seed}, on"
                f" {tuned.task}; give one of them"
            )
    if not everything and not problems:
        problems.append(f"{settings.runs[0]} trains no network; give a run that does")
    if problems:
        raise Mistake(*problems)
    return everything


def _by_base(everything: Sequence[Tuned]) -> list[list[Tuned]]:
    """Return the runs and adapters, those of one base model together."""
    groups: dict[tuple[str, ...], list[Tuned]] = defaultdict(list)
    for tuned in everything:
        base = tuned.base
        key = ("without a base",) if base is None else (str(base.source.folder), base.kind)
        groups[key].append(tuned)
    return list(groups.values())


def _measure_group(
    group: Sequence[Tuned], settings: AdapterMeasureSettings, learned: Learned, progress: Progress
) -> None:
    """Measure runs and adapters of one base model."""
    base = group[0].base
    model = None if base is None else _load(base, learned)
    for tuned in group:
        if base is None:
            _note_missing_base(tuned, learned)
    updates = {tuned.folder: tuned.updates(model) for tuned in group}
    subspaces = _measure_layers(
        [(tuned, updates[tuned.folder]) for tuned in group], model, settings, learned, progress
    )
    if "overlap" in settings.parts:
        for first, second in combinations(group, 2):
            pair = subspaces[group.index(first)], subspaces[group.index(second)]
            learned.overlaps += [{**_who(first), **_other(second), **row} for row in _overlap_rows(*pair)]
    if "drift" in settings.parts and model is not None:
        measure_drift(group, model, settings, learned.drifts, learned.note, progress)


def _load(base: Base, learned: Learned) -> nn.Module:
    """Load a base model; note that a measure of a base in few bits is of its dequantised weights."""
    model: nn.Module = load_base(base).model
    if kind := quantised_with(model.config):
        learned.note(
            f"the base {base.source.title} is quantised ({kind}); its weights are dequantised to float32"
        )
    return model


def _note_missing_base(tuned: Tuned, learned: Learned) -> None:
    reasons = "; ".join(tuned.without_base)
    learned.note(
        f"{tuned.folder} is measured without its base model's weights, so without intruders and drift: {reasons}"
    )


def _measure_layers(
    measured: Sequence[tuple[Tuned, Mapping[str, Update]]],
    model: nn.Module | None,
    settings: AdapterMeasureSettings,
    learned: Learned,
    progress: Progress,
) -> list[Subspaces]:
    """Measure layer by layer, so that each weight of the base is decomposed once; return the subspaces of each run."""
    spectra = [update_spectra(updates) for _, updates in measured]
    names = list(dict.fromkeys(name for _, updates in measured for name in updates))
    modules = {} if model is None else dict(model.named_modules())
    subspaces: list[dict[str, tuple[Tensor, Tensor]]] = [{} for _ in measured]
    rows: list[list[dict[str, Any]]] = [[] for _ in measured]
    label = f"{plural(len(measured), 'run')}, {plural(len(names), 'layer')}"
    with torch.no_grad(), progress.bar(len(names) * len(measured), unit="layers", label=label) as bar:
        for name in names:
            of_base: Tensor | None = None
            for number, (tuned, updates) in enumerate(measured):
                if (update := updates.get(name)) is None:
                    bar.step()
                    continue
                weight = None if model is None else base_weight(modules, model, name, update)
                if model is not None and weight is None:
                    learned.note(
                        f"{tuned.folder} adapts {name}, which its base model lacks, or has in another size"
                    )
                is_linear = not isinstance(modules.get(name), nn.Embedding)
                if "intruders" in settings.parts and weight is not None and of_base is None and is_linear:
                    of_base = left_vectors(weight)
                figures = layer_figures(
                    update, spectra[number][name], weight, of_base, settings.k, settings.epsilon
                )
                rows[number].append({**_who(tuned), "layer": name, **asdict(figures)})
                if "overlap" in settings.parts:
                    left, _, right = update.svd()
                    subspaces[number][name] = left[:, : settings.directions], right[:, : settings.directions]
                bar.step()
    learned.layers += [row for of_run in rows for row in of_run]
    return list(subspaces)


def _overlap_rows(first: Subspaces, second: Subspaces) -> list[dict[str, Any]]:
    """Return a row for each layer that two runs share and both have changed."""
    rows = []
    for name in first.keys() & second.keys():
        (left, right), (left_b, right_b) = first[name], second[name]
        if not left.shape[1] or not left_b.shape[1] or len(left) != len(left_b) or len(right) != len(right_b):
            continue
        rows.append(
            {
                "layer": name,
                "left": overlap(left, left_b),
                "right": overlap(right, right_b),
                "left_random": random_overlap(left, left_b),
                "right_random": random_overlap(right, right_b),
            }
        )
    order = list(first)
    return sorted(rows, key=lambda row: order.index(row["layer"]))


def _who(tuned: Tuned) -> dict[str, Any]:
    """Return the columns that say what a row is about."""
    return {"task": tuned.task, "method": tuned.method, "seed": tuned.seed, "run": str(tuned.folder)}


def _other(tuned: Tuned) -> dict[str, Any]:
    return {f"{name}_b": value for name, value in _who(tuned).items()}
