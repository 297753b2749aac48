"""From the options of `sweep` and `compare --tune` to a recipe and a search."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lowland.cli.options import Values, option_name, read_models
from lowland.cli.recipes import read_recipe
from lowland.cli.study_options import StudyOptions
from lowland.ground.asked import Asked, Whole
from lowland.ground.mistakes import Mistake, gathering
from lowland.study.recipe import Recipe
from lowland.study.search import Search


class TuningOptions(Asked):
    """Whether a comparison searches the settings first."""

    tune: Annotated[Whole, Field(ge=1)] | None = None
    """first search the settings of each method, with this number of trials on validation data"""


SEARCH_FIELDS = {name: field for name, field in Search.model_fields.items() if name != "trials"}
"""Options of a search beside the number of its trials, which `sweep` and `compare` call differently."""


def read_sweep(values: Values) -> tuple[Recipe, StudyOptions, Search]:
    """Return the recipe as `read_recipe` does, and the search.

    Raises:
        Mistake: with everything that is wrong with the file and the options.
    """
    own = dict(values)
    asked = {name: own.pop(name) for name in Search.model_fields if name in own}
    problems: list[str] = []
    search = _search(asked, problems)
    recipe, options = _recipe(own, problems)
    assert search is not None
    _check_seeds(recipe, search)
    return recipe, options, search


def read_comparison(values: Values) -> tuple[Recipe, StudyOptions, Search | None]:
    """Return the recipe as `read_recipe` does, and the search of its settings; None if `--tune` is not given.

    Raises:
        Mistake: with everything that is wrong with the file and the options.
    """
    own = dict(values)
    asked = {name: own.pop(name) for name in SEARCH_FIELDS if name in own}
    trials = own.pop("tune", None)
    problems: list[str] = []
    search: Search | None = None
    if trials is not None:
        with gathering(problems):
            (tuning,) = read_models({"tune": trials}, [TuningOptions])
            assert isinstance(tuning, TuningOptions)
            asked["trials"] = tuning.tune
        search = _search(asked, problems)
    elif asked:
        option = option_name(next(iter(asked)))
        problems.append(
            f"{option} is given, and no settings are searched; add --tune N, the number of trials"
        )
    if trials is not None and "only" in own:
        problems.append(
            "--only is given with --tune: each share would search on its own; search first (lowland sweep), and give"
            " the methods that it prints in a recipe file"
        )
    recipe, options = _recipe(own, problems)
    if search is not None:
        _check_seeds(recipe, search)
    return recipe, options, search


def _search(asked: Values, problems: list[str]) -> Search | None:
    search: Search | None = None
    with gathering(problems):
        search = Search(**asked)
    return search


def _recipe(own: Values, problems: list[str]) -> tuple[Recipe, StudyOptions]:
    """Return the recipe; raise `Mistake` with its problems behind those so far."""
    with gathering(problems):
        recipe, options = read_recipe(own)
    if problems:
        raise Mistake(*dict.fromkeys(problems))
    return recipe, options


def _check_seeds(recipe: Recipe, search: Search) -> None:
    if search.search_seed in recipe.seeds:
        raise Mistake(
            f"search_seed is {search.search_seed}, which is also a seed of the study; settings are to be tested with"
            " seeds that they were not chosen with: give another --search-seed"
        )
