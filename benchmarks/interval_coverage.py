"""Coverage and width of 95 % intervals of a paired difference, by simulation.

Two methods are trained with the same S seeds and tested on the same N three-class examples. An answer
is right if

    mean + difficulty(example) + taste(method, example) + start(seed, example)
         + luck(method, seed) + chance(method, seed, example)  >  0

with normal terms whose variances sum to 1, so that the true difference is known. In the clustered
setting four examples form a group (sentences of one template) and share difficulty and taste; there
the interval that resamples groups is compared with the one that resamples examples. Candidate
intervals are compared by coverage and mean width; ``weighted t`` is the library's own rule.

Run: ``python benchmarks/interval_coverage.py [--trials 1000] [--out coverage.json]``
"""

import argparse
import itertools
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy
from scipy import stats

from lowland.evidence import paired_interval, paired_metric_interval
from lowland.evidence.core.intervals import half_width
from lowland.evidence.core.metrics import resample_counts

Array = npt.NDArray[np.floating]
Bounds = tuple[Array, Array]
LEVEL = 0.95
PRIORS = (0.5, 0.3, 0.2)
# Variances of difficulty, taste and start. "usual" methods disagree on about 10 % of examples,
# "near" ones on about 1.5 %, and "seeds only" methods differ only by chance. In "clustered" taste is
# large: resampling examples errs more, the more of the difference a group shares.
KINDS = {
    "usual": (0.80, 0.04, 0.04),
    "seeds only": (0.84, 0.0, 0.04),
    "near": (0.995, 0.001, 0.001),
    "clustered": (0.60, 0.30, 0.02),
}


@dataclass(frozen=True)
class Setting:
    """Setting of a simulation: accuracies of both methods, sd over seeds of their difference, size of groups."""

    kind: str
    seeds: int
    examples: int
    seed_sd: float
    accuracies: tuple[float, float]
    group_size: int = 1


@dataclass(frozen=True)
class Row:
    """Coverage and mean width (in points) of one rule in one setting."""

    setting: Setting
    metric: str
    rule: str
    coverage: float
    width_points: float


def settings() -> list[Setting]:
    """Return every setting of the accuracy table."""
    pairs = [(0.80, 0.80), (0.90, 0.90), (0.88, 0.85)]
    usual = itertools.product((2, 3, 5, 10), (300, 1000), (0.0, 0.005, 0.02), pairs)
    made = [Setting("usual", *values) for values in usual]
    others = itertools.product(
        (("seeds only", (0.85, 0.85)), ("near", (0.89, 0.88))),
        (3, 5, 10),
        (300, 1000),
        (0.0, 0.005),
    )
    return made + [Setting(kind, s, n, sd, pair) for (kind, pair), s, n, sd in others]


def luck_variance(world: Setting) -> float:
    """Return the variance of luck that gives the setting's sd of the accuracy difference over seeds."""
    slope = float(stats.norm.pdf(stats.norm.ppf(np.mean(world.accuracies))))
    return world.seed_sd**2 / (2 * slope**2)


