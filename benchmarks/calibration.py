"""How often each rule for a paired difference gives a false verdict, and how often it sees a difference, by simulation.

    python benchmarks/calibration.py --trials 2000 --out docs/results/calibration.json

Two methods are trained with the same S seeds and tested on the same N examples. An answer has the latent value

    level + difficulty(example) + taste(method, example) + start(seed, example)
          + luck(method, seed) + chance(method, seed, example)

with normal terms whose variances without luck sum to 1. It is right if the value is positive; in the settings whose
scores are no 0 or 1, the score is a function of the value. In the settings with groups, four examples share difficulty
and taste. Both methods are equally good, so each verdict "better" or "worse" is false. Power is measured at a true
difference of 2.8 standard errors, which a test that knows the standard error would see in 80 % of studies.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from lowland.evidence.core.variances import Variances, half_width
from lowland.ground.provenance import code

Array = npt.NDArray[np.floating]
EFFECT = 2.8
LEVEL = 0.95
Z = float(stats.norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Setting:
    """Setting of the simulation.

    Attributes:
        seeds: S.
        examples: N.
        accuracy: share of right answers, of both methods.
        seed_sd: standard deviation of the true difference over seeds: a number of points, or "0.15 logits".
        taste: variance of each method's taste for examples.
        difficulty: variance of the examples' difficulty.
        scores: "right": 0 or 1; "share": between 0 and 1; "loss": positive, with a long tail.
        group: number of examples in a group.
    """

    seeds: int
    examples: int
    accuracy: float = 0.85
    seed_sd: float | str = 0.0
    taste: float = 0.04
    difficulty: float = 0.76
    scores: str = "right"
    group: int = 1


SEEDS, SEED_SDS = (2, 3, 5, 10), (0.0, 0.5, 2.0, "0.15 logits")


def settings() -> list[Setting]:
    """Return the grid, which was fixed before any rule was tried on it."""
    grid = [
        Setting(seeds, examples, accuracy, seed_sd)
        for seeds, examples, accuracy, seed_sd in itertools.product(
            SEEDS, (100, 300, 1000, 3000), (0.6, 0.85, 0.98), SEED_SDS
        )
    ]
    for seeds, seed_sd in itertools.product(SEEDS, (0.0, 2.0)):
        grid += [
            Setting(seeds, 300, seed_sd=seed_sd, taste=0.0, difficulty=0.8),  # differ by chance alone
            Setting(seeds, 300, seed_sd=seed_sd, taste=0.2, difficulty=0.6),  # differ much by example
            Setting(seeds, 400, seed_sd=seed_sd, taste=0.2, difficulty=0.6, group=4),
            Setting(seeds, 300, seed_sd=seed_sd, scores="share"),
            Setting(seeds, 300, seed_sd=seed_sd, scores="loss"),
        ]
    return grid


@dataclass(frozen=True)
class Studies:
    """What many studies of one setting show.

    Attributes:
        seeds: S.
        groups: G.
        mean: (T,) difference.
        variances: their parts, (T,) each.
    """

    seeds: int
    groups: int
    mean: Array
    variances: Variances


def simulate(setting: Setting, trials: int, rng: np.random.Generator) -> Studies:
    """Draw studies, some at a time."""
    size = max(1, 20_000_000 // (setting.seeds * setting.examples * 2))
    counts = [size] * (trials // size) + ([trials % size] if trials % size else [])
    differences = [parts_of(draw(setting, count, rng), setting.group) for count in counts]
    mean, *parts = (np.concatenate(values) for values in zip(*differences, strict=True))
    return Studies(setting.seeds, setting.examples // setting.group, mean, Variances(*parts))


def draw(setting: Setting, trials: int, rng: np.random.Generator) -> Array:
    """Draw score differences (trials, S, N)."""
    s, n, groups = setting.seeds, setting.examples, setting.examples // setting.group
    start = 0.04
    chance = 1 - setting.difficulty - setting.taste - start
    slope = float(stats.norm.pdf(stats.norm.ppf(setting.accuracy)))
    share = (
        0.15 * setting.accuracy * (1 - setting.accuracy) * np.sqrt(2)
        if isinstance(setting.seed_sd, str)
        else setting.seed_sd / 100
    )
    luck = (share / slope) ** 2 / 2

    def normal(variance: float, *shape: int) -> Array:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(variance))

    def of_groups(variance: float) -> Array:
        return normal(variance, trials, 1, groups).repeat(setting.group, axis=-1)

    shared = of_groups(setting.difficulty) + normal(start, trials, s, n)
    shared += np.float32(stats.norm.ppf(setting.accuracy))
    first, second = (
        shared + of_groups(setting.taste) + normal(luck, trials, s, 1) + normal(chance, trials, s, n)
        for _ in range(2)
    )
    score: Callable[[Array], Array] = {
        "right": lambda value: (value > 0).astype(np.float32),
        "share": lambda value: stats.norm.cdf(2 * value).astype(np.float32),
        "loss": np.exp,
    }[setting.scores]
    return score(first) - score(second)


def parts_of(difference: Array, group: int) -> tuple[Array, Array, Array, Array]:
    """Return the mean and the parts of its variance, (T,) each, of differences (T, S, N) in equal groups."""
    trials, s, n = difference.shape
    of_groups = difference.reshape(trials, s, n // group, group).mean(axis=-1).astype(np.float64)
    per_seed = of_groups.mean(axis=-1)
    deviation = of_groups - per_seed[..., None]
    count = of_groups.shape[-1]
    scale = 1 / (count * (count - 1))
    together = deviation.mean(axis=1)
    examples = scale * (together**2).sum(axis=-1)
    rest = deviation - together[:, None]
    interaction = scale * (rest**2).sum(axis=(1, 2)) / ((s - 1) * s)
    return per_seed.mean(axis=-1), per_seed.var(axis=-1, ddof=1) / s, examples, interaction


def _used(studies: Studies) -> Array:
    return half_width(studies.variances, studies.seeds, studies.groups, LEVEL)


def _sum(studies: Studies) -> Array:
    """A + B with the weighted t of Cochran and Cox: lowland's rule until November 2026."""
    a, b = studies.variances.seeds, studies.variances.examples
    t_a, t_b = stats.t.ppf((1 + LEVEL) / 2, [studies.seeds - 1, studies.groups - 1])
    error = np.sqrt(a + b)
    return np.asarray((t_a * a + t_b * b) / np.where(error > 0, error, 1))


