"""The command line: one verb a function. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lowland.cli.options import parsers
from lowland.cli.quiet import quiet_libraries
from lowland.cli.stress import stress
from lowland.ground.fields import read_yaml
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.recipe import Recipe, read_recipe
from lowland.ground.runtime import keep_large_blocks
from lowland.ground.store import write_whole

OPTIONS = {*(one.name for one in dataclasses.fields(Recipe)), "method", "seed", "fresh"}
"""What a recipe file may hold: `lowland train` has method and seed where `lowland compare` has several of both."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 a run, a merge or a check failed, 2 a mistake in what was given, 130 interrupted.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    given = [one for one in given if one != "--debug"]
    try:
        return _dispatch(given)
    except KeyboardInterrupt:
        _complain("interrupted; finished runs are kept, and the same command goes on from there")
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        for problem in error.problems if isinstance(error, Mistake) else [_unforeseen(error)]:
            _complain(problem)
        return 2 if isinstance(error, Mistake | OSError) else 1


def _dispatch(given: list[str]) -> int:
    parser, recipes = parsers(VERBS)
    verb = given[0] if given else ""
    unknown: Mapping[str, Any] = {}
    if verb in recipes:
        known, unknown = _take_config(given)
        recipes[verb].set_defaults(
            {name: known[name] for name in known if name in recipes[verb].get_defaults()}
        )
    asked = parser.parse_args(given)
    if asked.subcommand is None:
        parser.print_help()
        return 0
    options: Namespace = asked[asked.subcommand]
    return VERBS[asked.subcommand](options, unknown)


