"""Recipe of a study. Its fields are the options of the command line and the keys of a recipe file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, ValidationInfo, model_validator

from lowland.ground.asked import NotEmpty, Several, Text, Truth, Whole, plain
from lowland.ground.mistakes import Mistake
from lowland.models.find import DEFAULT_MODEL
from lowland.tasks.base import TaskFields
from lowland.tasks.table import TASKS, task_fields
from lowland.train.choice import MethodChoice
from lowland.train.methods import method_named
from lowland.train.settings import Settings

DEFAULT_METHODS = ("full", "lora", "flat-lora")


@dataclass(frozen=True)
class _MethodsWithOverrides:
    """Entries of `methods`, and the older form of settings for one method, `overrides`."""

    methods: Any
    overrides: Mapping[str, Mapping[str, Any]]


def _read_task(value: Any) -> Any:
    """Read a task: its name, or a mapping with its name and fields."""
    if isinstance(value, TaskFields):
        return value
    fields = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise ValueError("be a task's name, or a mapping such as {name: classification, data: reviews.csv}")
    return task_fields(name, **fields)


def _read_methods(value: Any, info: ValidationInfo) -> Any:
    """Read methods: each a name, or a mapping from a name to settings of its own and perhaps a label."""
    overrides: Mapping[str, Mapping[str, Any]] = {}
    if isinstance(value, _MethodsWithOverrides):
        value, overrides = value.methods, value.overrides
    entries = value if isinstance(value, list | tuple) else [value]
    base = Settings(**{name: info.data[name] for name in Settings.model_fields if name in info.data})
    choices: list[MethodChoice] = []
    problems: list[str] = []
    older_problems = _override_problems(overrides, base)
    for entry in entries:
        try:
            choices.append(_read_method(entry, base, {} if older_problems else overrides))
        except Mistake as mistake:
            problems += mistake.problems
    problems += older_problems
    labels = [choice.label for choice in choices]
    problems += [
        f"methods names {label} more than once; give each a label of its own, such as {{{label}: {{label: {label}-2}}}}"
        for label in dict.fromkeys(labels)
        if labels.count(label) > 1
    ]
    if problems:
        raise Mistake(*dict.fromkeys(problems))
    return tuple(choices)


def _read_method(
    entry: Any, base: Settings, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> MethodChoice:
    if isinstance(entry, MethodChoice):
        entry = entry.as_recipe()
    own: dict[str, Any] = {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((entry, fields),) = entry.items()
        if not isinstance(fields, Mapping):
            raise Mistake(
                f"methods holds {{{entry}: {fields}}}; give settings by name, as in {{{entry}: {{lr: 1e-4}}}}"
            )
        own = dict(fields)
    if not isinstance(entry, str):
        raise Mistake(
            f"methods holds {entry!r}; give a name, or a name with settings: {{lora: {{rank: 32}}}}"
        )
    older = _older_settings(entry, overrides or {})
    label = own.pop("label", None)
    return MethodChoice.choose(entry, base, {**older, **own}, None if label is None else str(label))


def _older_settings(name: str, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings in `overrides` for a method, and for the row behind its perturbations."""
    if not overrides:
        return {}
    method = method_named(name).name
    row = method.rpartition("+")[2]
    by_name = {method_named(key).name: values for key, values in overrides.items() if _is_method(key)}
    return {**by_name.get(row, {}), **by_name.get(method, {})}


def _override_problems(overrides: Mapping[str, Mapping[str, Any]], base: Settings) -> list[str]:
    """Return the problems of the older form, also for methods that the recipe does not name."""
    problems: list[str] = []
    names: list[str] = []
    for name, values in overrides.items():
        try:
            names.append(MethodChoice.choose(name, base, values).name)
        except Mistake as mistake:
            problems += [f"overrides: {problem}" for problem in mistake.problems]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return problems + [f"overrides names {name} more than once; once is enough" for name in twice]


def _is_method(name: str) -> bool:
    try:
        method_named(name)
    except Mistake:
        return False
    return True


def _no_seed_twice(seeds: Sequence[int]) -> Sequence[int]:
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise Mistake(f"seeds names {twice[0]} more than once; once is enough")
    return seeds


