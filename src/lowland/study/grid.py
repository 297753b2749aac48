"""From a recipe to the runs that it asks for."""

from __future__ import annotations

from lowland.recipe import Recipe, RunSpec, run_spec
from lowland.train.methods import METHODS


def grid(recipe: Recipe) -> list[RunSpec]:
    """Every method with every seed, seed by seed: a study that is cut short has whole pairs to compare."""
    return [
        run_spec(recipe, method, seed, METHODS[method].options)
        for seed in recipe.seeds
        for method in recipe.methods
    ]
