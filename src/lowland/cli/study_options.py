"""Options of studies that are not part of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lowland.ground.asked import Asked, NotEmpty, Seed, Text, Truth, Whole
from lowland.ground.mistakes import Mistake


class StudyOptions(Asked):
    """Options of a study that are not part of its recipe."""

    config: Path | None = None
    """a recipe file; options override the settings that it gives to all methods"""
    print_config: Truth = False
    """print the recipe as a recipe file, and run nothing"""
    workers: Annotated[Whole, Field(ge=1)] | None = None
    """number of runs at a time, which share the cores; default: one for each core if memory allows, for four runs or
    more; on a GPU one; with --engine ray, as many as the cluster has room for"""
    engine: Literal["local", "ray"] = "local"
    """what runs the study: local, processes of this machine; ray, a cluster of Ray (extra ray)"""
    ray_address: Text | None = None
    """host:port of the Ray cluster, or auto on a machine of the cluster; default: RAY_ADDRESS of the environment, or
    Ray is started on this machine"""
    yes: Truth = False
    """start the study, however many runs it has"""
    fresh: Truth = False
    """run again even if a finished run is found in the folder of the runs"""
    only: Annotated[tuple[Text, ...], Field(json_schema_extra={"metavar": "KEY=VALUE"})] = ()
    """run only a share of the study: those with this task, method or seed, as method=lora or seed=42,1337; several keys
    must all hold. `lowland study merge` brings shares together"""

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.ray_address is not None and self.engine != "ray":
            raise Mistake("ray_address is given, and the engine is local; add --engine ray, or leave it out")
        return self


class OneRun(Asked):
    """The method and the seed of a single run."""

    method: Text = "lora"
    """the method, or its label in the recipe file; `lowland methods` lists the methods"""
    seed: Seed = 42
    """seed of the run"""


class AblationOptions(Asked):
    """Settings that an ablation varies, and the method that it varies."""

    axis: Annotated[tuple[Text, ...], NotEmpty, Field(json_schema_extra={"metavar": "AXIS"})]
    """settings to vary, such as rank or lr=1e-4,3e-4; several are crossed"""
    method: Text | None = None
    """the method, or its label in the recipe file; default: the first method that uses the axes, lora before others"""