class Recipe(Settings):
    """Request for a study: a task, a model, methods, seeds, and the settings that all methods share.

    Mistakes are reported together. `task` is a name, or a mapping with the task's fields; these may also be given at
    the top level. An entry of `methods` is a name, or a mapping from a name to settings of its own, so the same method
    may be listed twice.

    Raises:
        Mistake: with one sentence for each problem.

    Example:
        >>> Recipe(
        ...     task={"name": "classification", "data": "reviews.csv", "text_column": "review"},
        ...     methods=["full", "lora", {"lora": {"rank": 32, "alpha": 64, "label": "lora-r32"}}],
        ...     seeds=[1, 2, 3],
        ... )
    """

    task: Annotated[SerializeAsAny[TaskFields], BeforeValidator(_read_task)] = task_fields("financial-demo")
    """the task; `lowland tasks` lists them"""
    model: Text = DEFAULT_MODEL
    """a model of the Hugging Face hub, or a folder"""
    revision: Text | None = None
    """revision of a model of the hub"""
    methods: Annotated[tuple[MethodChoice, ...], BeforeValidator(_read_methods), NotEmpty] = Field(
        DEFAULT_METHODS, validate_default=True
    )
    """the methods; `lowland methods` lists them"""
    seeds: Annotated[Several[Whole], NotEmpty, AfterValidator(_no_seed_twice)] = (42, 43, 44)
    """the seeds; each method is trained once with each"""
    max_length: Annotated[Whole, Field(ge=1)] = 128
    """number of tokens after which a text is cut off"""
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """number format: fp32; bf16 (autocast, the frozen base of lowland's LoRA stored in bf16); auto takes bf16 on GPUs
    that support it and on processors with AMX. Weights are saved in fp32; `lowland predict` computes in the run's
    format"""
    compile: Truth = False
    """train with torch.compile"""
    keep_weights: Truth = True
    """save the trained weights in the run's folder; `lowland predict` needs them"""
    out: Text = "runs"
    """folder of the runs; a run found there is not run again"""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, values: Any) -> Any:
        """Move top-level task fields into `task`, and attach `overrides` to `methods`."""
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        beside = {name: values.pop(name) for name in task_field_names() if name in values}
        if beside:
            values["task"] = _with_fields(values.get("task", "financial-demo"), beside)
        if "overrides" in values:
            overrides = _read_overrides(values.pop("overrides"))
            methods = values.get("methods", DEFAULT_METHODS)
            _warn_of_overrides(methods, overrides)
            values["methods"] = _MethodsWithOverrides(methods, overrides)
        return values

    def as_dict(self) -> dict[str, Any]:
        """Return the content of a recipe file: plain values, from which the same recipe can be made."""
        values = {name: plain(getattr(self, name)) for name in type(self).model_fields}
        head = {
            "task": values.pop("task"),
            "methods": [choice.as_recipe() for choice in self.methods],
            "seeds": values.pop("seeds"),
        }
        del values["methods"]
        return {**head, **values}


def task_field_names() -> list[str]:
    """Return the names of all tasks' fields, without `name`."""
    return [name for task in TASKS.values() for name in task.fields.model_fields if name != "name"]


def _with_fields(task: Any, beside: Mapping[str, Any]) -> Any:
    """Add fields to a task; raise `Mistake` if one is given twice with two values."""
    if isinstance(task, TaskFields):
        task = {name: getattr(task, name) for name in task.model_fields_set}
    named = dict(task) if isinstance(task, Mapping) else {"name": task}
    if twice := [name for name in beside if name in named and named[name] != beside[name]]:
        raise Mistake(f"{twice[0]} has one value in the task and another at the top level; keep one of them")
    return {**named, **beside}


def _read_overrides(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(row, Mapping) for row in value.values()):
        raise Mistake(f"overrides is {value!r}; it must be a mapping such as {{full: {{lr: 5e-5}}}}")
    return {str(name): dict(row) for name, row in value.items()}


def _warn_of_overrides(methods: Any, overrides: Mapping[str, Mapping[str, Any]]) -> None:
    entries = methods if isinstance(methods, list | tuple) else [methods]
    shown = [
        f"{{{name}: {{{', '.join(f'{key}: {value}' for key, value in overrides[name].items())}}}}}"
        if isinstance(name, str) and overrides.get(name)
        else str(name)
        for name in entries
    ]
    warnings.warn(
        f"overrides is an older form; write settings next to the method's name: methods: [{', '.join(shown)}]",
        FutureWarning,
        stacklevel=2,
    )
