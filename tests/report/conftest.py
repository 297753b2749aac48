"""A study of five methods and five seeds, which tests of pages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowland.evidence.study_evidence import StudyEvidence
from lowland.report.blocks import Page
from lowland.report.page import study_page
from tests.report.whole_studies import evidence_of, leave_study


@pytest.fixture(scope="session")
def five_by_five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of five methods and five seeds."""
    return leave_study(tmp_path_factory.mktemp("study") / "runs")


@pytest.fixture(scope="session")
def evidence(five_by_five: Path) -> StudyEvidence:
    """What they show."""
    return evidence_of(five_by_five)


@pytest.fixture(scope="session")
def page(evidence: StudyEvidence) -> Page:
    """Their page."""
    return study_page(evidence)
