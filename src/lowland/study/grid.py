"""From a recipe to the runs that it asks for."""

from __future__ import annotations

from dataclasses import replace

from lowland.ground.recipe import Recipe
from lowland.ground.spec import RunSpec, run_spec
from lowland.models.formats import number_format
from lowland.train.methods import method_named


def grid(recipe: Recipe) -> list[RunSpec]:
    """Every method with every seed, seed by seed: a study that is cut short has whole pairs to compare.

    `dtype: auto` becomes what it means on this machine, so that a run's key tells the two apart.

    Raises:
        Mistake: if this machine lacks the number format.
    """
    recipe = replace(recipe, dtype=number_format(recipe.dtype))
    return [
        run_spec(recipe, method, seed, method_named(method).options)
        for seed in recipe.seeds
        for method in recipe.methods
    ]
