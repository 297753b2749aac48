"""A merge with options by name, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lowland.deploy.merge import merging
from lowland.deploy.merge.report import MergeReport
from lowland.deploy.settings import MergeSettings


def merge(run: Path, out: Path, **options: Any) -> MergeReport:
    return merging.merge(MergeSettings(run=run, out=out, **options))
