"""Files as `lowland measure` writes them with `--out`, for runs that were never trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

Runs = Mapping[str, tuple[str, int]]
"""Method and seed of each run, by the name of its folder."""
SPACES = {"full": lambda method: True, "adapter": lambda method: "lora" in method}
"""Which methods have each space."""


def runs_of(methods: Sequence[str] = ("lora", "flat-lora"), seeds: int = 3) -> dict[str, tuple[str, int]]:
    """Runs of a study."""
    return {f"toy-{method}-s{seed}": (method, seed) for method in methods for seed in range(1, seeds + 1)}


def runs_in(folder: Path) -> dict[str, tuple[str, int]]:
    """Runs in a folder of runs."""
    names = sorted(path.name for path in folder.iterdir())
    records = [json.loads((folder / name / "record.json").read_text("utf-8"))["asked"] for name in names]
    return {
        name: (asked["method"]["label"], asked["seed"]) for name, asked in zip(names, records, strict=True)
    }


def sharpness_table(
    runs: Runs,
    splits: Sequence[str] = ("train", "test"),
    examples: int = 16,
    flatter: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Rises of the loss; a method in `flatter` has its share of the others' rise."""
    rng, parts = np.random.default_rng(0), []
    hard = rng.uniform(0.5, 1.5, examples)
    strengths = [("expected", sigma, draw) for sigma in (0.05, 0.1, 0.2) for draw in range(2)]
    strengths += [("sam", 0.05, 0), ("worst", 0.05, 0), ("adaptive", 0.001, 0)]
    for run, (method, seed) in runs.items():
        for split in splits:
            for space in (name for name, has in SPACES.items() if has(method)):
                for measure, strength, draw in strengths:
                    rise = strength * hard * (flatter or {}).get(method, 1.0) + rng.normal(0, 0.001, examples)
                    parts.append(
                        pd.DataFrame({"example": range(examples), "rise": rise}).assign(
                            task="toy", run=run, method=method, seed=seed, split=split, space=space,
                            measure=measure, strength=strength, draw=draw, loss=0.3,
                        )
                    )  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    return table.assign(group=[f"g{example}" for example in table["example"]])


def spectrum_table(runs: Runs, points: int = 200) -> pd.DataFrame:
    """Eigenvalues, trace and density of each run."""
    rng, rows = np.random.default_rng(0), []
    for run, (method, seed) in runs.items():
        for space in (name for name, has in SPACES.items() if has(method)):
            about = {
                "task": "toy", "run": run, "method": method, "seed": seed, "split": "train", "examples": 32,
                "probes": 3, "space": space,
            }  # fmt: skip

            def add(matrix: str, quantity: str, index: int, value: float, at: float = np.nan) -> None:
                row = {"matrix": matrix, "quantity": quantity, "index": index, "at": at, "value": value}
                error = 0.05 if quantity == "trace" else 0.001
                rows.append({**about, **row, "error": error * abs(value)})  # noqa: B023

            add("", "loss", 1, 0.3)
            for matrix in ("hessian", "gauss-newton"):
                largest = 100 + rng.normal(0, 5)
                for index in range(1, 5):
                    add(matrix, "eigenvalue", index, largest / index)
                add(matrix, "smallest_eigenvalue", 1, -largest / 4 if matrix == "hessian" else 0.0)
                add(matrix, "trace", 1, 3 * largest)
                grid = np.linspace(-30, 1.05 * largest, points)
                for index, at in enumerate(grid, start=1):
                    add(matrix, "density", index, float(np.exp(-((at / 8) ** 2)) + 1e-9), float(at))
    return pd.DataFrame(rows)


