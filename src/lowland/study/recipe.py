"""Recipe of a study. Its fields are the options of the command line and the keys of a recipe file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, ValidationInfo, model_validator

from lowland.ground.asked import NotEmpty, Seed, Text, Truth, Whole, plain
from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.sentences import problems_with_each
from lowland.models.packages import DEFAULT_MODEL
from lowland.study.overrides import (
    MethodsWithOverrides,
    older_settings,
    override_problems,
    read_overrides,
    warn_of_overrides,
)
from lowland.tasks.examples import TaskFields
from lowland.tasks.table import TASKS, task_fields
from lowland.train.choice import MethodChoice
from lowland.train.settings import Settings
from lowland.train.trackers import TRACKERS, TrackerName

DEFAULT_METHODS = ("full", "lora", "flat-lora")


def _read_task(value: Any) -> Any:
    """Read a task: its name, or a mapping with its name and fields."""
    if isinstance(value, TaskFields):
        return value
    fields = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise ValueError("be a task's name, or a mapping such as {name: classification, data: reviews.csv}")
    return task_fields(name, **{str(field): value for field, value in fields.items()})


def _read_methods(value: Any, info: ValidationInfo) -> Any:
    """Read methods: each a name, or a mapping from a name to settings of its own and perhaps a label."""
    overrides: Mapping[str, Mapping[str, Any]] = {}
    if isinstance(value, MethodsWithOverrides):
        value, overrides = value.methods, read_overrides(value.overrides)
    entries = _as_entries(value)
    base = Settings(**{name: info.data[name] for name in Settings.model_fields if name in info.data})
    choices: list[MethodChoice] = []
    problems: list[str] = []
    older_problems = override_problems(overrides, base, entries)
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
    if overrides:
        warn_of_overrides(choices)
    return tuple(choices)


def _as_entries(methods: Any) -> Sequence[Any]:
    """Return the entries of `methods`; a lone entry stands for a list of one."""
    return methods if isinstance(methods, list | tuple) else [methods]


def _read_method(
    entry: Any, base: Settings, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> MethodChoice:
    if isinstance(entry, MethodChoice):
        entry = entry.as_recipe()
    name, own = named_settings(entry)
    older = older_settings(name, overrides or {})
    label = own.pop("label", None)
    return MethodChoice.choose(name, base, {**older, **own}, None if label is None else str(label))


def named_settings(entry: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings that an entry of `methods` gives.

    Raises:
        Mistake: if it is neither a name nor a mapping from one name to settings.
    """
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
    return entry, own


def _read_seeds(value: Any) -> tuple[Any, ...]:
    """Read seeds: one, or a list. Everything that is wrong with them is reported together."""
    seeds = tuple(value) if isinstance(value, list | tuple) else (value,)
    if several := [seed for seed in seeds if isinstance(seed, str) and "," in seed]:
        raise Mistake(f"seeds holds {several[0]!r}; write several seeds as a list: [1, 2, 3]")
    problems = problems_with_each("seeds", seeds, Seed)
    twice = [seed for number, seed in enumerate(seeds) if seed in seeds[:number]]
    problems += [
        f"seeds names {seed} more than once; once is enough" for seed in dict.fromkeys(map(str, twice))
    ]
    if problems:
        raise Mistake(*problems)
    return seeds


def _no_seed_twice(seeds: Sequence[int]) -> Sequence[int]:
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise Mistake(f"seeds names {twice[0]} more than once; once is enough")  # as 1 and "1"
    return seeds


def _read_trackers(value: Any) -> Any:
    """Read trackers: one, or a list; "none" alone is an empty list. A name that is given twice counts once."""
    names = list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]
    if names == ["none"]:
        return ()
    if unknown := [name for name in names if name not in TRACKERS]:
        raise Mistake(*(one_of("tracker", name, [*TRACKERS, "none"]) for name in dict.fromkeys(unknown)))
    return tuple(dict.fromkeys(names))


class Recipe(Settings):
    """Request for a study: a task, a model, methods, seeds, and the settings that all methods share.

    Mistakes are reported together. `task` is a name, or a mapping with the task's fields; these may also be given at
    the top level. An entry of `methods` is a name, or a mapping from a name to settings of its own, so the same method
    may be listed twice.

    Raises:
        Mistake: with one sentence for each problem.

    Examples:
        >>> Recipe(
        ...     task={"name": "classification", "data": "reviews.csv", "text_column": "review"},
        ...     methods=["full", "lora", {"lora": {"rank": 32, "alpha": 64, "label": "lora-r32"}}],
        ...     seeds=[1, 2, 3],
        ... )
    """

    listed_by: ClassVar[str] = "lowland compare --help"

    task: Annotated[SerializeAsAny[TaskFields], BeforeValidator(_read_task)] = task_fields("financial-demo")
    """the task; `lowland tasks` lists them"""
    model: Text = DEFAULT_MODEL
    """a model of the Hugging Face hub, a folder, a .gguf file, or gemma-3-270m (from the extra gemma)"""
    revision: Text | None = None
    """revision of a model of the hub"""
    methods: Annotated[tuple[MethodChoice, ...], BeforeValidator(_read_methods), NotEmpty] = Field(
        DEFAULT_METHODS, validate_default=True
    )
    """the methods; `lowland methods` lists them"""
    seeds: Annotated[
        tuple[Seed, ...], BeforeValidator(_read_seeds), NotEmpty, AfterValidator(_no_seed_twice)
    ] = (
        42,
        1337,
        2024,
    )
    """the seeds; each method is trained once with each"""
    max_length: Annotated[Whole, Field(ge=1)] | None = None
    """number of tokens after which a text is cut off; default: 128, for question answering 384"""
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """number format: fp32; bf16 (autocast, the frozen base of lowland's LoRA stored in bf16); auto takes bf16 on GPUs
    that support it and on processors that are faster in it. Weights are saved in fp32; `lowland predict` computes in
    the run's format"""
    compile: Truth = False
    """train with torch.compile"""
    keep_weights: Truth = True
    """save the trained weights in the run's folder; `lowland predict` needs them"""
    trackers: Annotated[tuple[TrackerName, ...], BeforeValidator(_read_trackers)] = ()
    """log each training to these as well: wandb, tensorboard, trackio, mlflow (docs/logging.md); they write into the
    folder trackers beside the runs, and send nothing unless the environment says so (default: none)"""
    out: Text = "runs"
    """folder of the runs, or its URL, such as s3://bucket/runs; a run found there is not run again"""

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
            overrides = values.pop("overrides")
            values["methods"] = MethodsWithOverrides(values.get("methods", DEFAULT_METHODS), overrides)
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
