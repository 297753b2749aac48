"""What is asked of one run: a method, a seed, and the part of the recipe that bears on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lowland.ground.recipe import DATA, TRAINING, Recipe, read_field


@dataclass(frozen=True)
class RunSpec:
    """What is asked of one run: a method, a seed, and the fields of the recipe that bear on them.

    `data` holds the task's fields, `training` those of `TRAINING`, `options` those that the method uses; what the
    method does not use is left out, so that a sweep over `rho` does not train LoRA anew.

    `dtype` is the number format of the training. What a run of bf16 learned is kept in fp32, and `lowland predict`
    answers with it on the fp32 base; the run's own test scores are those of bf16.
    """

    task: str
    model: str
    method: str
    seed: int
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    options: Mapping[str, Any]
    max_length: int = 128
    dtype: str = "auto"
    compile: bool = False
    revision: str | None = None
    keep_weights: bool = True

    def as_dict(self) -> dict[str, Any]:
        """As plain values that JSON can hold."""
        return {one.name: plain(getattr(self, one.name)) for one in dataclasses.fields(self)}


def run_spec(recipe: Recipe, method: str, seed: int, options: Collection[str]) -> RunSpec:
    """What the recipe asks of one run, its overrides for the method applied.

    Overrides of a method hold for it with perturbations in front, too: those of `full` for `neftune+full`, which may
    have values of its own beside them. `flat-lora` is a method of its own, and has its own.

    Args:
        recipe: of the study.
        method: its name, as `read_recipe` has it.
        seed: of the run.
        options: the fields that the method uses beside `TRAINING`.
    """
    row = method.rpartition("+")[2]
    given = {**recipe.overrides.get(row, {}), **recipe.overrides.get(method, {})}
    changed = {name: read_field(name, value) for name, value in given.items()}

    def pick(names: Collection[str]) -> Mapping[str, Any]:
        return MappingProxyType({name: changed.get(name, getattr(recipe, name)) for name in names})

    return RunSpec(
        task=recipe.task,
        model=recipe.model,
        method=method,
        seed=seed,
        data=pick(DATA),
        training=pick(TRAINING),
        options=pick(options),
        max_length=recipe.max_length,
        dtype=recipe.dtype,
        compile=recipe.compile,
        revision=recipe.revision,
        keep_weights=recipe.keep_weights,
    )


def plain(value: Any) -> Any:
    """Mappings as dicts and tuples as lists, all the way down: what JSON and YAML can hold."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple) else value
