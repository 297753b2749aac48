"""Page of several studies beside each other: their settings, verdicts, scores, differences and cost."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from lowland.evidence.core.wording import score_name
from lowland.evidence.studies import NamedStudy, StudyDifferences, differences, settings_beside
from lowland.ground.mistakes import plural
from lowland.ground.records import title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Code, Data, Page, Paragraph, Section
from lowland.report.cells import Column
from lowland.report.sections.studies import (
    difference_blocks,
    listed,
    study_cost_blocks,
    study_score_blocks,
    verdict_blocks,
)
from lowland.report.sections.verdict import state_sentence

LONGEST = 120
"""Number of characters of a setting's value that are shown."""


def studies_page(studies: Sequence[NamedStudy]) -> Page:
    """Build a page that sets studies beside each other; those after the first are compared with the first.

    Args:
        studies: two or more.
    """
    compared = [differences(study, studies[0]) for study in studies[1:]]
    methods = list(dict.fromkeys(name for study in studies for name in study.evidence.names))
    made: dict[str, list[Block]] = {
        "Differences between the studies": [
            block for each in compared for block in difference_blocks(each, methods)
        ],
        "What differs": _differing(studies),
        "Verdicts": verdict_blocks(studies, methods),
        "Scores": study_score_blocks(studies, methods),
        "Cost": study_cost_blocks(studies, methods),
        "Each study": _own_pages(studies),
        "What is the same": _same(studies),
    }
    names = listed([study.name for study in studies])
    tasks = list(dict.fromkeys(visible(study.evidence.first.task) for study in studies))
    models = list(dict.fromkeys(visible(title_of(study.evidence.first.model)) for study in studies))
    runs = sum(len(study.evidence.runs) for study in studies)
    return Page(
        title=f"{len(studies)} studies: {names}",
        subtitle=f"{listed(tasks)}; {listed(models)}; {plural(runs, 'run')}",
        headline=studies_headline(compared),
        lead=tuple(
            Paragraph(f"{study.name}: {sentence}")
            for study in studies
            if (sentence := state_sentence(study.evidence))
        ),
        sections=tuple(Section(title, tuple(blocks)) for title, blocks in made.items() if blocks),
    )


def studies_headline(compared: Sequence[StudyDifferences]) -> str:
    """Return in a sentence what the differences between studies show, which claims no more than the intervals allow."""
    parts = []
    for each in compared:
        ours, theirs = each.study.name, each.reference.name
        shown = [method for method in each.compared if each.is_shown(method)]
        if not each.compared:
            parts.append(f"nothing is compared between {theirs} and {ours}")
            continue
        if not any(comparison.over_seeds for comparison in each.compared.values()):
            parts.append(f"one seed of each method says nothing of {theirs} and {ours}")
            continue
        if not shown:
            metric = score_name(next(iter(each.compared.values())).metric)
            parts.append(f"no difference in {metric} is shown between {theirs} and {ours}")
            continue
        for word, sign in (("better", 1), ("worse", -1)):
            methods = [method for method in shown if sign * each.compared[method].difference > 0]
            if methods:
                parts.append(f"in {ours}, {listed(methods)} {_are(methods)} {word} than in {theirs}")
        if rest := [method for method in each.compared if method not in shown]:
            parts.append(f"{listed(rest)} {_are(rest)} not shown to differ")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _differing(studies: Sequence[NamedStudy]) -> list[Block]:
    """Build the table of the settings that differ."""
    columns = (Column("setting", "setting"), *(Column(study.name, study.name) for study in studies))
    rows = tuple(
        (name, *map(_words, values)) for name, values in settings_beside(studies).items() if _differ(values)
    )
    if not rows:
        return [Paragraph("All settings are the same.")]
    return [Data("settings_that_differ", "Settings that differ", columns, rows)]


def _same(studies: Sequence[NamedStudy]) -> list[Block]:
    """Build the table of the settings that are equal in all studies."""
    rows = tuple(
        (name, _words(values[0]))
        for name, values in settings_beside(studies).items()
        if not _differ(values) and _words(values[0])
    )
    columns = (Column("setting", "setting"), Column("value", "in all"))
    return [Data("settings_that_are_the_same", "Settings that are the same", columns, rows)] if rows else []


def _differ(values: Sequence[Any]) -> bool:
    return len(set(map(_exact, values))) > 1


def _exact(value: Any) -> str:
    """Write the value of a setting with all its digits; nothing for one that is not set."""
    if value in (None, "", {}, []):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _words(value: Any) -> str:
    """Write the value of a setting for people: six digits of a number, and no text that is very long."""
    text = f"{value:.6g}" if isinstance(value, float) else _exact(value)
    return visible(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def _own_pages(studies: Sequence[NamedStudy]) -> list[Block]:
    """Build the commands that write the page of each study, with everything that it shows."""
    files = {study.name: f"{study.name.replace('/', '-')}.html" for study in studies}
    commands = [
        f"lowland report {shlex.quote(str(study.folder))} --out {shlex.quote(files[study.name])}"
        for study in studies
    ]
    return [
        Paragraph(
            "Curves, confusions, errors, calibration, stress tests, and how to run it again: on each study's own page."
        ),
        Code("\n".join(map(visible, commands))),
    ]
