"""`lowland compare`, `ablate`, `sweep`, `train`, `tasks` and `methods`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

import lowland.study
from lowland.cli.options import Command, command
from lowland.cli.page import PageRequest, report
from lowland.cli.quiet import quiet_libraries
from lowland.cli.recipes import advice, read_ablation, read_one_run, recipe_fields
from lowland.cli.searches import SEARCH_FIELDS, TuningOptions, read_comparison, read_sweep
from lowland.cli.study_options import AblationOptions, OneRun, StudyOptions
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.remote import is_url, shown
from lowland.study.engines.forks import may_have_workers, start_server
from lowland.study.recipe import Recipe
from lowland.study.search import Search
from lowland.study.selection import places_of, read_selection, share_of
from lowland.tasks.table import TASKS
from lowland.train.prefixes import PREFIXES
from lowland.train.processes import is_first, process_count
from lowland.train.table import METHODS

if TYPE_CHECKING:
    from lowland.ground.progress import Progress
    from lowland.study.run import Engine
    from lowland.train.job import Job

DEMO_RECIPE = Path(lowland.study.__file__).with_name("demo.yaml")
"""The recipe of `lowland demo`."""
MANY = 200
"""Number of runs above which a study starts only with `--yes`."""


def compare(recipe: Recipe, options: StudyOptions, search: Search | None = None) -> int:
    """Train several methods with several seeds, and say which is better."""
    return _run(recipe, options, search)


def demo(recipe: Recipe, options: StudyOptions, search: Search | None = None) -> int:
    """Compare methods on the embedded data set, and write the page of the study beside its runs."""
    return _run(recipe, options, search, write_page=True)


def sweep(recipe: Recipe, options: StudyOptions, search: Search) -> int:
    """Search the settings of each method on validation data, and print the best ones."""
    if options.print_config:
        return _print_recipe(recipe)
    if options.engine != "local":
        raise Mistake(
            f"engine is {options.engine}, and a search trains on this machine; leave --engine out, and share the"
            " search with other machines by --storage"
        )
    _check_size(recipe, 0, search.trials, options)
    _check_processes(recipe, options, search)
    quiet_libraries()
    if may_have_workers(len(recipe.methods) * search.trials, options.workers):
        start_server("lowland.cli.worker_imports")
    from lowland.study.plan import plan

    jobs = plan(recipe.replace(seeds=recipe.seeds[:1]))
    from lowland.ground.progress import Progress
    from lowland.ground.runtime import keep_large_blocks
    from lowland.report.markdown import render
    from lowland.report.sweep import sweep_blocks
    from lowland.study import sweep as sweeping
    from lowland.study.engines.local import LocalEngine

    keep_large_blocks()
    engine = LocalEngine(options.workers, quiet_libraries)
    tunings = sweeping.sweep(jobs, search, Progress(sys.stderr), engine.run_trials)
    others = [choice.label for choice in recipe.methods if choice.label not in tunings]
    blocks = sweep_blocks({label: tuning.describe() for label, tuning in tunings.items()}, others)
    methods = [job.method.as_recipe() for job in sweeping.tuned(jobs, tunings)]
    print(f"\n{render(blocks)}\n\nAs methods of a recipe file:\n")
    print(yaml.safe_dump({"methods": methods}, sort_keys=False, allow_unicode=True), end="")
    return 0


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
    """List the methods, and the prefixes that can be put in front of them."""
    _print_rows({name: method.summary for name, method in METHODS.items()})
    print("\nIn front of a method, as in flat+dora or neftune+flat+lora-plus:\n")
    _print_rows({f"{name}+": prefix.summary for name, prefix in PREFIXES.items()})
    return 0


def _run(
    recipe: Recipe, options: StudyOptions, search: Search | None = None, *, write_page: bool = False
) -> int:
    """Run a study and print its summary, or only print the recipe; return the exit code."""
    if options.print_config:
        return _print_recipe(recipe)
    selection = read_selection(options.only, recipe)
    selected = selection.part_of(recipe)
    _check_size(selected, len(selected.seeds), 0 if search is None else search.trials, options)
    _check_processes(selected, options, search)
    quiet_libraries()
    if may_have_workers(len(selected.methods) * len(selected.seeds), options.workers):
        start_server("lowland.cli.worker_imports")
    from lowland.study.plan import plan

    jobs = plan(recipe)  # reports what is wrong with the data before torch is imported, which takes seconds
    from lowland.evidence.readers.runs import finished
    from lowland.ground.progress import Progress
    from lowland.ground.runtime import keep_large_blocks
    from lowland.report.card import write_cards
    from lowland.report.share import study_or_share
    from lowland.study.run import run_jobs

    keep_large_blocks()
    progress = Progress(sys.stderr if is_first() else None)
    if search is not None:
        jobs = _tuned(jobs, search, options, progress)
    tunings = {job.method.label: job.tuning for job in jobs if job.tuning}
    share = share_of(jobs, selection)
    if selection:
        _announce_share(share, jobs, recipe, progress)
    if not is_first():
        from lowland.study.engines.processes import follow

        follow(share)
        return 0
    folders = run_jobs(share, fresh=options.fresh, progress=progress, engine=_engine(options))
    if not is_url(recipe.out):
        write_cards(folders)
    ran = {(job.method.label, job.seed): folder for job, folder in zip(share, folders, strict=True)}
    place = shown(recipe.out) if is_url(recipe.out) else Path(recipe.out)
    print(study_or_share(places_of(jobs, ran), place, tunings))
    if write_page and isinstance(place, Path) and not selection:
        report(PageRequest(runs=tuple(folders), out=place / "report.html"))
    return 0 if len(finished(folders)) == len(folders) else 1


def _tuned(jobs: Sequence[Job], search: Search, options: StudyOptions, progress: Progress) -> list[Job]:
    """Search the settings of each method, and return the jobs with the best ones."""
    from lowland.study import sweep
    from lowland.study.engines.local import LocalEngine

    engine = LocalEngine(options.workers, quiet_libraries)
    return sweep.tuned(jobs, sweep.sweep(jobs, search, progress, engine.run_trials))


def _announce_share(share: Sequence[Job], jobs: Sequence[Job], recipe: Recipe, progress: Progress) -> None:
    """Say how large a share of the study is run, and which number format all shares should name."""
    progress.say(f"--only selects {len(share)} of the study's {plural(len(jobs), 'run')}")
    if recipe.dtype == "auto":
        dtype = jobs[0].dtype
        progress.say(f"--dtype auto is {dtype} on this machine; give --dtype {dtype} for all shares")


def _engine(options: StudyOptions) -> Engine:
    """Return what runs the jobs of a study."""
    from lowland.study.engines.local import LocalEngine
    from lowland.study.engines.processes import lead
    from lowland.study.engines.ray import RayEngine

    if process_count() > 1:
        return lead
    if options.engine == "ray":
        return RayEngine(options.ray_address, options.workers, quiet_libraries)
    return LocalEngine(options.workers, quiet_libraries)


def _check_processes(recipe: Recipe, options: StudyOptions, search: Search | None) -> None:
    """Check that what is asked can be done by several processes of torchrun; raise `Mistake` otherwise."""
    if process_count() == 1:
        return
    wrong = {
        "--workers": options.workers is not None,
        "--engine ray": options.engine == "ray",
        "a search": search is not None,
    }
    if asked := [name for name, is_asked in wrong.items() if is_asked]:
        raise Mistake(
            f"{process_count()} processes were started to train each run together, and {asked[0]} cannot be combined"
            " with that; leave it out, or start lowland without a launcher"
        )
    sizes = {choice.settings.batch_size for choice in recipe.methods if not choice.method.counts_words}
    if uneven := sorted(size for size in sizes if size % process_count()):
        raise Mistake(
            f"batch_size is {uneven[0]}, which {process_count()} processes cannot share equally; give a multiple of"
            f" {process_count()}"
        )


def _check_size(recipe: Recipe, seeds: int, trials: int, options: StudyOptions) -> None:
    """Check that a large study is meant; raise `Mistake` otherwise."""
    runs = len(recipe.methods) * (seeds + trials)
    if runs > MANY and not options.yes:
        each = [plural(count, noun) for count, noun in ((seeds, "seed"), (trials, "trial")) if count]
        raise Mistake(
            f"the study has {plural(runs, 'run')} ({plural(len(recipe.methods), 'method')}, each with"
            f" {' and '.join(each)}); add --yes to start it, or ask for fewer"
        )


def _print_recipe(recipe: Recipe) -> int:
    values = recipe.as_dict()
    values["out"] = shown(recipe.out) if is_url(recipe.out) else recipe.out
    print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
    return 0


def _print_rows(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows))
    for name, summary in rows.items():
        print(f"{name.ljust(width)}  {summary}")


_TRAIN_FIELDS = {name: field for name, field in recipe_fields().items() if name not in ("methods", "seeds")}
_WHOLE_FIELDS = {name: field for name, field in StudyOptions.model_fields.items() if name != "only"}

COMPARE = Command(
    compare,
    {**StudyOptions.model_fields, **TuningOptions.model_fields, **SEARCH_FIELDS, **recipe_fields()},
    read_comparison,
    advice=advice,
)
DEMO = Command(
    demo,
    {name: field for name, field in COMPARE.fields.items() if name != "config"},
    lambda values: read_comparison({"config": str(DEMO_RECIPE), **values}),
    advice=advice,
)
SWEEP = Command(sweep, {**_WHOLE_FIELDS, **Search.model_fields, **recipe_fields()}, read_sweep, advice=advice)
TRAIN = Command(
    train,
    {**_WHOLE_FIELDS, **OneRun.model_fields, **_TRAIN_FIELDS},
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
