"""`lowland compare`, `train`, `tasks` and `methods`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from lowland.cli.options import Command, Values, command, read_models
from lowland.cli.quiet import quiet_libraries
from lowland.ground.asked import Asked, Text, Truth, Whole, read_yaml
from lowland.ground.mistakes import Mistake
from lowland.study.recipe import Recipe
from lowland.tasks.table import TASKS
from lowland.train.methods import METHODS, PERTURBATIONS, method_named


class StudyOptions(Asked):
    """Options of a study that are not part of its recipe."""

    config: Path | None = None
    """a recipe file; options override the settings that it gives to all methods"""
    print_config: Truth = False
    """print the recipe as a recipe file, and run nothing"""
    fresh: Truth = False
    """run again even if a finished run is found in the folder of the runs"""


class OneRun(Asked):
    """The method and the seed of a single run."""

    method: Text = "lora"
    """the method, or its label in the recipe file; `lowland methods` lists the methods"""
    seed: Whole = 42
    """seed of the run"""


def compare(recipe: Recipe, options: StudyOptions) -> int:
    """Train several methods with several seeds, and say which is better."""
    return _exit_code(_run(recipe, options))


def train(recipe: Recipe, options: StudyOptions) -> int:
    """Train one method with one seed."""
    folders = _run(recipe, options)
    for folder in folders:
        print(f"\nThe run is in {folder}")
    return _exit_code(folders)


def tasks() -> int:
    """List the tasks."""
    _print_rows({name: task.summary for name, task in TASKS.items()})
    return 0


def methods() -> int:
    """List the methods, and the perturbations that can be put in front of them."""
    _print_rows({name: method.summary for name, method in METHODS.items()})
    print("\nIn front of a method, as in flat+dora or neftune+flat+lora-plus:\n")
    _print_rows({f"{name}+": noise.summary for name, noise in PERTURBATIONS.items()})
    return 0


def _run(recipe: Recipe, options: StudyOptions) -> list[Path]:
    """Run a study and print its summary; or only print the recipe."""
    if options.print_config:
        print(yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True), end="")
        return []
    quiet_libraries()
    from lowland.study.plan import plan

    jobs = plan(recipe)  # reports what is wrong with the data before torch is imported, which takes seconds
    from lowland.ground.progress import Progress
    from lowland.ground.runtime import keep_large_blocks
    from lowland.report.study import summary
    from lowland.study.run import run_jobs

    keep_large_blocks()
    folders = run_jobs(jobs, fresh=options.fresh, progress=Progress(sys.stderr))
    print(f"\n{summary(folders)}")
    return folders


def _exit_code(folders: Sequence[Path]) -> int:
    from lowland.evidence.readers.runs import finished

    return 0 if len(finished(folders)) == len(folders) else 1


def _print_rows(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows))
    for name, summary in rows.items():
        print(f"{name.ljust(width)}  {summary}")


def _recipe_options() -> dict[str, FieldInfo]:
    """Return the options of a recipe: its own fields, and those of every task."""
    fields: dict[str, FieldInfo] = {}
    for name, field in (*_task_fields(), *Recipe.model_fields.items()):
        fields.setdefault(name, field)
    return {"task": Recipe.model_fields["task"], **fields}


def _task_fields() -> list[tuple[str, FieldInfo]]:
    return [
        (name, field)
        for task in TASKS.values()
        for name, field in task.fields.model_fields.items()
        if name != "name"
    ]


def _read_recipe(values: Values) -> tuple[Recipe, StudyOptions]:
    """Return the recipe: the content of the file, overridden by the options."""
    own, options = _without_study_options(values)
    return Recipe(**{**_recipe_file(options, own.get("task")), **own}), options


def _read_one_run(values: Values) -> tuple[Recipe, StudyOptions]:
    """Return a recipe with one method and one seed.

    The method keeps its settings from the recipe file; settings on the command line override them.
    """
    own, options = _without_study_options(values)
    file = _recipe_file(options, own.get("task"))
    entries = _entries(file.pop("methods", ()))
    seeds = file.pop("seeds", ())
    choices = {
        "method": list(entries),
        "seed": seeds if isinstance(seeds, list) else [seeds] if seeds != () else [],
    }
    (run,) = read_models({**_only_choices(choices, own), **own}, [OneRun])
    assert isinstance(run, OneRun)
    if run.method not in entries and (
        labels := [label for label, (name, _) in entries.items() if name == run.method]
    ):
        raise Mistake(
            f"the recipe file labels {run.method} {' and '.join(labels)}; give the label with --method"
        )
    name, settings = entries.get(run.method, (run.method, {}))
    used = method_named(name).uses
    settings |= {key: value for key, value in own.items() if key in used}
    own = {key: value for key, value in own.items() if key not in used}
    rest = {key: value for key, value in {**file, **own}.items() if key not in ("method", "seed")}
    return Recipe(
        **{**rest, "methods": [{name: settings} if settings else name], "seeds": [run.seed]}
    ), options


def _without_study_options(values: Values) -> tuple[Values, StudyOptions]:
    """Return the options of the recipe, and the others."""
    (options,) = read_models(values, [StudyOptions])
    assert isinstance(options, StudyOptions)
    return {name: value for name, value in values.items() if name not in StudyOptions.model_fields}, options


def _recipe_file(options: StudyOptions, task: object) -> Values:
    """Return the content of the recipe file, with the task's fields at the top level; empty without a file.

    The task's fields are dropped if the command line selects another task.
    """
    if options.config is None:
        return {}
    content = read_yaml(options.config, "recipe file")
    if not isinstance(content, dict):
        raise Mistake(f"{options.config} is not a recipe; expected lines such as 'task: financial-demo'")
    recipe = {str(name): value for name, value in content.items()}
    if isinstance(recipe.get("task"), Mapping):
        rest = {str(name): value for name, value in recipe["task"].items()}
        fields = {name: rest.pop(name) for name, _ in _task_fields() if name in rest}
        if set(rest) == {"name"}:  # else the model names what is unknown or missing
            recipe["task"] = rest["name"]
            recipe = {**({} if task not in (None, recipe["task"]) else fields), **recipe}
    return recipe


def _entries(methods: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return name and settings of each method in a recipe file, by its label."""
    entries: dict[str, tuple[str, dict[str, Any]]] = {}
    for entry in methods if isinstance(methods, list | tuple) else [methods]:
        name, settings = next(iter(entry.items())) if isinstance(entry, Mapping) and entry else (entry, {})
        settings = dict(settings) if isinstance(settings, Mapping) else {}
        entries[str(settings.get("label", name))] = str(name), settings
    return entries


def _only_choices(choices: Mapping[str, list[Any]], own: Values) -> Values:
    """Return the method and the seed of a recipe file, if the command line does not give them.

    Raises:
        Mistake: if the file has several.
    """
    open_choices = {name: values for name, values in choices.items() if values and name not in own}
    if problems := [
        f"the recipe file has several {name}s: {', '.join(map(str, values))}; choose one with --{name}"
        for name, values in open_choices.items()
        if len(values) > 1
    ]:
        raise Mistake(*problems)
    return {name: values[0] for name, values in open_choices.items()}


_TRAIN_OPTIONS = {
    name: field for name, field in _recipe_options().items() if name not in ("methods", "seeds")
}

COMPARE = Command(compare, {**StudyOptions.model_fields, **_recipe_options()}, _read_recipe)
TRAIN = Command(train, {**StudyOptions.model_fields, **OneRun.model_fields, **_TRAIN_OPTIONS}, _read_one_run)
LIST_TASKS = command(tasks)
LIST_METHODS = command(methods)
