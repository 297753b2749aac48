"""What is asked of a study: the fields of a recipe, and every mistake in them told at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from lowland.ground.fields import DEFAULT_OVERRIDES, KINDS, RANGES
from lowland.ground.mistakes import Mistake, one_of

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def _asked(default: Any, kind: str, words: str, check: str = "") -> Any:
    """A recipe's field: its default, its kind, its help text, the range that it must lie in."""
    metadata = {"kind": kind, "help": words, "check": check}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Recipe:
    """What is asked of a study. Every field is an option of the command line and a key of a recipe file.

    Make one with `read_recipe`, which reports all mistakes at once.
    """

    task: str = _asked("financial-demo", "a text", "the task; `lowland tasks` lists them")
    data: str | None = _asked(
        None,
        "a text or null",
        "a file of data: .csv, .tsv, .jsonl, .parquet, or a data set's original file",
    )
    test_data: str | None = _asked(
        None, "a text or null", "a file that holds the test set, in the same form as `data`"
    )
    text_column: str = _asked("text", "a text", "the column with the text (task classification)")
    label_column: str = _asked("label", "a text", "the column with the label (task classification)")
    split_column: str | None = _asked(
        None, "a text or null", "a column that says train, validation or test (task classification)"
    )
    validation_share: float = _asked(
        0.1, "a number", "share of the texts held out for validation", "be in (0, 1)"
    )
    test_share: float = _asked(0.2, "a number", "share of the texts held out for the test", "be in (0, 1)")
    split_seed: int = _asked(
        0, "a whole number", "seed of the splits, the same for all methods and seeds", "be at least 0"
    )
    model: str = _asked(DEFAULT_MODEL, "a text", "a model of the Hugging Face hub, or a folder")
    revision: str | None = _asked(None, "a text or null", "revision of a model of the hub")
    methods: tuple[str, ...] = _asked(
        ("full", "lora", "flat-lora"),
        "one or several texts",
        "the methods; `lowland methods` lists them",
        "not be empty",
    )
    seeds: tuple[int, ...] = _asked(
        (42, 43, 44),
        "one or several whole numbers",
        "the seeds; each method is trained once with each",
        "not be empty",
    )
    epochs: int = _asked(3, "a whole number", "passes over the training data", "be at least 1")
    batch_size: int = _asked(16, "a whole number", "examples a forward pass", "be at least 1")
    accumulation: int = _asked(1, "a whole number", "forward passes an optimizer step", "be at least 1")
    lr: float = _asked(
        5e-4, "a number", "peak learning rate of AdamW (overrides: full has 5e-5)", "be above 0"
    )
    weight_decay: float = _asked(0.01, "a number", "weight decay of AdamW", "be at least 0")
    warmup: float = _asked(
        0.06,
        "a number",
        "share of the steps in which the learning rate rises to its peak",
        "be in [0, 1)",
    )
    max_length: int = _asked(
        128, "a whole number", "tokens a text at the most; the rest is cut off", "be at least 1"
    )
    dtype: str = _asked(
        "auto",
        "a text",
        "number format: fp32; bf16 (autocast, our LoRA's frozen base held in bf16); auto takes bf16 where the"
        " processor is fast at it. What was learned is kept, and `lowland predict` answers, in fp32",
        "be auto, fp32 or bf16",
    )
    compile: bool = _asked(False, "true or false", "train with torch.compile")
    rank: int = _asked(8, "a whole number", "rank r of the adapters", "be at least 1")
    alpha: float = _asked(16.0, "a number", "the adapters are scaled by alpha / rank", "be above 0")
    dropout: float = _asked(0.0, "a number", "dropout on the adapters' input", "be in [0, 1)")
    targets: tuple[str, ...] = _asked(
        ("all-linear",),
        "one or several texts",
        "layers to adapt: all-linear, or names or patterns",
        "not be empty",
    )
    rslora: bool = _asked(False, "true or false", "scale by alpha / sqrt(rank) instead (rsLoRA)")
    rank_pattern: Mapping[str, int] = _asked(
        MappingProxyType({}),
        "a mapping of layers to whole numbers such as {query: 4}",
        "ranks of layers, by name or pattern, that differ from `rank`",
        "hold ranks of at least 1",
    )
    alpha_pattern: Mapping[str, float] = _asked(
        MappingProxyType({}),
        "a mapping of layers to numbers such as {query: 32}",
        "alphas of layers, by name or pattern, that differ from `alpha`",
        "hold finite numbers above 0",
    )
    lr_ratio: float = _asked(
        16.0, "a number", "learning rate of B as a multiple of A's and the head's (LoRA+)", "be at least 1"
    )
    rho: float = _asked(
        0.05, "a number", "strength of Flat-LoRA's noise at the end of training", "be at least 0"
    )
    neftune_alpha: float = _asked(
        5.0, "a number", "alpha, the strength of NEFTune's noise on the embeddings", "be above 0"
    )
    keep_weights: bool = _asked(
        True, "true or false", "keep what was learned in the run's folder; `lowland predict` needs it"
    )
    overrides: Mapping[str, Mapping[str, Any]] = _asked(
        DEFAULT_OVERRIDES,
        "a mapping such as {full: {lr: 5e-5}}",
        "fields that differ for a method; one not named keeps the default",
    )
    out: str = _asked("runs", "a text", "folder of the runs; a run found there is not run again")


