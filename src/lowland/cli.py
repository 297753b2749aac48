"""The command line: one verb a function. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import dataclasses
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace

from lowland import __version__
from lowland.mistakes import Mistake, reason_of
from lowland.recipe import Recipe, read_recipe
from lowland.store import write_whole

OPTIONS = {*(one.name for one in dataclasses.fields(Recipe)), "method", "seed", "fresh"}
"""What a recipe file may hold: `lowland train` has method and seed where `lowland compare` has several of both."""
ABOUT = "Fine-tune with low-rank adapters that come to rest on flat land, and prove whether it helped."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 a run failed, 2 a mistake in what was given, 130 interrupted.
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
    parser, recipes = _parser()
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
    from lowland.report.text import summary
    from lowland.study.progress import Progress
    from lowland.study.run import run_study

    recipe = _recipe(options, unknown)
    _quiet_libraries()
    folders = run_study(recipe, fresh=options.fresh, progress=Progress(sys.stderr))
    print(f"\n{summary(folders)}")
    return _exit_code(folders)


def train(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """Train one method with one seed."""
    from lowland.report.text import summary
    from lowland.study.progress import Progress
    from lowland.study.run import run_study

    options.methods, options.seeds = [options.pop("method")], [options.pop("seed")]
    recipe = _recipe(options, unknown)
    _quiet_libraries()
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
    from lowland.train.predict import load_classifier_of

    _quiet_libraries()
    answers = load_classifier_of(Path(options.run), merge=options.merge).predict(texts)
    written = answers.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    if options.out is None:
        print(written, end="")
    else:
        write_whole(Path(options.out), written)
    return 0


def tasks(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """List the tasks there are."""
    from lowland.tasks.table import TASKS

    _list({name: task.summary for name, task in TASKS.items()})
    return 0


def methods(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """List the methods there are."""
    from lowland.train.methods import METHODS

    _list({name: method.summary for name, method in METHODS.items()})
    return 0


VERBS: Mapping[str, Callable[[Namespace, Mapping[str, Any]], int]] = {
    "compare": compare,
    "train": train,
    "predict": predict,
    "tasks": tasks,
    "methods": methods,
}


class Help(DefaultHelpFormatter):
    """Leaves out the type where jsonargparse knows none: `read_recipe` reads those values."""

    def _get_type_str(self, action: Any) -> str | None:
        told: str | None = super()._get_type_str(action)
        return None if told == "Any" else told


def _parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser of the whole command line, and those of the verbs that take a recipe."""
    parser = ArgumentParser(prog="lowland", description=ABOUT, version=__version__, formatter_class=Help)
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    verbs = parser.add_subcommands(required=False, dest="subcommand", metavar="VERB")
    recipes = {}
    for name, verb in VERBS.items():
        one = ArgumentParser(description=verb.__doc__)
        if name in ("compare", "train"):
            _add_recipe(one, single=name == "train")
            recipes[name] = one
        elif name == "predict":
            _add_predict(one)
        verbs.add_subcommand(name, one, help=str(verb.__doc__))
    return parser, recipes


def _add_recipe(parser: ArgumentParser, *, single: bool) -> None:
    """An option for each field of a recipe. Values are read and held against their ranges by `read_recipe`."""
    parser.add_argument(
        "--config", action=ActionConfigFile, help="a recipe file; options given beside it win"
    )
    for one in dataclasses.fields(Recipe):
        name, default, about = one.name, getattr(Recipe(), one.name), one.metadata["help"]
        if single and name in ("methods", "seeds"):
            name = name[:-1]
            default = {"method": "lora", "seed": 42}[name]
            about = {"method": "the method; `lowland methods` lists them", "seed": "of the run"}[name]
        several = isinstance(default, tuple)
        texts = one.type in ("str", "str | None") or name == "method"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            nargs="+" if several else None,
            type=(str | None if default is None else str) if texts else Any,
            default=_plain(default),
            help=about,
            metavar=name.upper() if not several else name.upper().removesuffix("S"),
        )
    parser.add_argument(
        "--fresh", action="store_true", help="run anew what is found in the folder of the runs"
    )


def _add_predict(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="folder of a run, or of a whole model")
    parser.add_argument(
        "--text", nargs="+", type=str, help="texts to label; one that begins with a dash as --text=-5%%"
    )
    parser.add_argument("--data", type=str | None, help="a file of texts: .csv, .tsv, .jsonl or .parquet")
    parser.add_argument(
        "--text-column", dest="text_column", type=str, default="text", help="its column of texts"
    )
    parser.add_argument("--out", type=str | None, help="write a CSV file instead of printing one")
    parser.add_argument("--merge", action="store_true", help="fold the adapter into the weights first")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _take_config(given: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take `--config FILE` out of the arguments: the recipe's fields as options know them, and unknown ones.

    jsonargparse would stop at the first field that it does not know; `read_recipe` names them all.
    """
    read: dict[str, Any] = {}
    while "--config" in (names := [one.partition("=")[0] for one in given]):
        at = names.index("--config")
        value = given.pop(at).partition("=")[2] or (given.pop(at) if at < len(given) else "")
        read |= _read_yaml(Path(value))
    recipe = Recipe()
    known = {name: value for name, value in read.items() if name in OPTIONS}
    for name, value in known.items():
        if isinstance(getattr(recipe, name, None), tuple) and not isinstance(value, list):
            known[name] = [value]
    return known, {name: value for name, value in read.items() if name not in OPTIONS}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise Mistake(f"the recipe file {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Mistake(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(read, dict):
        raise Mistake(f"{path} is no recipe; expected lines such as 'task: financial-demo'")
    return {str(name): value for name, value in read.items()}


def _recipe(options: Namespace, unknown: Mapping[str, Any]) -> Recipe:
    from lowland.tasks.table import TASKS
    from lowland.train.methods import METHODS

    fields = {one.name for one in dataclasses.fields(Recipe)}
    given = {name: value for name, value in options.as_dict().items() if name in fields}
    uses = {name: method.options for name, method in METHODS.items()}
    return read_recipe({**unknown, **given}, tasks=TASKS, methods=uses)


def _quiet_libraries() -> None:
    """Their notes would drown ours; errors still show."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _exit_code(folders: Sequence[Path]) -> int:
    from lowland.evidence.scores import finished

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
