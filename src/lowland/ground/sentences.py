"""Sentences for the mistakes that pydantic finds in what a user gave."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from typing import Any

import annotated_types
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from lowland.ground.mistakes import Mistake, one_of, unknown_setting


def sentences_of(error: ValidationError, model: type[BaseModel], listed_by: str = "") -> list[str]:
    """Return one sentence for each problem that pydantic found, in the order of the fields.

    Args:
        error: what pydantic raised.
        model: whose fields were given.
        listed_by: command that lists the fields, for a sentence on an unknown one.
    """
    sentences: list[str] = []
    problems = error.errors(include_url=False)
    lists_with_wrong_items = {problem["loc"][:1] for problem in problems if len(problem["loc"]) > 1}
    for problem in problems:
        if problem["type"] == "too_short" and problem["loc"] in lists_with_wrong_items:
            continue  # pydantic counts only the right items
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, Mistake):  # of a model within this one, or of a validator that says it all
            prefix = f"{problem['loc'][0]}: " if _holds_model(model, problem["loc"]) else ""
            sentences += [f"{prefix}{sentence}" for sentence in cause.problems]
        else:
            sentences.append(_sentence(problem, model, cause, listed_by))
    return list(dict.fromkeys(sentences))


def _sentence(problem: Any, model: type[BaseModel], cause: object, listed_by: str) -> str:
    loc = problem["loc"]
    shown = _shown(problem)
    name = str(loc[0]) if loc else model.__name__
    if problem["type"] == "extra_forbidden":
        return unknown_setting("field", name, list(model.model_fields), listed_by)
    if problem["type"] == "missing":
        described = model.model_fields[name].description if name in model.model_fields else None
        return f"{name} is missing: {described}" if described else f"{name} is missing; give it a value"
    if problem["type"] == "literal_error":
        return one_of(name, problem["input"], re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
    field = model.model_fields.get(name)
    must = str(cause) if cause is not None else _requirement(problem, field if len(loc) == 1 else None)
    if loc[-1:] == ("[key]",):
        return f"{name} names {shown}; each name in it must {must}"
    if len(loc) > 1 and isinstance(loc[1], int):
        return f"{name} holds {shown}; each value must {must}"
    if len(loc) > 1:
        return f"{name} holds {shown} for {loc[1]}; it must {must}"
    return f"{name} is {shown}; it must {must}"


def _shown(problem: Any) -> str:
    """Show a value; a number from the command line is text, and is shown without quotes."""
    value = problem["input"]
    if isinstance(value, str) and problem["type"] in BOUNDS:
        return value
    if isinstance(value, str) and problem["type"] in ("float_type", "int_type"):
        return f"the text {value!r}"  # where texts are not read as numbers
    return repr(value)


def problems_with_each(name: str, values: Sequence[object], kind: Any) -> list[str]:
    """Return a sentence for each value of a list that is not of a kind.

    Args:
        name: of the field that holds the list.
        values: of the list.
        kind: annotation of the values, such as `Whole`.
    """
    problems: list[str] = []
    for value in values:
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            (problem, *_) = error.errors(include_url=False)
            cause = problem.get("ctx", {}).get("error")
            must = _requirement(problem, None) if cause is None else str(cause)
            problems.append(f"{name} holds {_shown(problem)}; each value must {must}")
    return problems


def _requirement(problem: Any, field: FieldInfo | None) -> str:
    """Say what a value must be, to follow "it must"."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in BOUNDS:
        return (_interval(field) if field else None) or f"{BOUNDS[kind][0]} {context[BOUNDS[kind][1]]:g}"
    message = str(problem["msg"])
    return REQUIREMENTS.get(kind, message[0].lower() + message[1:])


BOUNDS = {
    "greater_than_equal": ("be at least", "ge"),
    "greater_than": ("be above", "gt"),
    "less_than_equal": ("be at most", "le"),
    "less_than": ("be below", "lt"),
}
REQUIREMENTS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "be a number"),
    **dict.fromkeys(("string_type", "path_type"), "be text"),
    "string_unicode": "be text in UTF-8",
    **dict.fromkeys(("dict_type", "mapping_type"), "be a mapping"),
    **dict.fromkeys(("tuple_type", "list_type"), "be a list"),
    "finite_number": "be finite",
    "too_short": "not be empty",
}


def _interval(field: FieldInfo) -> str | None:
    """Return "be in [0, 1)" for a field with bounds on both sides, else None."""
    low = high = ""
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=value):
                low = f"[{value:g}"
            case annotated_types.Gt(gt=value):
                low = f"({value:g}"
            case annotated_types.Le(le=value):
                high = f"{value:g}]"
            case annotated_types.Lt(lt=value):
                high = f"{value:g})"
    return f"be in {low}, {high}" if low and high else None


def _holds_model(model: type[BaseModel], loc: Sequence[str | int]) -> bool:
    """Return whether a field's type is a model, so that its sentences need the field's name before them."""
    field = model.model_fields.get(str(loc[0])) if loc else None
    if field is None:
        return False
    union = typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(field.annotation) if union else (field.annotation,)
    return any(isinstance(member, type) and issubclass(member, BaseModel) for member in members)