DATA = (
    "data", "test_data", "text_column", "label_column", "split_column",
    "validation_share", "test_share", "split_seed",
)  # fmt: skip
"""Fields that say what the data are, the same for every method."""

TRAINING = ("epochs", "batch_size", "accumulation", "lr", "weight_decay", "warmup")
"""Fields that every method takes, and an override may change for one."""


class Method(Protocol):
    """What a recipe must know of a method: its one name, and the fields beside `TRAINING` that it uses."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def options(self) -> Collection[str]: ...  # noqa: D102


def read_recipe(
    given: Mapping[str, Any], *, tasks: Collection[str], methods: Callable[[str], Method]
) -> Recipe:
    """The recipe that a mapping asks for; fields that it leaves out take their defaults.

    Args:
        given: values by field, as a YAML file or the command line has them.
        tasks: the names of the tasks there are.
        methods: gives the method of a name, or raises `Mistake`; the recipe has the method's own name.

    Raises:
        Mistake: naming every mistake there is, not only the first.
    """
    known = {one.name: one for one in dataclasses.fields(Recipe)}
    problems = [one_of("field", name, known) for name in given if name not in known]
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in known:
            try:
                values[name] = read_field(name, value)
            except Mistake as mistake:
                problems += mistake.problems
    recipe = Recipe(**values)
    if recipe.task not in tasks:
        problems.append(one_of("task", recipe.task, tasks))
    found, wrong = _found(recipe, methods)
    problems += wrong + _twice(recipe, found) + _overridden(recipe, found)
    if all(name in values for name in ("validation_share", "test_share") if name in given):
        problems += _together(recipe)
    if problems:
        raise Mistake(*problems)
    return dataclasses.replace(
        recipe,
        methods=tuple(found[name].name for name in recipe.methods),
        overrides=MappingProxyType({found[name].name: row for name, row in recipe.overrides.items()}),
    )


def read_field(name: str, value: Any) -> Any:
    """The value of one field, read and held against its range; raises `Mistake`."""
    about = next(one for one in dataclasses.fields(Recipe) if one.name == name).metadata
    try:
        read = KINDS[about["kind"]](value)
    except (ValueError, TypeError, OverflowError):
        raise Mistake(f"{name} is {value!r}; it must be {about['kind']}") from None
    if isinstance(read, float) and not math.isfinite(read):
        raise Mistake(f"{name} is {read}; it must be a finite number")
    if not RANGES[about["check"]](read):
        raise Mistake(f"{name} is {value!r}; it must {about['check']}")
    return read


def _found(recipe: Recipe, methods: Callable[[str], Method]) -> tuple[dict[str, Method], list[str]]:
    """The methods that a recipe names, by the names that it gives them; and what is wrong with other names."""
    found, problems = {}, []
    places = {**dict.fromkeys(recipe.overrides, "overrides: "), **dict.fromkeys(recipe.methods, "")}
    for name, place in places.items():
        try:
            found[name] = methods(name)
        except Mistake as mistake:
            problems += [f"{place}{problem}" for problem in mistake.problems]
    return found, problems


def _twice(recipe: Recipe, found: Mapping[str, Method]) -> list[str]:
    """What is named twice, be it by two names."""
    named: dict[str, list[object]] = {
        "methods": [found[name].name for name in recipe.methods if name in found],
        "overrides": [found[name].name for name in recipe.overrides if name in found],
        "seeds": list(recipe.seeds),
    }
    problems = []
    for what, values in named.items():
        twice = sorted({str(one) for one in values if values.count(one) > 1})
        problems += [f"{what} names {one} more than once; once is enough" for one in twice]
    return problems


def _overridden(recipe: Recipe, found: Mapping[str, Method]) -> list[str]:
    problems = []
    for method, row in recipe.overrides.items():
        if method not in found:
            continue
        allowed = [*TRAINING, *found[method].options]
        for name, value in row.items():
            if name not in allowed:
                problems.append(one_of(f"field in the overrides of {method}:", name, allowed))
                continue
            try:
                read_field(name, value)
            except Mistake as mistake:
                problems += [f"overrides of {method}: {problem}" for problem in mistake.problems]
    return problems


def _together(recipe: Recipe) -> list[str]:
    if recipe.validation_share + recipe.test_share >= 1:
        return [
            f"validation_share {recipe.validation_share} and test_share {recipe.test_share} leave nothing"
            " to train on; together they must be under 1"
        ]
    return []
