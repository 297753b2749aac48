"""Command-line options from pydantic models: one option per field, with its help text and default."""

from __future__ import annotations

import argparse
import collections.abc
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo

from lowland.ground.asked import Asked, plain
from lowland.ground.mistakes import Mistake, gathering

Values = dict[str, Any]
"""Values by the names of fields, as given on the command line or in a recipe file; the models check them."""

Advice = Callable[[str, Sequence[str]], str]
"""Takes a field that has one value, and several given ones; returns what to do instead, or ""."""


@dataclass(frozen=True)
class Option:
    """An option of the command line, made from a field of a model.

    Attributes:
        name: of the field.
        flag: the option's name on the command line, such as `--batch-size`.
        field: the field.
    """

    name: str
    flag: str
    field: FieldInfo

    @property
    def kinds(self) -> set[Any]:
        """Return the plain types of the values."""
        return set(kinds_of(self.field.annotation))

    @property
    def is_switch(self) -> bool:
        """Return whether the option takes no value."""
        return bool in self.kinds

    @property
    def is_list(self) -> bool:
        """Return whether the option takes several values."""
        return tuple in self.kinds

    @property
    def is_mapping(self) -> bool:
        """Return whether the value is a mapping, written as YAML or JSON."""
        return collections.abc.Mapping in self.kinds

    @property
    def is_number(self) -> bool:
        """Return whether the value is a number."""
        return not self.is_list and bool({int, float} & self.kinds)

    @property
    def metavar(self) -> str:
        """Return the name of a value in help texts."""
        name = self.flag.lstrip("-").replace("-", "_").upper()
        extra = self.field.json_schema_extra
        named = extra.get("metavar") if isinstance(extra, dict) else None
        if isinstance(named, str):
            return named
        return name.removesuffix("S") if self.is_list else name


@dataclass(frozen=True)
class Command:
    """A verb of the command line.

    Attributes:
        run: does the work; takes what `read` returns, and returns the exit code.
        fields: the fields that can be given, by name.
        read: checks the given values and returns the models.
        positional: the field that is given without a name, if any.
        advice: what to do where several values are given for an option that takes one.
    """

    run: Callable[..., int]
    fields: Mapping[str, FieldInfo]
    read: Callable[[Values], tuple[Any, ...]]
    positional: str | None = None
    advice: Advice = lambda name, values: ""

    @property
    def options(self) -> Mapping[str, Option]:
        """Return the options by their flags; the positional field has none."""
        options = [
            Option(name, option_name(name, field), field)
            for name, field in self.fields.items()
            if name != self.positional
        ]
        return {option.flag: option for option in options}


def command(run: Callable[..., int], *models: type[Asked], positional: str | None = None) -> Command:
    """Return a command whose options are the fields of models, and whose function takes these models in order."""
    fields = {name: field for model in models for name, field in model.model_fields.items()}

    def read(values: Values) -> tuple[Asked, ...]:
        return read_models(values, models)

    return Command(run, fields, read, positional)


def read_models(values: Values, models: Sequence[type[Asked]]) -> tuple[Asked, ...]:
    """Return models with the values of their fields.

    Raises:
        Mistake: with the problems of all models.
    """
    read: list[Asked] = []
    problems: list[str] = []
    for model in models:
        with gathering(problems):
            read.append(model(**{name: values[name] for name in model.model_fields if name in values}))
    if problems:
        raise Mistake(*problems)
    return tuple(read)


def option_name(name: str, field: FieldInfo | None = None) -> str:
    """Return a field's name on the command line: its own, or the `option` that its schema names."""
    extra = field.json_schema_extra if field else None
    named = extra.get("option") if isinstance(extra, dict) else None
    return f"--{named}" if isinstance(named, str) else f"--{name.replace('_', '-')}"


def help_of(prog: str, about: str, verb: Command) -> str:
    """Return the help text of a verb."""
    parser = argparse.ArgumentParser(prog=prog, description=about, add_help=False)
    add_options(parser, verb)
    usage = [prog]
    if verb.positional is not None:
        several = tuple in kinds_of(verb.fields[verb.positional].annotation)
        usage.append(f"{verb.positional.upper()}{' …' if several else ''}")
    for option in verb.options.values():
        if option.field.is_required():
            usage.append(f"{option.flag} {option.metavar}{' …' if option.is_list else ''}")
    parser.usage = " ".join([*usage, "[options]"]).replace("%", "%%")
    return parser.format_help()


def add_options(parser: argparse.ArgumentParser, verb: Command) -> None:
    """Add what a verb takes to a parser, which describes it to people and to shells; `read_words` reads it."""
    if verb.positional is not None:
        field = verb.fields[verb.positional]
        parser.add_argument(verb.positional.upper(), help=_describe(field), choices=_choices(field))
    for option in verb.options.values():
        _add_option(parser, option)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("-h", "--help", action="store_true", help="show this help")


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    help_text = _describe(option.field)
    if option.is_switch and option.field.default:
        parser.add_argument(option.flag, action=argparse.BooleanOptionalAction, help=help_text)
    elif option.is_switch:
        parser.add_argument(option.flag, action="store_true", help=help_text)
    else:
        nargs = "+" if option.is_list else None
        parser.add_argument(option.flag, nargs=nargs, metavar=option.metavar, help=help_text)


def _choices(field: FieldInfo) -> list[str] | None:
    """Return the words that a field allows; None if it allows any."""
    is_choice = typing.get_origin(field.annotation) is Literal
    return [str(word) for word in typing.get_args(field.annotation)] if is_choice else None


def kinds_of(annotation: Any) -> Iterator[Any]:
    """Yield the plain types of an annotation; for a union, those of its members."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from kinds_of(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from kinds_of(member)
    else:
        yield origin or annotation


def _describe(field: FieldInfo) -> str:
    """Return a field's help text with its default."""
    text = " ".join((field.description or "").split())
    default = None if field.is_required() else plain(field.get_default(call_default_factory=True))
    if isinstance(default, dict):
        default = default.get("name")
    if isinstance(default, list):
        default = " ".join(map(str, default))
    if field.is_required():
        shown = " (required)"
    else:
        shown = "" if default in (None, "") or isinstance(default, bool) else f" (default: {default})"
    return f"{text}{shown}".replace("%", "%%")