def compare(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """Train several methods with several seeds, and say which is better."""
    recipe = _recipe(options, unknown)
    quiet_libraries()
    from lowland.report.study import summary
    from lowland.study.progress import Progress
    from lowland.study.run import run_study

    keep_large_blocks()
    folders = run_study(recipe, fresh=options.fresh, progress=Progress(sys.stderr))
    print(f"\n{summary(folders)}")
    return _exit_code(folders)


def train(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """Train one method with one seed."""
    options.methods, options.seeds = [options.pop("method")], [options.pop("seed")]
    recipe = _recipe(options, unknown)
    quiet_libraries()
    from lowland.report.study import summary
    from lowland.study.progress import Progress
    from lowland.study.run import run_study

    keep_large_blocks()
    folders = run_study(recipe, fresh=options.fresh, progress=Progress(sys.stderr))
    print(f"\n{summary(folders)}\n\nThe run is in {folders[0]}")
    return _exit_code(folders)


def predict(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """Labels with probabilities for texts, from a run or a whole model."""
    if (options.text is None) == (options.data is None):
        raise Mistake("give texts with --text, or a file of them with --data; one of the two")
    if options.text is not None:
        texts = [str(one) for one in options.text]
    else:
        from lowland.tasks.readers import read_texts

        texts = read_texts(Path(options.data), options.text_column)
    quiet_libraries()
    from lowland.deploy.predict import load_classifier_of

    answers = load_classifier_of(Path(options.run), merge=options.merge).predict(texts)
    written = answers.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    if options.out is None:
        print(written, end="")
    else:
        write_whole(Path(options.out), written)
    return 0


def merge(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """Fold an adapter into its base model, and write it once it is proven to answer as before."""
    quiet_libraries()
    from lowland.deploy.merge.merging import merge as merge_adapter
    from lowland.study.progress import Progress

    report = merge_adapter(
        Path(options.run),
        Path(options.out),
        model=options.model,
        dtype=options.dtype,
        precision=options.precision,
        tolerance=None if options.tolerance is None else _number("tolerance", options.tolerance),
        data=None if options.data is None else Path(options.data),
        text_column=options.text_column,
        say=Progress(sys.stderr).say,
    )
    for words in report.warnings():
        _complain(words)
    print(report.table())
    if report.passed:
        print(f"\nThe merged model is in {options.out}, with merge_report.json")
        return 0
    for words in report.failures():
        _complain(f"nothing was written: {words}")
    return 1


def check(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """Go through a checklist for LoRA on a model of your own, with figures."""
    fresh = {name: options[name] for name in ("rank", "alpha", "targets") if options[name] is not None}
    if options.adapter is None and options.model is None:
        raise Mistake("give a model with --model, a trained adapter with --adapter, or both")
    if options.adapter is not None and fresh:
        raise Mistake(
            f"--adapter says all of an adapter; leave out {', '.join(f'--{name}' for name in fresh)}"
        )
    if "rank" in fresh:
        fresh["r"] = fresh.pop("rank")
    quiet_libraries()
    from lowland.deploy.checkup import FAIL, check_model
    from lowland.lora import LoRAConfig

    adapter = None if options.adapter is None else Path(options.adapter)
    failed = 0
    for name, outcome, figures in check_model(options.model, adapter, LoRAConfig(**fresh)):
        print(f"{outcome.ljust(5)} {name.ljust(16)} {figures}", flush=True)
        failed += outcome == FAIL
    return 1 if failed else 0


def tasks(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """List the tasks there are."""
    from lowland.tasks.table import TASKS

    _list({name: task.summary for name, task in TASKS.items()})
    return 0


def methods(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """List the methods there are, and what may stand in front of them."""
    from lowland.train.methods import METHODS, PERTURBATIONS

    _list({name: method.summary for name, method in METHODS.items()})
    print("\nIn front of a method, as in flat+dora or neftune+flat+lora-plus:\n")
    _list({f"{name}+": noise.summary for name, noise in PERTURBATIONS.items()})
    return 0


VERBS: Mapping[str, Callable[[Namespace, Mapping[str, Any]], int]] = {
    "compare": compare,
    "train": train,
    "predict": predict,
    "merge": merge,
    "check": check,
    "stress": stress,
    "tasks": tasks,
    "methods": methods,
}


def _take_config(given: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take `--config FILE` out of the arguments: the recipe's fields as options know them, and unknown ones.

    jsonargparse would stop at the first field that it does not know; `read_recipe` names them all.
    """
    read: dict[str, Any] = {}
    while "--config" in (names := [one.partition("=")[0] for one in given]):
        at = names.index("--config")
        value = given.pop(at).partition("=")[2] or (given.pop(at) if at < len(given) else "")
        read |= _read_recipe_file(Path(value))
    recipe = Recipe()
    known = {name: value for name, value in read.items() if name in OPTIONS}
    for name, value in known.items():
        if isinstance(getattr(recipe, name, None), tuple) and not isinstance(value, list):
            known[name] = [value]
    return known, {name: value for name, value in read.items() if name not in OPTIONS}


def _read_recipe_file(path: Path) -> dict[str, Any]:
    read = read_yaml(path, "recipe file")
    if not isinstance(read, dict):
        raise Mistake(f"{path} is no recipe; expected lines such as 'task: financial-demo'")
    return {str(name): value for name, value in read.items()}


def _recipe(options: Namespace, unknown: Mapping[str, Any]) -> Recipe:
    from lowland.tasks.table import TASKS
    from lowland.train.methods import method_named

    fields = {one.name for one in dataclasses.fields(Recipe)}
    given = {name: value for name, value in options.as_dict().items() if name in fields}
    return read_recipe({**unknown, **given}, tasks=TASKS, methods=method_named)


def _number(name: str, given: str) -> float:
    try:
        return float(given)
    except ValueError:
        raise Mistake(f"{name} is {given}; it must be a number") from None


def _exit_code(folders: Sequence[Path]) -> int:
    from lowland.evidence.readers.runs import finished

    return 0 if len(finished(folders)) == len(folders) else 1


def _list(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows))
    for name, words in rows.items():
        print(f"{name.ljust(width)}  {words}")


def _unforeseen(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"an error that lowland does not know: {type(error).__name__}: {reason_of(error)}; --debug shows where"
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}; nothing half-written was left, and finished runs are kept"


def _complain(words: str) -> None:
    print(f"lowland: {words}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