def _reml(studies: Studies) -> Array:
    """Crossed random effects of seeds and examples by REML (closed form for a whole table), with Satterthwaite's df."""
    v, s, g = studies.variances, studies.seeds, studies.groups
    both = (s - 1) * (g - 1)
    no_seeds, no_examples = v.seeds < v.interaction, v.examples < v.interaction
    pooled_a = ((s - 1) * v.seeds + both * v.interaction) / (s - 1 + both)
    pooled_b = ((g - 1) * v.examples + both * v.interaction) / (g - 1 + both)
    error = np.where(no_seeds, pooled_a, np.where(no_examples, pooled_b, v.interaction))
    total = np.maximum(v.seeds, error) + np.maximum(v.examples, error) - error
    below = (
        np.where(no_seeds, 0, v.seeds**2 / (s - 1))
        + np.where(no_examples, 0, v.examples**2 / (g - 1))
        + np.where(no_seeds & no_examples, error**2 / both, 0)
    )
    df = np.where(below > 0, total**2 / np.where(below > 0, below, 1), g - 1)
    return np.asarray(stats.t.ppf((1 + LEVEL) / 2, df) * np.sqrt(total))


def _over_seeds(studies: Studies) -> Array:
    return np.asarray(stats.t.ppf((1 + LEVEL) / 2, studies.seeds - 1) * np.sqrt(studies.variances.seeds))


def _over_examples(studies: Studies) -> Array:
    quantile = stats.t.ppf((1 + LEVEL) / 2, studies.groups - 1)
    return np.asarray(quantile * np.sqrt(studies.variances.examples))


RULES: Mapping[str, Callable[[Studies], Array]] = {
    "used": _used,
    "A + B, weighted t": _sum,
    "mixed model (REML), Satterthwaite": _reml,
    "t over seeds": _over_seeds,
    "t over examples": _over_examples,
}


def measure(setting: Setting, trials: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return rates of false verdicts, power and mean widths of all rules in one setting."""
    studies = simulate(setting, trials, rng)
    error = studies.mean.std()
    rules = {}
    for name, rule in RULES.items():
        half = rule(studies)
        seen = np.mean([np.abs(studies.mean + sign * EFFECT * error) > half for sign in (-1, 1)])
        rules[name] = {
            "false": round(float((np.abs(studies.mean) > half).mean()), 4),
            "power": round(float(seen), 4),
            "width": round(float(2 * half.mean() / error), 3) if error else 0.0,
        }
    return {"setting": asdict(setting), "rules": rules}


def summary(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each rule and number of seeds: range of false verdicts, and mean power."""
    for seeds, name in itertools.product(SEEDS, RULES):
        own = [row["rules"][name] for row in rows if row["setting"]["seeds"] == seeds]
        false = [rule["false"] for rule in own]
        within = np.mean([0.035 <= rate <= 0.06 for rate in false])
        yield (
            f"S = {seeds:2}  {name:36} false {min(false):.3f} to {max(false):.3f}, {within:4.0%} within 3.5 to 6 %,"
            f" power {np.mean([rule['power'] for rule in own]):.3f}"
        )


def main() -> None:
    """Simulate, print a summary, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="number of studies of each setting")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    rows = []
    for number, setting in enumerate(settings()):
        rows.append(measure(setting, arguments.trials, np.random.default_rng(number)))
    print("\n".join(summary(rows)))
    if arguments.out is not None:
        found = {"benchmark": "calibration", "code": code(), "trials": arguments.trials, "rows": rows}
        arguments.out.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
