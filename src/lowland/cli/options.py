"""The options of the command line: a parser a verb."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter

from lowland import __version__
from lowland.cli.stress_options import add_stress
from lowland.ground.recipe import Recipe
from lowland.ground.spec import plain

ABOUT = "Fine-tune with low-rank adapters that come to rest on flat land, and prove whether it helped."


class Help(DefaultHelpFormatter):
    """Leaves out the type where jsonargparse knows none: `read_recipe` reads those values."""

    def _get_type_str(self, action: Any) -> str | None:
        told: str | None = super()._get_type_str(action)
        return None if told == "Any" else told


def parsers(verbs: Mapping[str, Callable[..., int]]) -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser of the whole command line, and those of the verbs that take a recipe.

    Args:
        verbs: the functions, by their names; their docstrings are the help.
    """
    parser = ArgumentParser(prog="lowland", description=ABOUT, version=__version__, formatter_class=Help)
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    commands = parser.add_subcommands(required=False, dest="subcommand", metavar="VERB")
    recipes = {}
    for name, verb in verbs.items():
        one = ArgumentParser(description=verb.__doc__)
        commands.add_subcommand(name, one, help=str(verb.__doc__))  # before it gets subcommands of its own
        if name in ("compare", "train"):
            _add_recipe(one, single=name == "train")
            recipes[name] = one
        elif name in OPTIONS_OF:
            OPTIONS_OF[name](one)
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
            default=plain(default),
            help=about,
            metavar=name.upper() if not several else name.upper().removesuffix("S"),
        )
    parser.add_argument(
        "--fresh", action="store_true", help="run anew what is found in the folder of the runs"
    )


def _add_predict(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="folder of a run, of an adapter, or of a whole model")
    parser.add_argument(
        "--text", nargs="+", type=str, help="texts to label; one that begins with a dash as --text=-5%%"
    )
    parser.add_argument("--data", type=str | None, help="a file of texts: .csv, .tsv, .jsonl or .parquet")
    parser.add_argument(
        "--text-column", dest="text_column", type=str, default="text", help="its column of texts"
    )
    parser.add_argument("--out", type=str | None, help="write a CSV file instead of printing one")
    parser.add_argument("--merge", action="store_true", help="fold the adapter into the weights first")


def _add_merge(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="folder of a run, or of an adapter in PEFT's format")
    parser.add_argument("--out", type=str, required=True, help="folder for the merged model; new, or empty")
    parser.add_argument(
        "--model", type=str | None, help="the base model; default: the one that was trained on"
    )
    parser.add_argument(
        "--dtype", type=str, default="fp32", help="of the merged model: fp32, bf16, fp16 or nf4"
    )
    parser.add_argument(
        "--precision", type=str, default="float32", help="of the sum W + s·BA: float32 or float64"
    )
    parser.add_argument(
        "--tolerance",
        type=str | None,  # `lowland merge` reads it: "nan" is a mistake with a sentence of its own
        help="largest difference of a logit that passes (fp32: 1e-4, fp16: 1e-2, bf16: 0.1, nf4: 1)",
    )
    parser.add_argument(
        "--data", type=str | None, help="a file of texts to compare on, instead of the run's validation texts"
    )
    parser.add_argument(
        "--text-column", dest="text_column", type=str, default="text", help="its column of texts"
    )


def _add_check(parser: ArgumentParser) -> None:
    parser.add_argument("--model", type=str | None, help="a model of the Hugging Face hub, or a folder")
    parser.add_argument(
        "--adapter",
        type=str | None,
        help="folder of a trained adapter, or of a run, to check instead of a new one",
    )
    parser.add_argument("--rank", type=int | None, help="rank of the new adapters (8)")
    parser.add_argument("--alpha", type=float | None, help="they are scaled by alpha / rank (16)")
    parser.add_argument(
        "--targets",
        nargs="+",
        type=str,
        help="layers to adapt: all-linear, or names or patterns (all-linear)",
    )


OPTIONS_OF: Mapping[str, Callable[[ArgumentParser], None]] = {
    "predict": _add_predict,
    "merge": _add_merge,
    "check": _add_check,
    "stress": add_stress,
}
"""The options of the verbs that take no recipe."""
