"""From a recipe to the jobs that it asks for."""

from __future__ import annotations

from pathlib import Path

from lowland.models.find import find_model
from lowland.models.formats import number_format
from lowland.study.recipe import Recipe
from lowland.tasks.table import load_data
from lowland.train.job import Job


def plan(recipe: Recipe) -> list[Job]:
    """Return a job for every method with every seed, seed by seed: a study that is cut short has whole pairs.

    Data and model are looked up once. `dtype: auto` becomes what it means on this machine, so that a run's key tells
    the two apart.

    Raises:
        Mistake: if the data or the model cannot be loaded, or this machine does not support the number format.
    """
    dtype = number_format(recipe.dtype)
    data = load_data(recipe.task)
    source = find_model(recipe.model, recipe.revision)
    return [
        Job(
            fields=recipe.task,
            method=method,
            seed=seed,
            model=recipe.model,
            revision=recipe.revision,
            max_length=recipe.max_length,
            dtype=dtype,
            compile=recipe.compile,
            keep_weights=recipe.keep_weights,
            data=data,
            source=source,
            out=Path(recipe.out),
        )
        for seed in recipe.seeds
        for method in recipe.methods
    ]
