"""Report of a verdict: one plain sentence for each comparison, then what stands behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lowland.evidence.core.wording import score_name
from lowland.evidence.verdict import Flip, Verdict
from lowland.evidence.verdict_sentences import details, numbers, p_words, sentence
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Quoted, Section, Table

SHOWN = 5
"""Number of examples shown for each direction of flips."""
LONGEST = 100
"""Number of characters shown of a text."""


def verdict_blocks(verdicts: Sequence[Verdict], flips: int = SHOWN) -> list[Block]:
    """Build the report of the verdicts of one call.

    Args:
        verdicts: verdicts against one reference.
        flips: number of examples to show for each direction.
    """
    blocks: list[Block] = [Bullets(tuple(sentence(verdict, len(verdicts)) for verdict in verdicts))]
    blocks.append(_table(verdicts))
    for verdict in verdicts:
        name = verdict.comparison.method
        inner: list[Block] = [Bullets(tuple(details(verdict)))]
        for kind, found in (("better", verdict.fixed), ("worse", verdict.broken)):
            if found and flips:
                inner += [
                    Paragraph(f"Examples that {name} scores {kind}, the largest differences first:"),
                    _flips(found[:flips]),
                ]
        blocks.append(Section(f"{name} against {verdict.comparison.reference}", tuple(inner)))
    return blocks


def verdicts_as_json(verdicts: Sequence[Verdict], flips: int = SHOWN) -> list[dict[str, Any]]:
    """Return the verdicts as plain values; differences are in the unit of the scores."""
    rows = []
    for verdict in verdicts:
        compared, pairing = verdict.comparison, verdict.pairing
        rows.append(
            {
                "method": compared.method,
                "reference": compared.reference,
                "metric": compared.metric,
                "outcome": verdict.outcome,
                "sentence": sentence(verdict, len(verdicts)),
                "mean": verdict.mean,
                "mean_reference": verdict.mean_reference,
                "difference": compared.difference,
                "low": compared.low,
                "high": compared.high,
                "level": compared.level,
                "p": compared.p,
                "p_holm": verdict.p_holm,
                "standard_error": compared.standard_error,
                "df": compared.df,
                "per_seed": list(compared.per_seed),
                "detectable": compared.detectable,
                "effect_size": verdict.effect_size,
                "examples": compared.n_examples,
                "groups": compared.n_groups,
                "seeds": list(pairing.seeds),
                "unpaired_examples": list(pairing.unpaired),
                "unpaired_seeds": list(pairing.unpaired_seeds),
                "is_share": compared.is_share,
                "permutation_p": compared.permutation.p,
                "mcnemar_p": [test.p for test in compared.mcnemar],
                "margin": None if verdict.margin is None else verdict.margin * verdict.unit,
                "margin_outcome": verdict.margin_outcome,
                "false_verdicts": verdict.false_verdicts,
                "needed": None if verdict.needed is None else asdict(verdict.needed),
                "t_tests": [asdict(test) for test in verdict.t_tests],
                "better": len(verdict.fixed),
                "worse": len(verdict.broken),
                "examples_better": [asdict(flip) for flip in verdict.fixed[:flips]],
                "examples_worse": [asdict(flip) for flip in verdict.broken[:flips]],
            }
        )
    return [{name: _finite(value) for name, value in row.items()} for row in rows]


def _finite(value: Any) -> Any:
    """Return a value without infinity and NaN, which JSON does not know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(verdicts: Sequence[Verdict]) -> Table:
    first = verdicts[0]
    name = score_name(first.comparison.metric)
    rows: list[tuple[str | Quoted, ...]] = [
        (Quoted(visible(first.comparison.reference)), f"{first.mean_reference:.4f}", "", "", "")
    ]
    for verdict in verdicts:
        compared = verdict.comparison
        difference, low, high = numbers(verdict, [compared.difference, compared.low, compared.high])
        rows.append(
            (
                Quoted(visible(compared.method)),
                f"{verdict.mean:.4f}",
                difference,
                f"{low} to {high}",
                p_words(verdict.p_holm),
            )
        )
    unit = " (points)" if first.comparison.is_share else ""
    level = f"{100 * first.comparison.level:g} % interval"
    return Table(
        ("", name, f"difference{unit}", level, "p (Holm)" if len(verdicts) > 1 else "p"), tuple(rows)
    )


def _flips(flips: Sequence[Flip]) -> Table:
    has_text = any(flip.text for flip in flips)
    rows = tuple(
        (
            Quoted(visible(flip.example)),
            f"{flip.difference:+.3g}",
            *((Quoted(_short(flip.text)),) if has_text else ()),
        )
        for flip in flips
    )
    return Table(("example", "difference", *(("text",) if has_text else ())), rows)


def _short(text: str) -> str:
    words = visible(" ".join(text.split()))
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