def adapters_table(runs: Runs, folder: str = "/runs", layers: int = 6) -> pd.DataFrame:
    """Figures of layers, overlaps and drifts."""
    rng, rows = np.random.default_rng(0), []
    names = [f"encoder.layer.{n}.{module}" for n in range(layers) for module in ("query", "dense")]
    named = list(runs.items())
    for run, (method, seed) in named:
        who = {"task": "toy", "method": method, "seed": seed, "run": f"{folder}/{run}"}
        has_rank = "lora" in method
        for layer in (*names, "pooler.dense"):
            used = rng.uniform(4, 8)
            rows.append(
                {
                    "part": "layer", **who, "layer": layer, "rank": 8 if has_rank else None,
                    "scaling": 2.0 if has_rank else None, "norm_a": 1.0 if has_rank else None,
                    "norm_b": 1.0 if has_rank else None, "norm_ba": 0.6 if has_rank else None, "norm_update": 1.2,
                    "relative_update": used / 100, "largest_singular_value": 0.9, "effective_rank": used,
                    "directions_90": 4, "directions_99": 7, "rank_utilisation": used / 8 if has_rank else None,
                    "intruders": int(layer == names[0]), "leading": 10, "least_similarity": 0.4, "k": 10,
                    "epsilon": 0.5,
                }
            )  # fmt: skip
        rows += [
            {"part": "drift", **who, "layer": str(n), "cka": 1 - n / 10, "cosine": 1 - n / 20}
            for n in range(layers + 1)
        ]
    for place, (run, (method, seed)) in enumerate(named):
        for other, (method_b, seed_b) in named[place + 1 :]:
            for layer in names:
                rows.append(
                    {
                        "part": "overlap", "task": "toy", "method": method, "seed": seed, "run": f"{folder}/{run}",
                        "task_b": "toy", "method_b": method_b, "seed_b": seed_b, "run_b": f"{folder}/{other}",
                        "layer": layer, "left": 0.9 if seed == seed_b else 0.1, "right": 0.5, "left_random": 0.01,
                        "right_random": 0.01, "directions": 4,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows).astype({"seed": "Int64", "seed_b": "Int64"})


def leave_slices(folder: Path, runs: Sequence[str], bump: float = 0.5, grid: int = 5) -> Path:
    """Slices of the line between two runs, which has a barrier, and of the plane through them and their base."""
    first, second = runs
    places = {"base": [0.0, 0.0], "lora, seed 1": [4.0, 0.0], "full, seed 1": [1.0, 3.0]}
    parts, examples = [], np.arange(6)

    def add(name: str, x: float, y: float, loss: float) -> None:
        for split in ("train", "test"):
            losses = loss + 0.01 * (examples - 2.5)
            parts.append(
                pd.DataFrame({"x": x, "y": y, "example": examples, "loss": losses}).assign(
                    slice=name, split=split
                )
            )

    for x in np.linspace(0, 1, 5):
        add("line", float(x), 0.0, 0.3 + 4 * bump * float(x * (1 - x)))
    for x in np.linspace(-1, 5, grid):
        for y in np.linspace(-1, 4, grid):
            add("plane", float(x), float(y), float(0.2 + 0.05 * ((x - 3) ** 2 + (y - 1) ** 2)))
    table = pd.concat(parts, ignore_index=True)
    folder.mkdir()
    table.assign(group=[f"g{n}" for n in table["example"]]).to_parquet(folder / "losses.parquet", index=False)
    content = {
        "task": "toy",
        "runs": {"lora, seed 1": first, "full, seed 1": second},
        "examples": {"train": 6, "test": 6},
        "slices": [
            {
                "name": "line",
                "title": "from lora, seed 1 to full, seed 1",
                "places": {"lora, seed 1": [0.0, 0.0], "full, seed 1": [1.0, 0.0]},
            },
            {
                "name": "plane",
                "title": "the plane through base, lora, seed 1, full, seed 1",
                "places": places,
            },
        ],
        "barriers": [],
    }
    (folder / "slices.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def leave_measurements(folder: Path, runs: Runs) -> list[Path]:
    """All kinds of measurements of some runs, of which there are two or more."""
    folder.mkdir(exist_ok=True)
    measured = {name: run for name, run in runs.items() if run[0] != "bag-of-words"}
    sharpness_table(measured).to_parquet(folder / "sharpness.parquet", index=False)
    spectrum_table(measured).to_parquet(folder / "spectrum.parquet", index=False)
    adapters_table(measured).to_csv(folder / "adapters.csv", index=False)
    slices = leave_slices(folder / "slices", list(measured)[:2])
    return [*(folder / name for name in ("sharpness.parquet", "spectrum.parquet", "adapters.csv")), slices]
