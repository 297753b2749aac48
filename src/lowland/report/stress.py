"""Report of a stress test: a summary for the terminal, and the full report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lowland.evidence.cells import CellDifference
from lowland.evidence.readers.stress_rows import split_rows
from lowland.evidence.stress import StressEvidence, stress_evidence
from lowland.ground.mistakes import plural
from lowland.ground.record_files import read_rows, read_stress_record
from lowland.ground.records import StressRecord, title_of
from lowland.report.behaviour import behaviour_blocks
from lowland.report.blocks import Block, Bullets, Paragraph, Section
from lowland.report.markdown import render
from lowland.report.stress_adapters import adapter_blocks
from lowland.report.stress_record import completeness, settings
from lowland.report.stress_tables import (
    account_table,
    accuracy_table,
    category_table,
    dose_tables,
    example_table,
    mitigation_table,
    reference_table,
    worst_table,
)
from lowland.report.stress_trained import trained_sections
from lowland.report.wording import MISSING, cell_name, p_value, points

RETRIEVER = "lowland/retriever"
SHOWN = 5
"""Greatest number of cells that a sentence lists."""
ABOUT_RETRIEVER = (
    "`lowland/retriever` is not a language model. It embeds a question with MiniLM and returns the answer of the"
    " nearest of its packaged facts, or says that it does not know. It ignores instructions, so that a prompt can"
    " neither help nor harm it. It is deterministic, so that its epochs agree. The test measures how such embeddings"
    " cope with damage; it says nothing about language models."
)


def stress_summary(rows: pd.DataFrame, record: StressRecord) -> str:
    """Return the summary for the terminal: accuracy by condition, the greatest harm, and what mitigations do.

    Args:
        rows: rows of one record, one row for each question.
        record: record of the same run.
    """
    return render(summary_blocks(rows, record))


def stress_markdown(rows: pd.DataFrame, record: StressRecord) -> str:
    """Return the full report as Markdown, with headings of the second level.

    Args:
        rows: rows of one record, one row for each question.
        record: record of the same run.
    """
    return render(report_blocks(rows, record)) + "\n"


def stress_folders(folders: Sequence[Path]) -> str:
    """Return one Markdown document with the full report of several runs, each under a heading of the first level.

    If models with the training of several methods were asked the same questions, a comparison of the methods follows.

    Args:
        folders: folders of stress tests, each with `record.json` and `rows.parquet`.

    Raises:
        Mistake: if a folder holds no stress test that can be read.
    """
    tests = [(read_stress_record(folder), read_rows(folder)) for folder in folders]
    return render([*map(folder_section, folders), *trained_sections(tests)], level=1) + "\n"


def folder_section(folder: Path) -> Section:
    """Build the full report of the stress test in a folder."""
    record, rows = read_stress_record(folder), read_rows(folder)
    asked = record.asked.get("questionnaire") or record.asked
    kind = rows["eval"].iloc[0] if len(rows) else asked.get("eval", "unknown stress test")
    return Section(f"{kind}: {title_of(record.model)}", tuple(report_blocks(rows, record)))


def summary_blocks(rows: pd.DataFrame, record: StressRecord) -> list[Block]:
    """Build the summary for the terminal."""
    blocks: list[Block] = [completeness(record)]
    if rows.empty:
        return blocks
    if _of_adapters(rows):
        return [*blocks, *adapter_blocks(rows, full=False, score=_score_of(record))]
    if _of_behaviour(rows):
        return [*blocks, *behaviour_blocks(rows, record)]
    for block in split_rows(rows):
        evidence = stress_evidence(block)
        if evidence.failed == evidence.asked:
            blocks.append(_no_answers(evidence))
            continue
        blocks += [_heading(evidence), accuracy_table(evidence), _findings(evidence), *_about(evidence)]
    return blocks


def report_blocks(rows: pd.DataFrame, record: StressRecord) -> list[Block]:
    """Build the full report."""
    blocks: list[Block] = [completeness(record), settings(record)]
    if rows.empty:
        return blocks
    if _of_adapters(rows):
        return [*blocks, *adapter_blocks(rows, full=True, score=_score_of(record))]
    if _of_behaviour(rows):
        return [*blocks, *behaviour_blocks(rows, record)]
    for block in split_rows(rows):
        blocks += _full_report(block, stress_evidence(block))
    return blocks


def _score_of(record: StressRecord) -> str:
    """Return what the mean score of fine-tuned runs is called."""
    return str(record.items.get("score", "accuracy"))


def _full_report(rows: pd.DataFrame, evidence: StressEvidence) -> list[Block]:
    """Build all sections of one eval and model; a section without rows is left out."""
    if evidence.failed == evidence.asked:
        return [_no_answers(evidence)]
    blocks: list[Block] = [_heading(evidence), *_about(evidence), _findings(evidence)]
    blocks.append(Section("Accuracy by condition and mitigation", (accuracy_table(evidence),)))
    if evidence.to_reference:
        blocks.append(Section(f"Against {evidence.reference}", (reference_table(evidence),)))
    if evidence.mitigated:
        blocks.append(Section("What a mitigation changes", (mitigation_table(evidence),)))
    if evidence.worst:
        blocks.append(Section("Worst case", (worst_table(evidence),)))
    if evidence.doses:
        blocks.append(Section("Accuracy by rate of damage", tuple(dose_tables(evidence))))
    examples = example_table(rows)
    categories: list[Block] = [category_table(evidence)]
    categories += [Paragraph("Examples:"), examples] if examples.rows else []
    return [
        *blocks,
        Section("Every row accounted for", (account_table(evidence),)),
        Section("Errors by category", tuple(categories)),
        Section("How to read this", (_notes(evidence),)),
    ]


def _about(evidence: StressEvidence) -> list[Paragraph]:
    return [Paragraph(ABOUT_RETRIEVER)] if evidence.model == RETRIEVER else []


def _heading(evidence: StressEvidence) -> Paragraph:
    return Paragraph(
        f"{evidence.eval}, {evidence.model}: {plural(evidence.items, 'item')}, {plural(evidence.epochs, 'epoch')},"
        f" {evidence.asked:,} questions asked; {_intervals(evidence)}"
    )


def _intervals(evidence: StressEvidence) -> str:
    if evidence.items == 1:
        return "no intervals, which would be over items"
    return f"{100 * evidence.level:g} % intervals over items in brackets"


def _no_answers(evidence: StressEvidence) -> Paragraph:
    return Paragraph(
        f"{evidence.eval}, {evidence.model}: none of {plural(evidence.asked, 'question')} has an answer, so that there"
        " are no accuracies to show."
    )


def _findings(evidence: StressEvidence) -> Bullets:
    """Build sentences on the greatest harm, the best mitigation, and what mitigations cost, with their intervals.

    A difference without an item that is scored on both sides is left out, as Holm's correction does.
    """
    lines = []
    to_reference = [d for d in evidence.to_reference if d.estimate.items]
    mitigated = [d for d in evidence.mitigated if d.estimate.items]
    unmitigated = [d for d in to_reference if d.cell.mitigation == "none"]
    if to_reference:
        lowest = _numbers(min(unmitigated or to_reference, key=_value), len(to_reference))
        lines.append(f"Lowest against {evidence.reference}: {lowest}.")
    for difference in mitigated:
        if difference.cell.condition == evidence.reference:
            name, cost = difference.cell.mitigation, points(difference.estimate)
            lines.append(f"{name} on {evidence.reference} input: {cost} points.")
    on_damaged = [d for d in mitigated if d.cell.condition != evidence.reference]
    if on_damaged:
        best = max(on_damaged, key=_value)
        gained = f"Most gained by a mitigation: {_numbers(best, len(mitigated))}."
        lines.append(gained if _value(best) > 0 else "No mitigation gained anything.")
    if not to_reference and not mitigated:
        few = "one condition was asked" if len(evidence.cells) == 1 else "no item is scored in two of them"
        lines.append(f"Conditions cannot be compared: {few}.")
    return Bullets((*lines, *_failed(evidence)))


def _failed(evidence: StressEvidence) -> list[str]:
    """Return sentences on the rows that failed, and on the cells of which all rows failed."""
    if not evidence.failed:
        return []
    lines = [f"{evidence.failed:,} of {evidence.asked:,} rows failed; accuracies are of the others."]
    if empty := [cell_name(scores.cell) for scores in evidence.cells if scores.failed == scores.asked]:
        shown = "; ".join(empty[:SHOWN]) + ("; …" if len(empty) > SHOWN else "")
        lines.append(f"All rows failed under {shown}. Nothing can be compared with these.")
    return lines


def _value(difference: CellDifference) -> float:
    return difference.estimate.value


def _numbers(difference: CellDifference, comparisons: int) -> str:
    return (
        f"{cell_name(difference.cell)}, {points(difference.estimate)} points, p {p_value(difference.p_holm)}"
        f" (Holm, over {comparisons} comparisons)"
    )


def _of_adapters(rows: pd.DataFrame) -> bool:
    return bool((rows["eval"] == "adapter").any())


def _of_behaviour(rows: pd.DataFrame) -> bool:
    return bool((rows["eval"] == "behaviour").any())


def _notes(evidence: StressEvidence) -> Bullets:
    notes = [
        *_notes_on_intervals(evidence),
        "Differences are paired by item: both sides are resampled together. p is from an exact sign-flip test by"
        " item; Holm's correction is over all rows of a table.",
        f"Flips are over pairs of epochs. '{evidence.reference} flips' are differences between two epochs of the same"
        f" undamaged question: chance alone. With one epoch the column says '{MISSING}'.",
        f"'{MISSING}' stands for numbers that no scored rows speak of. A number without an interval is of one item.",
        "Failed rows count only in the accuracy that takes them as wrong. UNSURE counts as wrong, and is also shown"
        " separately.",
    ]
    if evidence.eval == "messy":
        notes.append(
            "'Rate' is the requested share of the characters (for emoji: of the edges of words). A question gets one"
            " edit at least. So on short questions low rates are higher in fact, and may give the same text."
        )
    if evidence.eval == "multilingual":
        notes.append(
            "'Kept the language' is among replies for which it could be decided; the rest are 'undecided'."
        )
    return Bullets(tuple(notes))


def _notes_on_intervals(evidence: StressEvidence) -> list[str]:
    if evidence.items == 1:
        return ["One item cannot say how other questions would come out; intervals need several items."]
    level, count = f"{100 * evidence.level:g} %", f"{evidence.resamples:,}"
    return [
        f"An interval ({level}, {count} resamples of the {evidence.items} items, all epochs of an item together)"
        " speaks of other questions of this kind. It does not speak of other models, prompts or corruptions.",
        "An interval without width means that all items came out alike, not that the number is certain: of n items"
        f" alike, up to 3 in n of all items may differ (here {min(100, 300 / evidence.items):.0f} %).",
    ]
