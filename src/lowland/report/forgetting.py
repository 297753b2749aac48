"""Reports of `lowland retention` and `lowland rewind`: tables of figures, and verdicts in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.evidence.core.wording import score_name
from lowland.evidence.verdict import Verdict
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Paragraph, Section, Table
from lowland.report.verdict import verdict_blocks

Figures = Mapping[str, float]
"""Figures of one model by name: `accuracy` of a probe; or `loss` and `perplexity`."""
TITLES = {
    "accuracy": "probe accuracy",
    "loss": "loss (mean of the texts, nats per token)",
    "perplexity": "perplexity (all tokens)",
}


def retention_blocks(
    figures: Mapping[str, Figures],
    seeds: Mapping[str, int],
    texts: str,
    majority: float | None,
    verdicts: Sequence[Sequence[Verdict]],
) -> list[Block]:
    """Build the report of a base model and its tuned versions on other texts.

    Args:
        figures: figures of each method, means over its seeds; the base model comes first.
        seeds: number of seeds of each method.
        texts: number and source of the texts, in words.
        majority: share of the most frequent label; None for texts without labels.
        verdicts: comparisons with the base model, then those with the reference method if there are any.
    """
    names = list(next(iter(figures.values())))
    rows = tuple(
        (method, str(seeds[method]), *(f"{values[name]:.4f}" for name in names))
        for method, values in figures.items()
    )
    if majority is not None:
        rows += (("majority", "", f"{majority:.4f}"),)
    blocks: list[Block] = [Paragraph(f"Retention on {visible(texts)}, means over seeds:")]
    blocks.append(Table(("method", "seeds", *(TITLES[name] for name in names)), rows))
    for compared in verdicts:
        if compared:
            title = f"Against {compared[0].comparison.reference}"
            blocks.append(Section(title, tuple(verdict_blocks(compared, flips=0))))
    return blocks


def rewind_blocks(
    validation: Mapping[float, Figures],
    examples: int,
    chosen: float,
    tests: Mapping[float, Mapping[str, Figures]],
    retention: Mapping[float, Figures],
    retention_of_base: Figures | None,
    verdicts: Sequence[Verdict],
) -> list[Block]:
    """Build the report of a run whose adapter was scaled.

    Args:
        validation: scores on the validation data, by scale, the one that decides first.
        examples: number of validation examples.
        chosen: the chosen scale.
        tests: scores of the tested scales, by test set.
        retention: figures on other texts, by scale; empty without them.
        retention_of_base: those of the base model.
        verdicts: comparison of the chosen scale with the adapter as trained, on test data; empty if they are the same.
    """
    score = next(iter(validation[chosen]))
    name = score_name(score)
    blocks: list[Block] = [_scales(validation, chosen, retention, retention_of_base)]
    best = validation[chosen][score]
    equal = sum(values[score] == best for values in validation.values())
    of_equals = f", the smallest of {equal} scales with this value" if equal > 1 else ""
    where = f"on {plural(examples, 'validation example')}"
    blocks.append(Paragraph(f"The chosen scale is {chosen:g}: {name} {best:.4f} {where}{of_equals}."))
    for split in next(iter(tests.values())):
        names = list(tests[chosen][split])
        rows = tuple(
            (f"{scale:g}", *(f"{sets[split][each]:.4f}" for each in names)) for scale, sets in tests.items()
        )
        blocks += [Paragraph(f"Test set '{split}':"), Table(("scale", *map(score_name, names)), rows)]
    if verdicts:
        blocks.append(Bullets(tuple(map(str, verdicts))))
    return blocks


def _scales(
    validation: Mapping[float, Figures],
    chosen: float,
    retention: Mapping[float, Figures],
    retention_of_base: Figures | None,
) -> Table:
    """Return the table of all scales; the base model is a row if there are other texts."""
    names = list(next(iter(validation.values())))
    others = list(retention_of_base or ())
    rows: list[tuple[str, ...]] = []
    if retention_of_base is not None:
        rows.append(("base", *("" for _ in names), *(f"{retention_of_base[other]:.4f}" for other in others)))
    for scale, scores in validation.items():
        mark = " (chosen)" if scale == chosen else ""
        figures = (f"{retention[scale][other]:.4f}" for other in others)
        rows.append((f"{scale:g}{mark}", *(f"{scores[name]:.4f}" for name in names), *figures))
    header = (f"validation {score_name(name)}" for name in names)
    return Table(("scale", *header, *(f"retention: {TITLES[other]}" for other in others)), tuple(rows))
