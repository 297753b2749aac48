"""Settings of a stress test of fine-tuned runs. Importing them loads no torch, so that options are fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from lowland.ground.asked import Asked, NotEmpty, Seed, Several, Truth, Whole
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord
from lowland.ground.remote_store import EachFromURL
from lowland.ground.store import expand_runs
from lowland.stress.questions.words import Words, chosen, word
from lowland.text.corruptions import ALL, CORRUPTIONS
from lowland.text.levels import DEFAULT_LEVELS, levels_of

NONE, NORMALISE = "none", "normalise"
MITIGATIONS = (NONE, NORMALISE)
"""Mitigations for a classifier: it takes no prompt, so only its input can be changed."""


def _training_runs(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    return expand_runs(folders, RunRecord)


def _chosen_corruptions(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise Mistake("corruptions is empty; name at least one, or all")
    return chosen("corruption", names, CORRUPTIONS)


def _chosen_mitigations(names: tuple[str, ...]) -> tuple[str, ...]:
    """Include "none" always: the mitigations are compared with it."""
    names_to_use = {NONE, *chosen("mitigation", names or (NONE,), MITIGATIONS)}
    return tuple(name for name in MITIGATIONS if name in names_to_use)


def _chosen_levels(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(levels_of(names))


class AdapterStressSettings(Asked):
    """Runs to test, and the damage to their test texts."""

    model_config = ConfigDict(validate_default=True)

    runs: Annotated[Several[Path], NotEmpty, EachFromURL, AfterValidator(_training_runs)]
    """folders or URLs of finished runs of one study, or the folder or URL that holds them"""
    corruptions: Annotated[Words, AfterValidator(_chosen_corruptions)] = (ALL,)
    """kinds of damage to the text"""
    levels: Annotated[Words, AfterValidator(_chosen_levels)] = DEFAULT_LEVELS
    """amounts of damage: light, heavy, ladder (five rates), or rates such as 0.1"""
    protect: Annotated[Literal["no", "yes", "both"], BeforeValidator(word)] = "no"
    """leave names and numbers undamaged; both runs with and without this protection"""
    mitigations: Annotated[Words, AfterValidator(_chosen_mitigations)] = (NONE,)
    """none, normalise (each text is cleaned before it is read, undamaged texts, too), or all"""
    limit: Annotated[Whole, Field(ge=1)] | None = None
    """use at most N texts of each test set, drawn by the seed"""
    seed: Seed = 0
    """seed of the damage"""
    data: Path | None = None
    """the task's data file, if it has moved"""
    test_data: Path | None = None
    """its file with the test set, if it has moved"""
    fresh: Truth = False
    """test again although a finished test exists"""
    out: Path | str = Path("runs")
    """folder of the records"""
