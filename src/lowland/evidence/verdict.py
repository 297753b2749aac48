"""Verdict: which of two results is better, how sure that is, and what it would take to know."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lowland.evidence.calibration import false_verdicts
from lowland.evidence.core.arrays import check_groups, count_groups
from lowland.evidence.core.by_item import holm
from lowland.evidence.core.intervals import variances_of
from lowland.evidence.core.pairs import PairedComparison, compare_scores
from lowland.evidence.core.variances import Variances, detectable_difference, equivalent_df, half_width
from lowland.evidence.pairing import Pairing, pair
from lowland.evidence.results import Results
from lowland.evidence.t_tests import TTest, t_tests
from lowland.evidence.verdict_sentences import margin_sentence, needed_sentence, sentence, unseen_loss
from lowland.ground.mistakes import Mistake

Outcome = Literal["better", "worse", "undecided", "identical"]
MarginOutcome = Literal["non-inferior", "inferior", "inconclusive"]


@dataclass(frozen=True)
class Flip:
    """An example that the two results score differently.

    Attributes:
        example: its name.
        text: its text, if it is known.
        difference: mean difference over seeds.
    """

    example: str
    text: str
    difference: float


@dataclass(frozen=True)
class Needed:
    """Numbers of examples or seeds with which 80 % of studies would see a difference.

    Attributes:
        difference: the difference.
        examples: number of examples (groups, where they form groups) with these seeds; None if no number suffices.
        seeds: number of seeds with these examples; None if no number suffices, or the results name no seeds.
    """

    difference: float
    examples: int | None
    seeds: int | None


@dataclass(frozen=True)
class Verdict:
    """Comparison of one result with a reference; differences are result minus reference.

    Attributes:
        comparison: difference, interval, exact tests and detectable difference.
        mean: mean score of the result.
        mean_reference: mean score of the reference.
        outcome: better, worse, undecided or identical, by the interval and by `p_holm`.
        p_holm: p-value with Holm's correction over all comparisons of the call.
        pairing: what was paired, and what was not.
        fixed: examples that the result scores higher, the largest differences first.
        broken: examples that it scores lower, the largest differences first.
        margin: largest loss that counts as none; None if no margin was asked for.
        margin_outcome: whether the loss is within the margin; None if no margin was asked for.
        needed: what it would take to see the difference that was asked for; None if none was.
        false_verdicts: share of simulated studies without a difference that get a verdict; None if they were not asked
            for.
        t_tests: tests that people expect.
        effect_size: difference over the standard deviation of the examples' differences (Cohen's d of pairs); 0 if
            they do not vary.
    """

    comparison: PairedComparison
    mean: float
    mean_reference: float
    outcome: Outcome
    p_holm: float
    pairing: Pairing
    fixed: tuple[Flip, ...]
    broken: tuple[Flip, ...]
    margin: float | None
    margin_outcome: MarginOutcome | None
    needed: Needed | None
    false_verdicts: float | None
    t_tests: tuple[TTest, ...]
    effect_size: float

    def __str__(self) -> str:
        """Return the verdict in one or two plain sentences, and what was asked for beside it."""
        asked = [
            margin_sentence(self) if self.margin_outcome is not None else "",
            needed_sentence(self) if self.needed is not None else "",
        ]
        return " ".join([sentence(self), *filter(None, asked)])

    @property
    def unit(self) -> float:
        """Unit of margins and differences: a point (0.01) where all scores are in [0, 1], else 1."""
        return 0.01 if self.comparison.is_share else 1.0


def compare_results(
    results: Sequence[Results],
    *,
    level: float = 0.95,
    margin: float | None = None,
    detect: float | None = None,
    partial: bool = False,
    calibrate: bool = False,
) -> list[Verdict]:
    """Compare each result with the first.

    Args:
        results: two or more; the first is the reference.
        level: level of the intervals, 0 to 1.
        margin: largest loss that counts as none, in points where all scores are in [0, 1], else in the score's unit.
        detect: difference for which to say what it would take to see it, in the same unit.
        partial: compare however few examples pair.
        calibrate: simulate how often the rule would give a verdict for nothing.

    Raises:
        Mistake: if there is only one result, or two of them cannot be paired.
    """
    if len(results) < 2:
        raise Mistake(
            f"there is only one result, {results[0].name}; name two or more"
            if results
            else "no result is given"
        )
    for name, value in (("margin", margin), ("detect", detect)):
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise Mistake(f"{name} is {value!r}; expected a number above 0")
    _check_units(results)
    reference, *others = results
    verdicts = [
        _verdict(each, reference, pair(each, reference, partial=partial), level, margin, detect)
        for each in others
    ]
    corrected = holm([verdict.comparison.p for verdict in verdicts])
    return [
        replace(
            verdict,
            p_holm=p,
            outcome=_outcome(verdict.comparison, p),
            false_verdicts=_false_verdicts(verdict.pairing, level) if calibrate else None,
        )
        for verdict, p in zip(verdicts, corrected, strict=True)
    ]


def _check_units(results: Sequence[Results]) -> None:
    """Refuse right and wrong as 1 and 0 beside right and wrong as 100 and 0."""
    units = {each.name: set(each.rows["score"].unique()) - {0.0} for each in results}
    shares, percents = ([name for name, unit in units.items() if unit == {right}] for right in (1.0, 100.0))
    if shares and percents:
        raise Mistake(
            f"the scores of {shares[0]} are 0 and 1, and those of {percents[0]} are 0 and 100; bring both to one unit"
        )


def _false_verdicts(pairing: Pairing, level: float) -> float:
    return false_verdicts(pairing.scores, pairing.scores_reference, pairing.groups, level=level)


def _verdict(
    ours: Results,
    reference: Results,
    pairing: Pairing,
    level: float,
    margin: float | None,
    detect: float | None,
) -> Verdict:
    metric = ours.metric if ours.metric == reference.metric else f"{ours.metric} or {reference.metric}"
    comparison = compare_scores(
        pairing.scores,
        pairing.scores_reference,
        method=ours.name,
        reference=reference.name,
        metric=metric,
        seeds=range(len(pairing.scores)),
        groups=pairing.groups,
        level=level,
    )
    unit = 0.01 if comparison.is_share else 1.0
    differences = (pairing.scores - pairing.scores_reference).mean(axis=0)
    spread = float(differences.std(ddof=1))
    return Verdict(
        comparison=comparison,
        mean=float(pairing.scores.mean()),
        mean_reference=float(pairing.scores_reference.mean()),
        outcome=_outcome(comparison, comparison.p),
        p_holm=comparison.p,
        pairing=pairing,
        fixed=_flips(pairing, differences),
        broken=_flips(pairing, -differences, sign=-1),
        margin=margin,
        margin_outcome=None if margin is None else _margin_outcome(comparison, margin * unit),
        needed=None
        if detect is None or comparison.identical
        else _needed(pairing, comparison, detect * unit),
        false_verdicts=None,
        t_tests=t_tests(pairing.scores, pairing.scores_reference),
        effect_size=float(differences.mean()) / spread if spread > 0 else 0.0,
    )


def _outcome(comparison: PairedComparison, p: float) -> Outcome:
    if comparison.identical:
        return "identical"
    if p >= 1 - comparison.level:
        return "undecided"
    return "better" if comparison.difference > 0 else "worse"


def _margin_outcome(comparison: PairedComparison, margin: float) -> MarginOutcome:
    reach = unseen_loss(comparison)
    if comparison.low - reach > -margin:
        return "non-inferior"
    return "inferior" if comparison.high + reach < -margin else "inconclusive"


def _flips(pairing: Pairing, differences: np.ndarray, sign: int = 1) -> tuple[Flip, ...]:
    """Return the examples with positive differences, the largest first."""
    order = np.argsort(-differences, kind="stable")
    return tuple(
        Flip(pairing.examples[n], pairing.texts[n], sign * float(differences[n]))
        for n in order
        if differences[n] > 1e-12
    )


def _needed(pairing: Pairing, comparison: PairedComparison, difference: float) -> Needed:
    """Return the smallest numbers of examples and of seeds that suffice, if the variances are what they seem."""
    member = check_groups(pairing.groups, len(pairing.examples))
    groups, seeds = count_groups(member), len(pairing.scores)
    now = variances_of(pairing.scores - pairing.scores_reference, member)
    of_seeds = max(float(now.seeds - now.interaction), 0.0) * seeds
    of_examples, of_both = float(now.examples_alone) * groups, float(now.interaction) * groups * seeds

    def sees(s: int, g: int) -> bool:
        both = of_both / (s * g)
        parts = [of_seeds / s + both if s > 1 else 0.0, of_examples / g + both, both if s > 1 else 0.0]
        variances = Variances(*map(np.array, parts))
        error = float(np.sqrt(variances.used))
        if error == 0:
            return True
        quantile = float(half_width(variances, s, g, comparison.level)) / error
        df = equivalent_df(quantile, s, g, comparison.level)
        return detectable_difference(error, df, level=comparison.level) <= difference

    return Needed(
        difference,
        examples=_smallest(lambda g: sees(seeds, g), 2, 10**8),
        seeds=_smallest(lambda s: sees(s, groups), 2, 10_000) if pairing.seeds and seeds > 1 else None,
    )


def _smallest(suffices: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the smallest whole number that suffices, given that all larger ones do; None if `most` does not."""
    if not suffices(most):
        return None
    low, high = least, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low
