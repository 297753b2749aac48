"""`lowland compare`, `train`, `tasks` and `methods`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from lowland.cli.options import Command, Values, command, read_models
from lowland.cli.quiet import quiet_libraries
from lowland.ground.asked import Asked, Text, Truth, Whole
from lowland.ground.mistakes import Mistake
from lowland.study.recipe import Recipe
from lowland.tasks.table import TASKS
from lowland.train.methods import METHODS, PERTURBATIONS


class Again(Asked):
    """Whether finished runs are run again."""

    fresh: Truth = False
    """run again what is found in the folder of the runs"""


class OneRun(Asked):
    """The method and the seed of a single run."""

    method: Text = "lora"
    """the method; `lowland methods` lists them"""
    seed: Whole = 42
    """seed of the run"""


def compare(recipe: Recipe, again: Again) -> int:
    """Train several methods with several seeds, and say which is better."""
    folders = _run(recipe, again)
    return _exit_code(folders)


def train(recipe: Recipe, again: Again) -> int:
    """Train one method with one seed."""
    folders = _run(recipe, again)
    print(f"\nThe run is in {folders[0]}")
    return _exit_code(folders)


def tasks() -> int:
    """List the tasks."""
    _print_rows({name: task.summary for name, task in TASKS.items()})
    return 0


def methods() -> int:
    """List the methods, and the perturbations that may stand in front of them."""
    _print_rows({name: method.summary for name, method in METHODS.items()})
    print("\nIn front of a method, as in flat+dora or neftune+flat+lora-plus:\n")
    _print_rows({f"{name}+": noise.summary for name, noise in PERTURBATIONS.items()})
    return 0


def _run(recipe: Recipe, again: Again) -> list[Path]:
    """Run a study and print its summary."""
    quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.ground.runtime import keep_large_blocks
    from lowland.report.study import summary
    from lowland.study.run import run_study

    keep_large_blocks()
    folders = run_study(recipe, fresh=again.fresh, progress=Progress(sys.stderr))
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


def _read_recipe(values: Values) -> tuple[Recipe, Again]:
    """Return the recipe, and whether to run again; the problems of both are reported at once."""
    problems: list[str] = []
    again = Again(fresh=values.pop("fresh", False))
    try:
        return Recipe(**values), again
    except Mistake as mistake:
        problems += mistake.problems
    raise Mistake(*problems)


def _read_one_run(values: Values) -> tuple[Recipe, Again]:
    """Return a recipe with one method and one seed; settings that a recipe file gives the method hold."""
    (single,) = read_models(values, [OneRun])
    assert isinstance(single, OneRun)
    entries = values.get("methods", ())
    chosen = _entry_of(single.method, entries if isinstance(entries, list) else [entries])
    rest = {name: value for name, value in values.items() if name not in ("method", "seed")}
    return _read_recipe({**rest, "methods": [chosen], "seeds": [single.seed]})


def _entry_of(method: str, entries: Sequence[Any]) -> Any:
    """Return the entry of a recipe file's methods with this label or name; else the name."""
    for entry in entries:
        if isinstance(entry, Mapping) and len(entry) == 1:
            ((name, settings),) = entry.items()
            if method == (settings.get("label", name) if isinstance(settings, Mapping) else name):
                return entry
    return method


_TRAIN_OPTIONS = {
    name: field for name, field in _recipe_options().items() if name not in ("methods", "seeds")
}

COMPARE = Command(compare, {**_recipe_options(), **Again.model_fields}, _read_recipe, reads_recipe=True)
TRAIN = Command(
    train,
    {**OneRun.model_fields, **_TRAIN_OPTIONS, **Again.model_fields},
    _read_one_run,
    reads_recipe=True,
)
LIST_TASKS = command(tasks)
LIST_METHODS = command(methods)
