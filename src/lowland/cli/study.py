"""`lowland compare`, `ablate`, `train`, `tasks` and `methods`."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import yaml

from lowland.cli.options import Command, command
from lowland.cli.quiet import quiet_libraries
from lowland.cli.recipes import (
    AblationOptions,
    OneRun,
    StudyOptions,
    advice,
    read_ablation,
    read_one_run,
    read_recipe,
    recipe_fields,
)
from lowland.ground.mistakes import Mistake, plural
from lowland.study.recipe import Recipe
from lowland.tasks.table import TASKS
from lowland.train.methods import METHODS, PERTURBATIONS

MANY = 200
"""Number of runs above which a study starts only with `--yes`."""


def compare(recipe: Recipe, options: StudyOptions) -> int:
    """Train several methods with several seeds, and say which is better."""
    return _run(recipe, options)


def train(recipe: Recipe, options: StudyOptions) -> int:
    """Train one method with one seed."""
    return _run(recipe, options)


def ablate(recipe: Recipe, options: StudyOptions) -> int:
    """Train one method with several values of some settings, and compare them with its own."""
    return _run(recipe, options)


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


def _run(recipe: Recipe, options: StudyOptions) -> int:
    """Run a study and print its summary, or only print the recipe; return the exit code."""
    if options.print_config:
        print(yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True), end="")
        return 0
    runs = len(recipe.methods) * len(recipe.seeds)
    if runs > MANY and not options.yes:
        raise Mistake(
            f"the study has {plural(runs, 'run')} ({plural(len(recipe.methods), 'method')}, each with"
            f" {plural(len(recipe.seeds), 'seed')}); add --yes to start it, or give fewer values or seeds"
        )
    quiet_libraries()
    from lowland.study.plan import plan

    jobs = plan(recipe)  # reports what is wrong with the data before torch is imported, which takes seconds
    from lowland.evidence.readers.runs import finished
    from lowland.ground.progress import Progress
    from lowland.ground.runtime import keep_large_blocks
    from lowland.report.closing import closing_lines
    from lowland.report.study import summary
    from lowland.study.run import run_jobs

    keep_large_blocks()
    folders = run_jobs(jobs, fresh=options.fresh, progress=Progress(sys.stderr))
    print(f"\n{summary(folders)}\n")
    print("\n".join(closing_lines(folders)))
    return 0 if len(finished(folders)) == len(folders) else 1


def _print_rows(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows))
    for name, summary in rows.items():
        print(f"{name.ljust(width)}  {summary}")


_TRAIN_FIELDS = {name: field for name, field in recipe_fields().items() if name not in ("methods", "seeds")}

COMPARE = Command(compare, {**StudyOptions.model_fields, **recipe_fields()}, read_recipe, advice=advice)
TRAIN = Command(
    train,
    {**StudyOptions.model_fields, **OneRun.model_fields, **_TRAIN_FIELDS},
    read_one_run,
    advice=advice,
)
ABLATE = Command(
    ablate,
    {
        **StudyOptions.model_fields,
        **AblationOptions.model_fields,
        **{name: field for name, field in recipe_fields().items() if name != "methods"},
    },
    read_ablation,
    advice=advice,
)
LIST_TASKS = command(tasks)
LIST_METHODS = command(methods)
