"""Verdicts in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowland.evidence.calibration import STUDIES
from lowland.evidence.core.exact import unseen_share
from lowland.evidence.core.wording import examples_words, points, quantities, score_name
from lowland.ground.mistakes import plural

if TYPE_CHECKING:
    from lowland.evidence.core.pairs import PairedComparison
    from lowland.evidence.verdict import Verdict

WITHOUT_WIDTH = {
    "non-inferior": "is non-inferior",
    "inferior": "is inferior",
    "inconclusive": "may lose more",
}
"""Words for the outcome of a margin if all differences are equal; the interval then has no width."""


def sentence(verdict: Verdict, comparisons: int = 1) -> str:
    """Return the verdict in one or two plain sentences.

    Args:
        verdict: the verdict.
        comparisons: number of comparisons of the call.
    """
    compared = verdict.comparison
    name, method, reference = score_name(compared.metric), compared.method, compared.reference
    if verdict.outcome == "identical":
        return f"The scores of {method} and {reference} are the same on all {_basis(verdict)}."
    difference, low, high = numbers(verdict, [compared.difference, compared.low, compared.high])
    p = f"p {p_words(compared.p)}" + (f", {p_words(verdict.p_holm)} by Holm" if comparisons > 1 else "")
    interval = f"{100 * compared.level:g} % interval {low} to {high}; {p}; {_basis(verdict)}"
    if verdict.outcome == "undecided":
        signed = difference if difference.startswith("-") else f"+{difference}"
        if compared.standard_error == 0:
            return (
                f"All differences in {name} between {method} and {reference} are {difference}{_unit(verdict)};"
                f" {_basis(verdict)} are too few to show a difference (p {p_words(compared.p)})."
            )
        if compared.is_share and compared.detectable > 1:
            return (
                f"These results do not show a difference in {name} between {method} and {reference}, and could show"
                f" none: they are too few ({interval})."
            )
        seen = numbers(verdict, [compared.detectable])[0]
        return (
            f"These results do not show a difference in {name} between {method} and {reference}:"
            f" {signed}{_unit(verdict)} ({interval}). A difference of about {seen}{_unit(verdict)} would be seen in"
            " 80 % of such comparisons."
        )
    size = difference.lstrip("-")
    return f"{method} is {verdict.outcome} than {reference} in {name} by {size}{_unit(verdict)} ({interval})."


def details(verdict: Verdict) -> list[str]:
    """Return the sentences that stand behind a verdict."""
    compared, pairing = verdict.comparison, verdict.pairing
    lines = []
    if verdict.margin_outcome is not None:
        lines.append(margin_sentence(verdict))
    if verdict.needed is not None:
        lines.append(needed_sentence(verdict))
    lines.append(
        f"{compared.method} scores {plural(len(verdict.fixed), 'example')} better than {compared.reference}, and"
        f" {plural(len(verdict.broken), 'example')} worse; effect size {verdict.effect_size:.2f} (difference over the"
        " standard deviation of the examples' differences)."
    )
    if compared.standard_error == 0 and compared.difference != 0:
        lines.append("All differences are equal, so p is that of a sign test, and the interval has no width.")
    if not compared.over_seeds:
        lines.append(
            "The interval speaks of other examples of the same kind. What another run, with another seed, would score,"
            f" {'one seed' if pairing.seeds else 'results without seeds'} cannot say."
        )
    if test := ", ".join(f"{test.name} p {p_words(test.p)} ({test.assumes})" for test in verdict.t_tests):
        lines.append(f"For comparison: {test}.")
    if verdict.false_verdicts is not None:
        lines.append(
            f"A/A: of {STUDIES:,} simulated studies that vary as this one does, and have no difference,"
            f" {100 * verdict.false_verdicts:.1f} % get a verdict; {100 * (1 - compared.level):.3g} % should."
        )
    ours, theirs = pairing.unpaired
    if ours or theirs:
        lines.append(
            f"Left out, since they do not pair: {plural(ours, 'example')} of {compared.method}, and"
            f" {plural(theirs, 'example')} of {compared.reference}."
        )
    if pairing.unpaired_seeds:
        lines.append(f"Left out, since only one of both has them: seeds {', '.join(pairing.unpaired_seeds)}.")
    if pairing.repeats > 1:
        lines.append(f"Repeats of an example (up to {pairing.repeats}) count as one, by their mean.")
    return lines


def margin_sentence(verdict: Verdict) -> str:
    """Say whether the loss is within the margin."""
    compared = verdict.comparison
    margin = _amount(verdict, float(verdict.margin or 0))
    low, high = numbers(verdict, [compared.low, compared.high])
    if unseen_loss(compared) > 0:
        (unseen,) = numbers(verdict, [unseen_loss(compared)])
        return (
            f"Against a margin of {margin}, {compared.method} {WITHOUT_WIDTH[str(verdict.margin_outcome)]}: all"
            f" differences are {low}{_unit(verdict)}, and {_basis(verdict)} leave room for a mean that is"
            f" {unseen}{_unit(verdict)} away."
        )
    match verdict.margin_outcome:
        case "non-inferior":
            return f"{compared.method} is non-inferior: it loses at most {margin} (the interval begins at {low})."
        case "inferior":
            return (
                f"{compared.method} is inferior: it loses more than {margin} (the interval ends at {high})."
            )
        case _:
            return (
                f"Whether {compared.method} loses at most {margin} is inconclusive: the interval, {low} to {high},"
                " reaches beyond it."
            )


def unseen_loss(compared: PairedComparison) -> float:
    """Return how far the true mean can be from differences that are all equal, so that the interval has no width.

    Of scores in [0, 1], a group that differs changes the mean by at most 1 over their number; of other scores nothing
    is known, and the result is 0.
    """
    if compared.standard_error > 0 or not compared.is_share:
        return 0.0
    return unseen_share(compared.n_groups, compared.level)


def needed_sentence(verdict: Verdict) -> str:
    """Say what it would take to see the difference that was asked for."""
    needed, compared = verdict.needed, verdict.comparison
    assert needed is not None
    goal = _amount(verdict, needed.difference / verdict.unit)
    unit = "examples" if compared.n_groups == compared.n_examples else "groups of examples"
    seeds = f" with {plural(len(compared.per_seed), 'seed')}" if verdict.pairing.seeds else ""
    parts = [
        f"no number of {unit}{seeds} would do"
        if needed.examples is None
        else f"about {needed.examples:,} {unit}{seeds} are needed (here: {compared.n_groups:,})"
    ]
    if verdict.pairing.seeds and compared.over_seeds:
        parts.append(
            "no number of seeds with these examples would do"
            if needed.seeds is None
            else f"{needed.seeds:,} seeds with these examples (here: {len(compared.per_seed)})"
        )
    return f"To see a difference of {goal} in 80 % of such comparisons, {', or '.join(parts)}."


def _basis(verdict: Verdict) -> str:
    compared = verdict.comparison
    seeds = f", {plural(len(compared.per_seed), 'seed')}" if verdict.pairing.seeds else ""
    return f"{examples_words(compared.n_examples, compared.n_groups).replace('test ', '')}{seeds}"


def numbers(verdict: Verdict, values: list[float]) -> list[str]:
    """Write differences: in points where all scores are in [0, 1]."""
    return points(values) if verdict.comparison.is_share else quantities(values)


def _amount(verdict: Verdict, value: float) -> str:
    """Write a difference that the user gave, with its unit: `1 point`, `0.5 points`."""
    unit = _unit(verdict)
    return f"{value:g}{unit.removesuffix('s') if value == 1 else unit}"


def _unit(verdict: Verdict) -> str:
    return " points" if verdict.comparison.is_share else ""


def p_words(p: float) -> str:
    """Write a p-value."""
    return "below 0.0001" if p < 1e-4 else f"{p:.2g}"
