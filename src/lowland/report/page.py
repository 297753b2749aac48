"""Page of a study: its verdict first, then a section for each thing that its evidence shows.

To add a section, write a function from the evidence to blocks. It returns no blocks if it has nothing to say. Then add
it to `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lowland.evidence.study_evidence import StudyEvidence
from lowland.ground.mistakes import plural
from lowland.ground.records import title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Page, Section
from lowland.report.sections.again import again_blocks
from lowland.report.sections.calibration import calibration_blocks
from lowland.report.sections.confusions import confusion_blocks
from lowland.report.sections.cost import cost_blocks
from lowland.report.sections.failures import failure_blocks
from lowland.report.sections.learning import learning_blocks
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
"""Sections that stand behind those of stress tests."""

STRESS: Mapping[str, str] = {
    "messy": "messy questions",
    "multilingual": "questions in several languages",
    "adapter": "damaged texts",
    "behaviour": "behavioural tests",
}
"""Subjects of the stress tests, by the tests' names."""


def study_page(evidence: StudyEvidence, tests: Sequence[StressTest] = ()) -> Page:
    """Build the page of a study.

    Args:
        evidence: what its runs show.
        tests: records and rows of stress tests to show beside it.
    """
    stressed = stress_sections(tests, evidence.reference)
    sections = [
        *_sections(SECTIONS, evidence),
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


def _sections(makers: Mapping[str, SectionMaker], evidence: StudyEvidence) -> list[Section]:
    made = [(title, tuple(maker(evidence))) for title, maker in makers.items()]
    return [Section(title, blocks) for title, blocks in made if blocks]


def _title(evidence: StudyEvidence) -> str:
    names = evidence.names
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
