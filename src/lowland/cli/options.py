"""Command-line options from pydantic models: one option per field, with its help text and default."""

from __future__ import annotations

import argparse
import collections.abc
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from pydantic.fields import FieldInfo

from lowland.ground.asked import Asked, plain
from lowland.ground.mistakes import Mistake, one_of

Values = dict[str, Any]
"""Values by the names of fields, as given on the command line or in a recipe file; the models check them."""


@dataclass(frozen=True)
class Command:
    """A verb of the command line.

    Attributes:
        run: function that does the work; it takes what `read` returns, and returns the exit code.
        options: fields that can be given, by name.
        read: function that checks the given values and returns the models.
        positional: field that is given without a name, if any.
    """

    run: Callable[..., int]
    options: Mapping[str, FieldInfo]
    read: Callable[[Values], tuple[Any, ...]]
    positional: str | None = None


def command(run: Callable[..., int], *models: type[Asked], positional: str | None = None) -> Command:
    """Return a command whose options are the fields of models, and whose function takes these models in order."""
    options = {name: field for model in models for name, field in model.model_fields.items()}

    def read(values: Values) -> tuple[Asked, ...]:
        return read_models(values, models)

    return Command(run, options, read, positional)


def read_models(values: Values, models: Sequence[type[Asked]]) -> tuple[Asked, ...]:
    """Return models with the values of their fields.

    Raises:
        Mistake: with the problems of all models.
    """
    read: list[Asked] = []
    problems: list[str] = []
    for model in models:
        try:
            read.append(model(**{name: values[name] for name in model.model_fields if name in values}))
        except Mistake as mistake:
            problems += mistake.problems
    if problems:
        raise Mistake(*problems)
    return tuple(read)


class Parser(argparse.ArgumentParser):
    """Argument parser that raises `Mistake` instead of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a mistake."""
        raise Mistake(f"{message}; see {self.prog} --help")


def parser_of(prog: str, about: str, verb: Command) -> Parser:
    """Return the argument parser of a verb. Options that the user omits are absent from its namespace."""
    parser = Parser(prog=prog, description=about, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name, field in verb.options.items():
        _add_option(parser, name, field, positional=name == verb.positional)
    return parser


def parse(parser: Parser, verb: Command, arguments: Sequence[str]) -> Values:
    """Return the values that are given on the command line, by field.

    Raises:
        Mistake: naming each option that does not exist, with the nearest one that does.
    """
    namespace, unknown = parser.parse_known_args([_with_dashes(word) for word in arguments])
    names = [option_name(name) for name in verb.options if name != verb.positional]
    if options := [word.partition("=")[0] for word in unknown if word.startswith("--")]:
        raise Mistake(*(one_of("option", option, names) for option in options))
    if unknown:
        raise Mistake(f"unexpected argument '{unknown[0]}'; see {parser.prog} --help")
    return vars(namespace)


def option_name(field: str) -> str:
    """Return a field's name on the command line."""
    return f"--{field.replace('_', '-')}"


def _with_dashes(word: str) -> str:
    """Replace underscores by dashes in an option's name, so that field names of recipe files work, too."""
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word


def _add_option(parser: Parser, name: str, field: FieldInfo, *, positional: bool) -> None:
    kinds = list(_kinds(field.annotation))
    help_text = _help_of(field)
    if bool in kinds:
        if field.default:
            parser.add_argument(
                option_name(name), dest=name, action=argparse.BooleanOptionalAction, help=help_text
            )
        else:
            parser.add_argument(option_name(name), dest=name, action="store_true", help=help_text)
        return
    several = tuple in kinds
    reads: Callable[[str], Any] = _yaml_mapping if collections.abc.Mapping in kinds else str
    if positional:
        parser.add_argument(name, nargs="*" if several else "?", type=reads, help=help_text)
        return
    shown = name.upper().removesuffix("S") if several else name.upper()
    parser.add_argument(
        option_name(name),
        dest=name,
        action="extend" if several else "store",
        nargs="+" if several else None,
        type=reads,
        metavar=shown,
        help=help_text,
    )


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the plain types of an annotation; for a union, those of its members."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _kinds(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _kinds(member)
    else:
        yield origin or annotation


def _help_of(field: FieldInfo) -> str:
    """Return a field's help text with its default."""
    text = " ".join((field.description or "").split())
    default = None if field.is_required() else plain(field.get_default(call_default_factory=True))
    if isinstance(default, dict):
        default = default.get("name")
    if isinstance(default, list):
        default = " ".join(map(str, default))
    shown = "" if default is None or default == "" or isinstance(default, bool) else f" (default: {default})"
    return f"{text}{shown}".replace("%", "%%")


def _yaml_mapping(text: str) -> Any:
    """Return a mapping that is written as YAML or JSON; the model refuses anything else."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
