"""From the options of `compare` and `train`, and the recipe file that they name, to a recipe."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from lowland.cli.entries import (
    Method,
    as_list,
    chosen_entries,
    entries_of,
    leave_overrides_out,
    method_of,
    overridden_problems,
    unused_problems,
)
from lowland.cli.options import Values, read_models
from lowland.cli.study_options import AblationOptions, OneRun, StudyOptions
from lowland.ground.mistakes import Mistake, gathering
from lowland.ground.yaml_files import read_yaml
from lowland.study.ablation import ablated, check_axes, method_for, read_axes
from lowland.study.recipe import DEFAULT_METHODS, Recipe
from lowland.tasks.table import TASKS
from lowland.train.methods import method_named
from lowland.train.settings import Settings
from lowland.train.table import METHODS


def recipe_fields() -> dict[str, FieldInfo]:
    """Return the fields of a recipe: its own, and those of every task."""
    fields: dict[str, FieldInfo] = {}
    for name, field in (*_task_fields(), *Recipe.model_fields.items()):
        fields.setdefault(name, field)
    return {"task": Recipe.model_fields["task"], **fields}


def read_recipe(values: Values) -> tuple[Recipe, StudyOptions]:
    """Return the recipe: the content of the file, overridden by the options.

    A method on the command line is that of the recipe file's label or name, with its settings there, or another one.

    Raises:
        Mistake: with everything that is wrong with the file and the options.
    """
    own, options = _without_study_options(values)
    problems: list[str] = []
    file = _gathered_file(options, own, problems)
    if file is None:  # check what does not depend on it
        with gathering(problems):
            Recipe(**{name: value for name, value in own.items() if name in Recipe.model_fields})
        raise Mistake(*problems)
    among = as_list(file.get("methods", DEFAULT_METHODS))
    if "methods" in own:
        with gathering(problems):
            own["methods"] = chosen_entries(as_list(own["methods"]), entries_of(file.get("methods", ()), []))
        leave_overrides_out(file, as_list(own["methods"]), among)
    methods = as_list(own.get("methods", among))
    problems += unused_problems(own, methods) + overridden_problems(own, methods)
    return _recipe({**file, **own}, problems), options


def read_one_run(values: Values) -> tuple[Recipe, StudyOptions]:
    """Return a recipe with one method and one seed.

    The method keeps its settings from the recipe file; settings on the command line override them.

    Raises:
        Mistake: with everything that is wrong with the file and the options.
    """
    own, options = _without_study_options(values)
    problems: list[str] = []
    file = _gathered_file(options, own, problems) or {}
    methods, seeds = file.pop("methods", ()), file.pop("seeds", ())
    entries = entries_of(methods, problems)
    choices = {"method": list(entries), "seed": [] if seeds == () else as_list(seeds)}
    label, seed = _one_run(own, choices, problems)
    method: Method | None = None
    if label is not None:
        with gathering(problems):
            method = method_of(label, entries)
    rest = {name: value for name, value in {**file, **own}.items() if name not in OneRun.model_fields}
    if method is None:  # check the rest, with any method
        rest.pop("overrides", None)
        _recipe({**rest, "methods": ["lora"], "seeds": [seed]}, problems)
        raise Mistake(*problems)
    leave_overrides_out(rest, [method[0]], as_list(methods) or list(DEFAULT_METHODS))
    problems += unused_problems(own, [method[0]])
    meant = {key: value for key, value in own.items() if key in method_named(method[0]).uses}
    return _of_one_method(method, {**rest, "seeds": [seed]}, meant, problems), options


def read_ablation(values: Values) -> tuple[Recipe, StudyOptions]:
    """Return a recipe with one method, as the recipe file and the options have it, and with the values of the axes.

    Raises:
        Mistake: with everything that is wrong with the file, the options and the axes.
    """
    own, options = _without_study_options(values)
    asked = {name: own.pop(name) for name in AblationOptions.model_fields if name in own}
    problems: list[str] = []
    file = _gathered_file(options, own, problems) or {}
    methods = file.pop("methods", ())
    entries = entries_of(methods, problems)
    axes: Mapping[str, Sequence[Any]] = {}
    method: Method | None = None
    with gathering(problems):
        (ablation,) = read_models(asked, [AblationOptions])
        assert isinstance(ablation, AblationOptions)
        method = None if ablation.method is None else method_of(ablation.method, entries)
        axes = read_axes(ablation.axis, None if method is None else method[0])
        method = method or method_of(method_for(axes), entries)
        check_axes(method[0], axes)
    rest = {**file, **own}
    if method is None:
        rest.pop("overrides", None)
        _recipe({**rest, "methods": ["lora"]}, problems)
        raise Mistake(*problems)
    leave_overrides_out(rest, [method[0]], as_list(methods) or list(DEFAULT_METHODS))
    problems += unused_problems(own, [method[0]])
    apart = {*method[1], *method_named(method[0]).defaults}  # what the method does not share with a recipe
    meant = {key: value for key, value in own.items() if key in apart}
    return ablated(_of_one_method(method, rest, meant, problems), axes), options


def _of_one_method(method: Method, rest: Values, meant: Values, problems: list[str]) -> Recipe:
    """Return the recipe of one method.

    Args:
        method: its name, and its settings in the recipe file.
        rest: the values of the file and of the command line.
        meant: settings on the command line that are the method's own; they override those of the file.
        problems: so far.

    Raises:
        Mistake: with the problems so far, and the recipe's.
    """
    name, settings = method
    rest = {key: value for key, value in rest.items() if key not in meant}
    entry = {name: {**settings, **meant}} if settings or meant else name
    return _recipe({**rest, "methods": [entry]}, problems, meant)


def advice(name: str, alternatives: Sequence[str]) -> str:
    """Return what to do instead of giving several values for an option that takes one."""
    if name in OneRun.model_fields:
        return f"lowland compare takes several: lowland compare --{name}s {' '.join(alternatives)}"
    if name not in Settings.model_fields:
        return ""
    users = [row.name for row in METHODS.values() if name in row.uses]
    method = "lora" if "lora" in users else users[0] if users else "neftune+lora"
    entries = [f"{{{method}: {{{name}: {value}, label: {method}-{value}}}}}" for value in alternatives]
    return f"for several, write a recipe file with the method once for each: methods: [{', '.join(entries)}]"


def _recipe(values: Values, problems: list[str], meant: Collection[str] = ()) -> Recipe:
    """Return the recipe, and print its warnings as lines of lowland's own.

    Args:
        values: of the recipe.
        problems: so far.
        meant: settings that the command line gives to the only method; sentences on them need not name it.

    Raises:
        Mistake: with the problems so far, and the recipe's.
    """
    recipe = None
    further: list[str] = []
    with warnings.catch_warnings(record=True) as remarks, gathering(further):
        warnings.simplefilter("always")
        recipe = Recipe(**values)
    for problem in further:
        _, colon, sentence = problem.partition(": ")
        problems.append(sentence if colon and sentence.partition(" ")[0] in meant else problem)
    if recipe is None or problems:
        raise Mistake(*dict.fromkeys(problems))
    for remark in remarks:
        print(f"lowland: {remark.message}", file=sys.stderr)
    return recipe


def _task_fields() -> list[tuple[str, FieldInfo]]:
    return [
        (name, field)
        for task in TASKS.values()
        for name, field in task.fields.model_fields.items()
        if name != "name"
    ]


def _without_study_options(values: Values) -> tuple[Values, StudyOptions]:
    """Return the options of the recipe, and the others."""
    (options,) = read_models(values, [StudyOptions])
    assert isinstance(options, StudyOptions)
    return {name: value for name, value in values.items() if name not in StudyOptions.model_fields}, options


def _gathered_file(options: StudyOptions, own: Values, problems: list[str]) -> Values | None:
    """Return the content of the recipe file, {} without one; None if it cannot be read."""
    file: Values | None = None
    with gathering(problems):
        file = _recipe_file(options, own.get("task"))
    return file


def _recipe_file(options: StudyOptions, task: object) -> Values:
    """Return the content of the recipe file, if one is given; the fields of its task stand beside it.

    Those in the task's mapping are left out where another task is asked for on the command line.
    """
    if options.config is None:
        return {}
    content = read_yaml(options.config, "recipe file")
    if not isinstance(content, dict):
        holds = {type(None): "is empty", list: "holds a list"}.get(
            type(content), f"holds {str(content)[:40]!r}"
        )
        raise Mistake(
            f"the recipe file {options.config} {holds}; a recipe has lines such as 'task: financial-demo'"
        )
    recipe = {str(name): value for name, value in content.items()}
    if isinstance(recipe.get("task"), Mapping):
        rest = {str(name): value for name, value in recipe["task"].items()}
        fields = {name: rest.pop(name) for name, _ in _task_fields() if name in rest}
        if set(rest) == {"name"}:  # else the model names what is unknown or missing
            recipe["task"] = rest["name"]
            recipe = {**({} if task not in (None, recipe["task"]) else fields), **recipe}
    return recipe


def _one_run(own: Values, choices: Mapping[str, list[Any]], problems: list[str]) -> tuple[str | None, int]:
    """Return the method and the seed of a single run, from the command line or else from a recipe file.

    The method is None, with a problem, if it is wrong or the file has several; a wrong seed becomes any.
    """
    open_choices = {name: values for name, values in choices.items() if values and name not in own}
    problems += [
        f"the recipe file has several {name}s: {', '.join(map(str, values))}; choose one with --{name}"
        for name, values in open_choices.items()
        if len(values) > 1
    ]
    chosen = {**{name: values[0] for name, values in open_choices.items()}, **own}
    run: dict[str, Any] = {}
    for name in OneRun.model_fields:
        with gathering(problems):
            run[name] = getattr(OneRun(**({name: chosen[name]} if name in chosen else {})), name)
    several = len(open_choices.get("method", ())) > 1
    return None if several else run.get("method"), run.get("seed", 42)
