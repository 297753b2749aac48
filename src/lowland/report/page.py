"""Page of a study: its verdict first, then a section for each thing that its evidence shows.

A section is made by a function that takes the evidence and returns blocks, or no blocks if there is nothing to show. To
add a section, write such a function, and add it to `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lowland.evidence.readers.measurements import Measurements
from lowland.evidence.study_evidence import StudyEvidence
from lowland.ground.mistakes import Mistake, one_of, plural
from lowland.ground.records import title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Page, Section
from lowland.report.sections.again import again_blocks
from lowland.report.sections.calibration import calibration_blocks
from lowland.report.sections.confusions import confusion_blocks
from lowland.report.sections.cost import cost_blocks
from lowland.report.sections.failures import failure_blocks
from lowland.report.sections.learning import learning_blocks
from lowland.report.sections.measured import measured_sections
from lowland.report.sections.scores import score_blocks
from lowland.report.sections.settings import ablation_blocks, search_blocks
from lowland.report.sections.stress import StressTest, stress_sections
from lowland.report.sections.verdict import headline, lead_blocks, other_test_sets

SectionMaker = Callable[[StudyEvidence], Sequence[Block]]

SECTIONS: dict[str, SectionMaker] = {
    "Scores": score_blocks,
    "Other test sets": other_test_sets,
    "Learning curves": learning_blocks,
    "Cost and quality": cost_blocks,
    "Confusions": confusion_blocks,
    "Failures": failure_blocks,
    "Calibration": calibration_blocks,
    "Ablation": ablation_blocks,
    "Search for settings": search_blocks,
}
"""Functions that return the blocks of each section, by its title, in the order of the page."""
LAST: Mapping[str, SectionMaker] = {"Run it again": again_blocks}
"""Sections that stand behind those of measurements and stress tests."""

STRESS: Mapping[str, str] = {
    "messy": "messy questions",
    "multilingual": "questions in several languages",
    "adapter": "damaged texts",
    "behaviour": "behavioural tests",
}
"""Subjects of the stress tests, by the tests' names."""


def study_page(
    evidence: StudyEvidence,
    tests: Sequence[StressTest] = (),
    measured: Measurements | None = None,
    surface: str | None = None,
) -> Page:
    """Build the page of a study.

    Args:
        evidence: what its runs show.
        tests: records and rows of stress tests to show beside it.
        measured: what was measured at the weights of its runs.
        surface: name of the file beside the page in which planes of the loss can be turned; None if there is none.
    """
    measured = measured or Measurements()
    stressed = stress_sections(tests, evidence.reference)
    sections = [
        *_sections(SECTIONS, evidence),
        *measured_sections(measured, evidence.names, evidence.reference, surface),
        *([Section("Stress tests", tuple(stressed))] if stressed else []),
        *_sections(LAST, evidence),
    ]
    first, size = evidence.first, evidence.first.data["sizes"]["test"]
    return Page(
        title=f"{visible(first.task)}: {visible(_title(evidence))}",
        subtitle=f"{visible(title_of(first.model))}, {plural(len(evidence.names), 'method')},"
        f" {plural(len(evidence.seeds), 'seed')}, {size:,} test examples",
        headline=headline(evidence),
        lead=tuple(lead_blocks(evidence)),
        sections=tuple(sections),
    )


def stress_page(tests: Sequence[StressTest]) -> Page:
    """Build a page of stress tests alone."""
    kinds = dict.fromkeys(
        STRESS.get(str(rows["eval"].iloc[0]), "stress tests") for _, rows in tests if len(rows)
    )
    models = list(dict.fromkeys(visible(title_of(record.model)) for record, _ in tests))
    return Page(
        title=f"{plural(len(tests), 'stress test')}",
        subtitle=models[0] + (f" and {plural(len(models) - 1, 'other model')}" if len(models) > 1 else ""),
        headline=f"Scores on {' and '.join(kinds)}, with their intervals.",
        lead=(),
        sections=tuple(stress_sections(tests)),
    )


def measured_page(
    measured: Measurements,
    tests: Sequence[StressTest] = (),
    reference: str | None = None,
    surface: str | None = None,
) -> Page:
    """Build a page of measurements, without the runs that were measured.

    Args:
        measured: the measurements.
        tests: records and rows of stress tests to show beside them.
        reference: method that the others are compared with; None takes LoRA if it was measured, else the first.
        surface: name of the file beside the page in which planes of the loss can be turned; None if there is none.

    Raises:
        Mistake: if the reference was not measured.
    """
    names = measured.methods
    if reference is not None and reference not in names:
        raise Mistake(one_of("method", reference, names))
    stressed = stress_sections(tests, reference)
    sections = measured_sections(measured, names, reference, surface)
    kinds = [section.title.lower() for section in sections]
    runs = plural(len(measured.runs), "run")
    return Page(
        title=f"{visible(', '.join(measured.tasks) or 'adapters')}: measurements",
        subtitle=f"{runs} of {_listed(list(map(visible, names)))}" if names else runs,
        headline=f"Measured at the weights of {runs}: {_listed(kinds)}.",
        lead=(),
        sections=(*sections, *([Section("Stress tests", tuple(stressed))] if stressed else [])),
    )


def _sections(makers: Mapping[str, SectionMaker], evidence: StudyEvidence) -> list[Section]:
    made = [(title, tuple(maker(evidence))) for title, maker in makers.items()]
    return [Section(title, blocks) for title, blocks in made if blocks]


def _title(evidence: StudyEvidence) -> str:
    return _listed(evidence.names)


def _listed(names: Sequence[str]) -> str:
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
