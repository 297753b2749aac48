"""Settings of a behavioural test. Importing them loads no torch, so that options are fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from lowland.ground.asked import Asked, NotEmpty, Seed, Several, Text, Truth, Whole
from lowland.ground.records import RunRecord
from lowland.ground.remote_store import EachFromURL
from lowland.ground.store import expand_runs


def _training_runs(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    return expand_runs(folders, RunRecord)


class BehaviourSettings(Asked):
    """Runs to test, and the suite of tests."""

    runs: Annotated[Several[Path], NotEmpty, EachFromURL, AfterValidator(_training_runs)]
    """folders or URLs of finished runs of one study, or the folder or URL that holds them"""
    suite: Text = "finance"
    """a suite of lowland (finance), or a YAML file with your own (docs/stress.md says what it holds)"""
    limit: Annotated[Whole, Field(ge=1)] | None = None
    """use at most N cases of each test; default: as many as the suite says"""
    seed: Seed = 0
    """seed of the draw of cases"""
    fresh: Truth = False
    """test again although a finished test exists"""
    out: Path | str = Path("runs")
    """folder of the records"""