def draw(world: Setting, trials: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw which answers are right, (2, trials, S, N), the method first."""
    difficulty, taste, start = KINDS[world.kind]
    luck = luck_variance(world)
    chance = 1 - difficulty - taste - start - luck
    s, n = world.seeds, world.examples

    def normal(variance: float, *shape: int) -> Array:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(max(variance, 0)))

    def of_groups(variance: float) -> Array:
        drawn = normal(variance, trials, 1, n // world.group_size)
        return drawn.repeat(world.group_size, axis=-1)

    shared = of_groups(difficulty) + normal(start, trials, s, n)
    right = [
        shared
        + np.float32(stats.norm.ppf(share))
        + of_groups(taste)
        + normal(luck, trials, s, 1)
        + normal(chance, trials, s, n)
        > 0
        for share in world.accuracies
    ]
    return np.stack(right)


def t_bounds(mean: Array, variance: Array, df: Array | float) -> Bounds:
    """Return the bounds at Student's quantile."""
    half = stats.t.ppf((1 + LEVEL) / 2, df) * np.sqrt(variance)
    return mean - half, mean + half


def satterthwaite(total: Array, a: Array, b: Array, seeds: int, examples: int) -> Array:
    """Compute the degrees of freedom of a sum of two variances (Satterthwaite 1946)."""
    spread = a**2 / (seeds - 1) + b**2 / (examples - 1)
    return np.maximum(total**2 / np.maximum(spread, 1e-300), min(seeds, examples) - 1)


def candidates(gaps: Array, resamples: int, rng: np.random.Generator) -> dict[str, Bounds]:
    """Compute bounds (trials,) by every rule, from differences of correctness (trials, S, N)."""
    trials, s, n = gaps.shape
    counts = resample_counts(rng, resamples, n).astype(np.float32)  # (R, N)
    means = (gaps.reshape(-1, n) @ counts.T / n).reshape(trials, s, resamples)
    even = np.full(s, 1 / s)
    naive = np.einsum("tsr,rs->tr", means, rng.multinomial(s, even, resamples) / s)
    short = np.einsum("tsr,rs->tr", means, rng.multinomial(s - 1, even, resamples) / (s - 1))
    per_seed = gaps.mean(axis=2, dtype=np.float64)  # (trials, S)
    mean = per_seed.mean(axis=1)
    a = per_seed.var(axis=1, ddof=1) / s
    b = means.mean(axis=1, dtype=np.float64).var(axis=1, ddof=1)
    crossed = short.var(axis=1, ddof=1)
    # interaction, from the bootstrap variance of single seeds
    c = np.maximum((means.var(axis=2, ddof=1).mean(axis=1) - b) / (s - 1), 0)
    less = np.maximum(a + b - c, np.maximum(a, b))
    half = half_width(a, b, s, n, LEVEL)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    t_a, t_b = stats.t.ppf(tails[1], s - 1), stats.t.ppf(tails[1], n - 1)
    quadrature = np.sqrt(t_a**2 * a + t_b**2 * b)
    low, high = np.quantile(naive, tails, axis=1)
    low_short, high_short = np.quantile(short, tails, axis=1)
    return {
        "pigeonhole, percentile": (low, high),
        "Rao-Wu, percentile": (low_short, high_short),
        "Rao-Wu, Satterthwaite": t_bounds(
            mean, crossed, satterthwaite(crossed, a, np.maximum(crossed - a, 0), s, n)
        ),
        "seeds alone, t": t_bounds(mean, a, s - 1),
        "A + B, normal": t_bounds(mean, a + b, np.inf),
        "A + B, Satterthwaite": t_bounds(mean, a + b, satterthwaite(a + b, a, b, s, n)),
        "A + B - C, Satterthwaite": t_bounds(mean, less, satterthwaite(less, a, b, s, n)),
        "A + B, quadrature": (mean - quadrature, mean + quadrature),
        "A + B, weighted t": (mean - half, mean + half),
    }


def score(world: Setting, metric: str, truth: float, rules: dict[str, Bounds]) -> list[Row]:
    """Compute coverage and width of each rule's bounds."""
    return [
        Row(
            world,
            metric,
            rule,
            float(np.mean((low <= truth) & (truth <= high))),
            100 * float(np.mean(high - low)),
        )
        for rule, (low, high) in rules.items()
    ]


def true_f1(world: Setting, share: float, metric: str) -> float:
    """Compute the expected F1 of a run on the whole population, by Gauss-Hermite quadrature over luck."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    luck = luck_variance(world)
    right = stats.norm.cdf((stats.norm.ppf(share) + nodes * np.sqrt(luck)) / np.sqrt(1 - luck))
    prior = np.array(PRIORS)[:, None]  # (3, 1)
    marked = prior * right + (1 - prior) * (1 - right) / 2  # wrong answers split evenly
    f1 = 2 * prior * right / (prior + marked)  # (3, nodes)
    whole = f1.mean(axis=0) if metric == "macro_f1" else (prior * f1).sum(axis=0)
    return float(whole @ weights / weights.sum())


def f1_rows(world: Setting, metric: str, trials: int, rng: np.random.Generator) -> list[Row]:
    """Measure the coverage of the library's own function, in an F1."""
    bounds: list[tuple[float, float]] = []
    for _ in range(trials):
        right = draw(world, 1, rng)[:, 0]  # (2, S, N)
        labels = rng.choice(3, size=world.examples, p=PRIORS)
        wrong = (labels + rng.integers(1, 3, size=right.shape)) % 3
        ours, theirs = np.where(right, labels, wrong)
        interval = paired_metric_interval(labels, ours, theirs, metric=metric, resamples=400)
        bounds.append((interval.low, interval.high))
    low, high = np.array(bounds).T
    first, second = (true_f1(world, share, metric) for share in world.accuracies)
    return score(world, metric, first - second, {"A + B, weighted t": (low, high)})


def clustered_rows(world: Setting, trials: int, rng: np.random.Generator) -> list[Row]:
    """Measure the coverage of the library's own function, in accuracy, resampling examples or groups."""
    groups = np.arange(world.examples) // world.group_size
    resampled = {"A + B, weighted t": None, "weighted t over groups": groups}
    bounds: dict[str, list[tuple[float, float]]] = {rule: [] for rule in resampled}
    for _ in range(trials):
        ours, theirs = draw(world, 1, rng)[:, 0]
        for rule, units in resampled.items():
            interval = paired_interval(ours, theirs, groups=units, resamples=400)
            bounds[rule].append((interval.low, interval.high))
    truth = world.accuracies[0] - world.accuracies[1]
    arrays = {rule: np.array(pairs).T for rule, pairs in bounds.items()}
    return score(world, "accuracy", truth, {rule: (low, high) for rule, (low, high) in arrays.items()})


def measure(trials: int, f1_trials: int, resamples: int, seed: int) -> list[Row]:
    """Run every setting; show progress on stderr."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    worlds = settings()
    for i, world in enumerate(worlds):
        if sys.stderr.isatty():
            print(f"\raccuracy {i + 1}/{len(worlds)}", end="", file=sys.stderr)
        right = draw(world, trials, rng)
        gaps = right[0].astype(np.float32) - right[1]
        truth = world.accuracies[0] - world.accuracies[1]
        rows += score(world, "accuracy", truth, candidates(gaps, resamples, rng))
    for s, sd, pair in itertools.product((3, 10), (0.0, 0.02), ((0.85, 0.85), (0.88, 0.85))):
        metric = "macro_f1" if s == 3 else "weighted_f1"
        rows += f1_rows(Setting("usual", s, 300, sd, pair), metric, f1_trials, rng)
    return rows + clustered_rows(Setting("clustered", 3, 432, 0.0, (0.85, 0.85), 4), trials, rng)


def table(rows: list[Row]) -> str:
    """Format least and mean coverage and mean width in points, by kind of setting, seeds and rule."""
    head = f"{'world':<12}{'metric':<13}{'S':>3}  {'rule':<26}"
    lines = [f"{head}{'least':>7}{'mean':>7}{'width':>7}"]
    groups: dict[tuple[str, str, int, str], list[Row]] = {}
    for row in rows:
        key = (row.setting.kind, row.metric, row.setting.seeds, row.rule)
        groups.setdefault(key, []).append(row)
    for (kind, metric, s, rule), group in groups.items():
        covers = [row.coverage for row in group]
        width = float(np.mean([row.width_points for row in group]))
        lines.append(
            f"{kind:<12}{metric:<13}{s:>3}  {rule:<26}{min(covers):>7.3f}{np.mean(covers):>7.3f}{width:>7.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table and, with ``--out``, write every row as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="simulated studies for each setting")
    parser.add_argument("--f1-trials", type=int, default=400, help="the same, for the F1 settings")
    parser.add_argument("--resamples", type=int, default=400, help="bootstrap resamples for each study")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    start = time.perf_counter()
    rows = measure(options.trials, options.f1_trials, options.resamples, options.seed)
    seconds = time.perf_counter() - start
    print(table(rows))
    environment = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
    }
    print(f"{seconds:.0f} s; {', '.join(f'{k} {v}' for k, v in environment.items())}")
    if options.out:
        arguments = {k: v for k, v in vars(options).items() if k != "out"}
        whole = {
            "arguments": arguments,
            "environment": environment,
            "seconds": seconds,
            "rows": [asdict(row) for row in rows],
        }
        options.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
