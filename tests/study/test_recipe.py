"""A recipe: its defaults, all its mistakes reported at once, and the request of each run."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lowland.ground.mistakes import Mistake
from lowland.ground.store import key_of
from lowland.models.source import ModelSource
from lowland.study.recipe import Recipe, task_field_names
from lowland.tasks.classification import ClassificationFields
from lowland.tasks.examples import Split, TaskData
from lowland.tasks.table import task_fields
from lowland.train.job import Job
from lowland.train.methods import method_named
from lowland.train.settings import TRAINING, Settings
from lowland.train.table import METHODS

SPLIT_FIELDS = ("validation_share", "test_share", "split_seed")
WHOLE = ("split_seed", "epochs", "batch_size", "accumulation", "max_length", "rank")
NUMBERS = (
    "validation_share", "test_share", "lr", "weight_decay", "warmup", "alpha", "dropout", "rho", "lr_ratio",
    "neftune_alpha",
)  # fmt: skip
SPLIT = Split({"text": ("a",), "label": ("b",)}, np.arange(1), ("0",), ("",))
DATA = TaskData(
    "classification", "a.csv", {"train": SPLIT, "validation": SPLIT, "test": SPLIT}, "0" * 64, ("b",)
)
SOURCE = ModelSource("m", Path("m"), "folder", None, "1" * 64, "2" * 64, title="m")


def problems(**values: Any) -> tuple[str, ...]:
    with pytest.raises(Mistake) as caught:
        Recipe(**values)
    return caught.value.problems


def problems_of_overrides(overrides: Any, **values: Any) -> tuple[str, ...]:
    """The mistakes in settings of the older form."""
    with pytest.raises(Mistake) as caught:
        Recipe(overrides=overrides, **values)
    return caught.value.problems


def jobs(recipe: Recipe, seed: int = 42) -> dict[str, Job]:
    """A job for each method, by its label; data and model are stand-ins."""
    return {
        choice.label: Job(
            fields=recipe.task,
            method=choice,
            seed=seed,
            model=recipe.model,
            revision=recipe.revision,
            max_length=recipe.max_length or 128,
            dtype="fp32" if recipe.dtype == "auto" else recipe.dtype,
            compile=recipe.compile,
            keep_weights=recipe.keep_weights,
            data=DATA,
            source=SOURCE,
            out=Path(recipe.out),
        )
        for choice in recipe.methods
    }


def job(method: str | dict, **values: Any) -> Job:
    (planned,) = jobs(Recipe(**{"methods": [method], **values})).values()
    return planned


def names(recipe: Recipe) -> list[str]:
    return [choice.name for choice in recipe.methods]


def test_the_defaults_are_a_recipe_without_mistakes():
    values = {name: getattr(Recipe(), name) for name in Recipe.model_fields}
    assert Recipe(**values) == Recipe()


def test_the_defaults_are_those_of_the_issue():
    recipe = Recipe()
    assert (recipe.task.name, names(recipe), recipe.seeds) == (
        "financial-demo",
        ["full", "lora", "flat-lora"],
        (42, 1337, 2024),
    )
    assert (recipe.model, recipe.rank, recipe.alpha, recipe.rho) == (
        "sentence-transformers/all-MiniLM-L6-v2",
        8,
        16.0,
        0.05,
    )
    assert [choice.settings.lr for choice in recipe.methods] == [5e-5, 5e-4, 5e-4]


def test_every_field_has_a_help_text():
    fields = [*Recipe.model_fields.items(), *task_fields("classification").__class__.model_fields.items()]
    assert [name for name, field in fields if not field.description] == []


def test_all_mistakes_are_reported_at_once():
    messages = problems_of_overrides(
        {"lora": {"rank": -3, "rho": 0.1}, "ful": {"lr": 1}},
        task="sms-spm",
        methods=["lora", "flat"],
        rank=0,
        rho=-1,
        epochs="many",
        rslora="perhaps",
        lerning_rate=1e-3,
        seeds=[1, 1],
    )
    expected_texts = [
        "lerning_rate", "rank is 0", "rho is -1", "epochs is 'many'", "rslora is 'perhaps'", "'sms-spm'", "'flat'",
        "seeds names 1 more than once", "rank is -3", "rho is given", "'ful'",
    ]  # fmt: skip
    assert len(messages) == len(expected_texts)
    for expected_text in expected_texts:
        assert sum(expected_text in sentence for sentence in messages) == 1, expected_text
    assert not any("\n" in sentence for sentence in messages)


def test_all_mistakes_in_the_new_form_are_reported_at_once():
    messages = problems(
        task={"name": "sms-spam", "text_column": "t", "split_seed": -1},
        methods=[
            "lora",
            {"lora": {"rank": -3, "rho": 0.1, "label": "other"}},
            {"ful": {"lr": 1}},
            {"lora": 3},
        ],
        rank=0,
        validation_share=0.5,
        test_share=0.5,
    )
    expected_texts = [
        "rank is 0", "task: sms-spam has no field text_column", "task: split_seed is -1", "lora: rank is -3",
        "rho is given, but lora", "unknown method 'ful'", "methods holds {lora: 3}",
    ]  # fmt: skip
    assert len(messages) == len(expected_texts)
    for expected_text in expected_texts:
        assert sum(expected_text in sentence for sentence in messages) == 1, expected_text


@pytest.mark.parametrize(
    ("values", "nearest"),
    [
        ({"task": "phrasebank"}, "financial-phrasebank"),
        ({"methods": ["flatlora"]}, "flat-lora"),
        ({"batchsize": 8}, "batch_size"),
        ({"methods": [{"lroa": {"lr": 1e-4}}]}, "lora"),
        ({"methods": [{"lora": {"rnk": 4}}]}, "rank"),
        ({"task": {"name": "sms-spam", "dta": "a.csv"}}, "data"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(values, nearest):
    (message,) = problems(**values)
    assert f"did you mean '{nearest}'?" in message


@pytest.mark.parametrize(
    ("row", "nearest"), [({"lroa": {"lr": 1e-4}}, "lora"), ({"lora": {"rnk": 4}}, "rank")]
)
def test_a_wrong_name_in_the_older_form_is_answered_with_the_nearest(row, nearest):
    (message,) = problems_of_overrides(row)
    assert message.startswith("overrides: unknown")
    assert f"did you mean '{nearest}'?" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in WHOLE for value in (1.5, "1.5", "x", True, [1], {}, "")],
        *[(name, None) for name in WHOLE if name != "max_length"],  # None is the task's own length
        *[(name, value) for name in NUMBERS for value in ("x", True, None, [0.5], {}, "")],
        *[(name, value) for name in ("task", "model", "out") for value in (None, 3, ["x"])],
        *[("text_column", value) for value in (None, 3, ["x"])],
        *[(name, value) for name in ("data", "revision", "split_column") for value in (3, ["x"], True)],
        *[(name, value) for name in ("rslora", "compile") for value in (1, 0, "yes", None)],
        *[("rank_pattern", value) for value in (None, 4, ["query"])],
        *[("alpha_pattern", value) for value in (None, "query")],
    ],
)
def test_a_value_of_another_type_is_a_sentence_that_names_field_and_value(name, value):
    (message,) = problems(**in_task(name, value))
    prefix = "task: " if name in task_field_names() else ""
    assert message.startswith(f"{prefix}{name} is {value!r}; it must be ")


def in_task(name: str, value: Any) -> dict[str, Any]:
    """A field of the recipe, or a field of the table task together with that task."""
    return {name: value} if name == "task" else {"task": "classification", name: value}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *[("dtype", value, f"unknown dtype '{value}'; ") for value in (None, 16, ["bf16"], "")],
        ("rank_pattern", {"query": 1.5}, "rank_pattern holds 1.5 for query; it must be a whole number"),
        ("rank_pattern", {"query": True}, "rank_pattern holds True for query; it must be a whole number"),
        ("rank_pattern", {3: 4}, "rank_pattern names 3; each name in it must be text"),
        ("alpha_pattern", {"query": "x"}, "alpha_pattern holds 'x' for query; it must be a number"),
        ("alpha_pattern", {"query": None}, "alpha_pattern holds None for query; it must be a number"),
        ("alpha_pattern", {"": 2.0}, "alpha_pattern names ''; each name in it must be text"),
        *[("methods", value, "methods holds None; give a name") for value in (None, [None])],
        ("methods", [["lora"]], "methods holds ['lora']; give a name"),
        ("methods", {"lora": 1}, "methods holds {lora: 1}; give settings by name"),
        ("seeds", None, "seeds holds None; each value must be a whole number"),
        ("seeds", ["a"], "seeds holds 'a'; each value must be a whole number"),
        ("seeds", [1.5], "seeds holds 1.5; each value must be a whole number"),
        ("seeds", [True], "seeds holds True; each value must be a whole number"),
        ("seeds", [[1]], "seeds holds [1]; each value must be a whole number"),
    ],
)
def test_a_value_of_another_type_within_a_field_is_a_sentence(name, value, expected):
    (message,) = problems(**{name: value})
    assert message.startswith(expected)


@pytest.mark.parametrize("value", [None, 3, ["lora"]])
def test_an_older_form_of_another_type_is_a_sentence(value):
    (message,) = problems(overrides=value)
    assert message.startswith(f"overrides is {value!r}; it must be ")


def test_a_wrong_entry_of_the_older_form_is_named_alone_and_beside_other_mistakes():
    messages = problems(overrides={"lora": 3, "full": {"lr": 1e-4}, "flat-lora": None}, rank=0)
    assert messages == (
        "rank is 0; it must be at least 1",
        "overrides holds 3 for lora; give settings by name, as in {lora: {lr: 1e-4}}",
        "overrides holds None for flat-lora; give settings by name, as in {flat-lora: {lr: 1e-4}}",
    )


def test_older_settings_of_a_method_that_is_not_run_are_a_mistake():
    (message,) = problems(methods=["lora", "flat+dora"], overrides={"full": {"lr": 1e-4}})
    assert message.startswith("overrides names full, which is not among the methods (lora, flat+dora); ")
    (message,) = problems(methods=["lroa"], overrides={"full": {"lr": 1e-4}})
    assert "'lroa'" in message  # the methods are to be mended first
    with pytest.warns(FutureWarning, match=r"methods: \[\{flat\+dora: \{rank: 2\}\}\]"):
        Recipe(methods=["flat+dora"], overrides={"dora": {"rank": 2}})


def test_the_form_that_the_warning_shows_is_the_same_recipe():
    with pytest.warns(FutureWarning) as caught:
        older = Recipe(
            methods=["full", {"lora": {"label": "l", "rank_pattern": {"query": 2}}}],
            overrides={"full": {"lr": 1e-5}},
        )
    (warning,) = caught
    shown = yaml.safe_load(str(warning.message).partition("name: ")[2])
    assert Recipe(**shown) == older


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        *[
            (name, (1, 2, 10**6), (0, -1))
            for name in ("epochs", "batch_size", "accumulation", "max_length", "rank")
        ],
        ("split_seed", (0, 1, 2**40), (-1,)),
        *[(name, (1e-12, 3), (0, -1e-12)) for name in ("lr", "alpha", "neftune_alpha")],
        *[(name, (0, 1e-12, 5), (-1e-12,)) for name in ("weight_decay", "rho")],
        *[(name, (0, 0.5, math.nextafter(1, 0)), (-1e-12, 1, 2)) for name in ("warmup", "dropout")],
        ("validation_share", (1e-9, 0.7), (0, 1, 1.5, -0.1)),
        ("test_share", (1e-9, 0.8), (0, 1, 1.5, -0.1)),
        ("methods", (["lora"],), ([],)),
        ("seeds", ([0], [1, 2]), ([],)),
        ("lr_ratio", (1, 16, 1.5), (0.99, 0, -16)),
        ("dtype", ("auto", "fp32", "bf16"), ("fp16", "float32", "BF16")),
        ("rank_pattern", ({}, {"query": 1}), ({"query": 0}, {"query": 4, "value": -1})),
        ("alpha_pattern", ({}, {"query": 1e-12}), ({"query": 0}, {"query": math.inf}, {"query": math.nan})),
        ("targets", (["all-linear"],), ([],)),
    ],
)
def test_a_range_includes_its_edges(name, allowed, refused):
    for value in allowed:
        Recipe(**{name: value})
    for value in refused:
        (message,) = problems(**{name: value})
        unmet = re.compile(
            f"^(task: )?{name} (is .*|holds .* for .*); it must (be (in|at least|above|finite)|not|name)"
            f"|^unknown {name} '{re.escape(str(value))}'"
        )
        assert unmet.match(message), message


@pytest.mark.parametrize("name", [*WHOLE, *NUMBERS])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "-Infinity"])
def test_nan_and_infinity_are_refused(name, value):
    (message,) = problems(**{name: value})
    assert re.match(f"(task: )?{name} is ", message)


def test_the_two_shares_must_leave_something_to_train_on():
    (message,) = problems(validation_share=0.4, test_share=0.6)
    assert "0.4" in message
    assert "0.6" in message
    assert Recipe(validation_share=0.4, test_share=0.59).task.test_share == 0.59


@pytest.mark.parametrize(
    ("name", "values", "twice"), [("seeds", [3, 4, 3], "3"), ("methods", ["lora", "lora"], "lora")]
)
def test_duplicate_entries_are_refused(name, values, twice):
    (message,) = problems(**{name: values})
    assert message.startswith(f"{name} names {twice} more than once")


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("lr", "5e-4", 5e-4),  # YAML 1.1 reads it as a text
        ("lr", 1, 1.0),
        ("alpha", "16", 16.0),
        ("epochs", "3", 3),
        ("epochs", 3.0, 3),
        ("seeds", 7, (7,)),
        ("seeds", "7", (7,)),
        ("seeds", ["1", 2.0], (1, 2)),
        ("targets", ["query", "value"], ("query", "value")),
        ("rank_pattern", {"query": "4"}, {"query": 4}),
        ("alpha_pattern", {"query": 32}, {"query": 32.0}),
        ("revision", None, None),
        ("rslora", "true", True),  # from the command line
    ],
)
def test_a_value_may_be_written_in_several_ways(name, written, meant):
    value = getattr(Recipe(**{name: written}), name)
    assert value == meant
    if isinstance(meant, dict):
        assert {type(item) for item in value.values()} == {type(item) for item in meant.values()}
    else:
        assert type(value) is type(meant)


@pytest.mark.parametrize(
    "written", ["lora", ["lora"], {"lora": {}}, [{"lora": {}}], [{"lora": {"label": "lora"}}]]
)
def test_a_method_may_be_written_in_several_ways(written):
    assert Recipe(methods=written).methods == Recipe(methods=["lora"]).methods
    assert names(Recipe(methods=written)) == ["lora"]


def test_without_a_file_the_task_uses_its_own_data():
    assert Recipe(data=None).task.data is None


@given(st.integers(0, 10**9))
@settings(deadline=None, max_examples=50)
def test_a_whole_number_is_read_as_itself_from_text_and_from_float(number):
    assert Recipe(seeds=[number]).seeds == Recipe(seeds=[str(number)]).seeds == (number,)
    assert Recipe(seeds=[float(number)]).seeds == (number,)


def test_a_recipe_cannot_be_changed():
    recipe = Recipe(methods=[{"lora": {"lr": 1e-3}}])
    with pytest.raises(ValidationError, match="frozen"):
        recipe.rank = 4
    with pytest.raises(TypeError):
        recipe.methods[0] = recipe.methods[0]  # type: ignore[index]
    with pytest.raises(ValidationError, match="frozen"):
        recipe.methods[0].settings.lr = 1.0
    with pytest.raises(ValidationError, match="frozen"):
        recipe.task.data = "b.csv"
    with pytest.raises(TypeError):
        Recipe(rank_pattern={"query": 4}).rank_pattern["query"] = 8  # type: ignore[index]
    with pytest.raises(TypeError):
        Recipe().rank_pattern["query"] = 8  # type: ignore[index]


def test_a_recipe_keeps_no_reference_to_its_source():
    values = {"methods": [{"lora": {"lr": 1e-3}}], "seeds": [1, 2], "rank_pattern": {"query": 4}}
    recipe = Recipe(**values)
    values["methods"][0]["lora"]["lr"] = 9
    values["seeds"].append(3)
    values["rank_pattern"]["query"] = 9
    assert recipe.methods[0].settings.lr == 1e-3
    assert recipe.seeds == (1, 2)
    assert recipe.rank_pattern == {"query": 4}


@pytest.mark.parametrize(
    "name",
    [
        *dict.fromkeys(task_field_names()),
        *(name for name in Recipe.model_fields if name not in (*TRAINING, *METHODS["lora"].options)),
    ],
)
def test_settings_of_a_method_are_about_training_and_never_about_the_data_or_the_model(name):
    """Settings that all methods must share to be comparable cannot differ for one method."""
    refused = f"{name} is given, but lora does not use it" if name in Settings.model_fields else f"'{name}'"
    (message,) = problems(methods=[{"lora": {name: 1}}])
    assert refused in message
    (message,) = problems_of_overrides({"lora": {name: 1}})
    assert message.startswith("overrides: ")
    assert refused in message


def test_a_setting_that_the_method_does_not_use_is_refused_with_the_methods_that_do():
    (message,) = problems(methods=[{"lora": {"rho": 0.1}}])
    assert message == (
        "rho is given, but lora does not use it; leave it out, or take a method that does: flat-lora, flat-full, flat+…"
    )
    (message,) = problems_of_overrides({"full": {"rank": 4}})
    assert message.startswith("overrides: rank is given, but full does not use it; ")


def test_a_methods_own_settings_are_held_against_the_fields_range():
    own = {"lora": {"lr": 0, "rank": "x", "epochs": math.nan}}
    messages = problems(methods=[own])
    assert len(messages) == 3
    assert all(sentence.startswith("lora: ") for sentence in messages)
    messages = problems_of_overrides(own)
    assert len(messages) == 3
    assert all(sentence.startswith("overrides: lora: ") for sentence in messages)


def test_own_settings_reach_their_method_alone():
    recipe = Recipe(
        lr=1e-3, rank=8, methods=[{"lora": {"lr": "2e-3", "rank": 4}}, "flat-lora", {"full": {"epochs": 1}}]
    )
    lora, flat, full = (choice.settings for choice in recipe.methods)
    assert (lora.lr, lora.rank, lora.epochs) == (2e-3, 4, Recipe().epochs)
    assert (flat.lr, flat.rank) == (1e-3, 8)
    assert (full.lr, full.epochs) == (5e-5, 1)  # the method's default overrides the recipe's


def test_the_older_form_reads_as_the_newer_one():
    with pytest.warns(FutureWarning, match=r"methods: \[full, \{lora: \{rank: 4\}\}, flat-lora\]"):
        older = Recipe(overrides={"lora": {"rank": 4}})
    assert older == Recipe(methods=["full", {"lora": {"rank": 4}}, "flat-lora"])
    assert Recipe(**older.as_dict()) == older


def test_older_settings_of_a_method_hold_for_it_with_perturbations_in_front():
    """A perturbed method is compared with the plain method, and must train as it does."""
    with pytest.warns(FutureWarning):
        recipe = Recipe(
            rank=8,
            methods=["lora", "neftune+lora"],
            overrides={"lora": {"lr": 2e-3, "rank": 4}, "neftune+lora": {"lr": 1e-3}},
        )
    lora, under = (choice.settings for choice in recipe.methods)
    assert (lora.lr, lora.rank) == (2e-3, 4)
    assert (under.lr, under.rank) == (1e-3, 4)
    assert Recipe(methods=["neftune+full"]).methods[0].settings.lr == 5e-5


def test_a_method_has_one_canonical_name():
    recipe = Recipe(methods=["lora", {"flat+lora": {"rho": "0.2"}}])
    assert names(recipe) == ["lora", "flat-lora"]
    assert recipe.methods[1].settings.rho == 0.2
    assert recipe == Recipe(methods=["lora", {"flat-lora": {"rho": "0.2"}}])
    with pytest.warns(FutureWarning):
        assert recipe == Recipe(methods=["lora", "flat-lora"], overrides={"flat+lora": {"rho": "0.2"}})
    assert Recipe(**{name: getattr(recipe, name) for name in Recipe.model_fields}) == recipe


def test_duplicate_entries_under_two_names_are_refused():
    (message,) = problems(methods=["flat+lora", "flat-lora"])
    assert message.startswith("methods names flat-lora more than once; give each a label of its own")
    (message,) = problems_of_overrides({"flat+lora": {"rho": 1}, "flat-lora": {"rho": 2}})
    assert message == "overrides names flat-lora more than once; once is enough"


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (
            [42, 42, -1, "x"],
            (
                "seeds holds -1; each value must be at least 0",
                "seeds holds 'x'; each value must be a whole number",
                "seeds names 42 more than once; once is enough",
            ),
        ),
        (["1", 1.0], ("seeds names 1 more than once; once is enough",)),
        ("1,2", ("seeds holds '1,2'; write several seeds as a list: [1, 2, 3]",)),
    ],
)
def test_all_mistakes_in_seeds_are_reported_at_once(seeds, expected):
    assert problems(seeds=seeds) == expected


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("learning_rate", "lr"), ("leraning_rate", "lr"), ("num_train_epochs", "epochs"), ("lora_alpha", "alpha"),
        ("r", "rank"), ("lora_r", "rank"), ("lora_dropout", "dropout"), ("weight-decay", "weight_decay"),
        ("per_device_train_batch_size", "batch_size"), ("gradient_accumulation_steps", "accumulation"),
        ("warmup_ratio", "warmup"), ("target_modules", "targets"), ("max_seq_length", "max_length"),
        ("seed", "seeds"), ("output_dir", "out"),
    ],
)  # fmt: skip
def test_names_of_other_libraries_are_understood_and_no_long_list_is_shown(name, nearest):
    message, other = problems(**{name: 1, "zzzz": 1})
    assert message == f"unknown field '{name}'; did you mean '{nearest}'? lowland compare --help lists all"
    assert other == "unknown field 'zzzz'; lowland compare --help lists all"


def test_a_method_may_stand_twice_under_two_labels():
    recipe = Recipe(methods=["lora", {"lora": {"rank": 32, "label": "lora-r32"}}])
    by_label = jobs(recipe)
    assert list(by_label) == ["lora", "lora-r32"]
    assert [each.settings.rank for each in by_label.values()] == [8, 32]
    assert by_label["lora-r32"].name.startswith("financial-demo-lora-r32-s42-")
    assert len({each.key for each in by_label.values()}) == 2
    assert by_label["lora"].key == job("lora").key
    assert by_label["lora-r32"].key == job("lora", rank=32).key  # a label affects no result


@pytest.mark.parametrize("label", ["a/b", "..", "", "a b", "../x"])
def test_a_label_can_be_part_of_a_folders_name(label):
    (message,) = problems(methods=[{"lora": {"label": label}}])
    assert f"label is {label!r}" in message


def test_a_task_is_a_name_or_a_mapping_or_has_its_fields_beside_it():
    fields = {"data": "a.csv", "text_column": "t"}
    recipe = Recipe(task={"name": "classification", **fields})
    assert (recipe.task.name, recipe.task.data, recipe.task.text_column) == ("classification", "a.csv", "t")
    assert recipe == Recipe(task="classification", **fields)
    assert recipe == Recipe(task=task_fields("classification", **fields))
    assert recipe == Recipe(task=task_fields("classification", data="a.csv"), text_column="t")
    assert recipe == Recipe(task={"name": "classification", "data": "a.csv"}, text_column="t", data="a.csv")
    assert type(Recipe().task) is ClassificationFields


@pytest.mark.parametrize(
    "task", [{"name": "classification", "data": "a.csv"}, task_fields("classification", data="a.csv")]
)
def test_a_field_in_the_task_and_beside_it_with_two_values_is_a_mistake(task):
    (message,) = problems(task=task, data="b.csv")
    assert message == "data has one value in the task and another at the top level; keep one of them"


@pytest.mark.parametrize("name", ["text_column", "label_column", "split_column"])
def test_a_field_of_another_task_is_a_mistake(name):
    for values in ({name: "x"}, {"task": {"name": "sms-spam", name: "x"}}):
        (message,) = problems(**values)
        assert f" has no field {name}; it belongs to classification" in message


def test_a_task_without_a_name_is_a_mistake():
    (message,) = problems(task={"data": "a.csv"})
    assert message.startswith("task is {'data': 'a.csv'}; it must be a task's name, or a mapping")


def test_a_recipe_as_a_dict_is_a_recipe_file():
    recipe = Recipe(
        task={"name": "classification", "data": "a.csv"},
        methods=[
            "full",
            "lora",
            {"neftune+lora": {"rank": 4, "label": "other"}},
            {"full": {"lr": 1, "label": "f"}},
        ],
        seeds=3,
        rank_pattern={"query": 4},
        targets="query",
        dtype="bf16",
    )
    values = recipe.as_dict()
    assert Recipe(**values) == recipe
    assert Recipe(**yaml.safe_load(yaml.safe_dump(values))) == recipe
    assert Recipe(**Recipe().as_dict()) == Recipe()
    assert values["methods"][2] == {"neftune+lora": {"rank": 4, "label": "other"}}


def test_a_changed_recipe_is_checked_again_and_its_methods_with_it():
    recipe = Recipe(methods=["lora", {"flat-lora": {"rank": 2, "label": "flat"}}])
    changed = recipe.replace(rank=4, seeds=[7])
    assert [choice.settings.rank for choice in changed.methods] == [4, 2]
    assert [choice.label for choice in changed.methods] == ["lora", "flat"]
    assert (changed.seeds, recipe.rank) == ((7,), 8)
    with pytest.raises(Mistake, match=r"^rank is 0; it must be at least 1$"):
        recipe.replace(rank=0)


def test_recipes_and_jobs_can_be_pickled():
    recipe = Recipe(methods=["lora", "neftune+flat-lora"], rank_pattern={"query": 4})
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    for planned in jobs(recipe).values():
        restored = pickle.loads(pickle.dumps(planned))
        assert (restored.key, restored.name, restored.asked()) == (planned.key, planned.name, planned.asked())
        assert restored.settings == planned.settings


def test_a_job_has_only_the_settings_that_its_method_uses():
    recipe = Recipe(methods=[*METHODS, "neftune+full", "neftune+lora"])
    for label, planned in jobs(recipe, seed=7).items():
        request = planned.asked()
        assert (planned.method.name, request["seed"], request["model"]) == (label, 7, recipe.model)
        assert request["task"]["name"] == recipe.task.name
        assert set(request["method"]) == {"name", "label", *method_named(label).uses}
        assert set(request["task"]) == set(ClassificationFields.model_fields)
        assert (request["dtype"], request["compile"]) == ("fp32", recipe.compile)


def test_a_sweep_over_rho_does_not_ask_for_lora_anew():
    def keys(method: str) -> set[str]:
        return {job(method, rho=rho).key for rho in (0.0, 0.05, 0.1)}

    assert len(keys("lora")) == len(keys("full")) == 1
    assert len(keys("flat-lora")) == 3


def test_every_method_and_seed_has_the_same_data():
    recipe = Recipe(split_seed=5, methods=[{"lora": {"lr": 1.0}}, {"full": {"epochs": 9}}, "flat-lora"])
    all_jobs = [each for seed in (1, 2, 3) for each in jobs(recipe, seed).values()]
    assert all(each.asked()["task"] == all_jobs[0].asked()["task"] for each in all_jobs)
    assert all_jobs[0].asked()["task"]["split_seed"] == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "sms-spam"), ("model", "gpt2"), ("revision", "main"), ("max_length", 65), ("keep_weights", False),
        ("data", "a.csv"), ("test_data", "b.csv"), ("text_column", "t"), ("label_column", "l"), ("split_column", "s"),
        ("validation_share", 0.11), ("test_share", 0.21), ("split_seed", 1),
        ("epochs", 7), ("batch_size", 17), ("accumulation", 5), ("lr", 1.7e-3), ("weight_decay", 0.017),
        ("warmup", 0.17), ("rank", 5), ("alpha", 17), ("dropout", 0.17),
        ("targets", ["query"]), ("rslora", True), ("rho", 0.17), ("dtype", "bf16"), ("compile", True),
        ("rank_pattern", {"query": 4}), ("alpha_pattern", {"query": 4}),
    ],
)  # fmt: skip
def test_every_field_that_affects_a_run_is_in_its_jobs_request(name, value):
    plain, other = (
        job("flat-lora", **{"task": "classification", **values}) for values in ({}, {name: value})
    )
    assert key_of(other.asked()) != key_of(plain.asked())
    by_content = ("model", "revision", "data", "test_data")  # the key holds their hashes
    assert (other.key == plain.key) == (name in by_content)


def test_the_key_depends_on_the_content_of_data_and_model():
    plain = job("lora")
    others = [
        dataclasses.replace(plain, data=dataclasses.replace(DATA, sha256="3" * 64)),
        dataclasses.replace(plain, source=dataclasses.replace(SOURCE, sha256="3" * 64)),
        dataclasses.replace(plain, source=dataclasses.replace(SOURCE, files_sha256="3" * 64)),
        dataclasses.replace(plain, seed=1),
    ]
    assert len({plain.key, *(other.key for other in others)}) == 5


@pytest.mark.parametrize(
    "values", [{"out": "elsewhere"}, {"seeds": [42]}, {"methods": ["lora", "flat-lora"]}]
)
def test_the_output_folder_and_other_runs_do_not_change_a_key(values):
    plain, other = (jobs(Recipe(**{"methods": ["flat-lora"], **each}))["flat-lora"] for each in ({}, values))
    assert plain.asked() == other.asked()
    assert plain.name == other.name


def test_a_jobs_request_survives_json():
    request = job("lora-plus", targets=["query", "value"], rank_pattern={"query": 4}).asked()
    assert json.loads(json.dumps(request)) == request
    assert request["method"]["targets"] == ["query", "value"]
    assert request["method"]["rank_pattern"] == {"query": 4}
    assert request["method"]["lr_ratio"] == 16.0


def test_the_way_a_number_is_written_does_not_change_the_key():
    def key(method: str | dict = "lora", **values: Any) -> str:
        return job(method, **values).key

    assert key(lr="5e-4", alpha=16, epochs=3.0, rank="8") == key(lr=0.0005, alpha=16.0, epochs=3, rank=8)
    assert key({"lora": {"lr": "5e-4"}}, lr=9) == key(lr=5e-4)


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", math.nan), ("epochs", math.inf), ("lr", 10**400), ("seeds", [math.nan])]
)
def test_the_sentence_about_nan_and_infinity_is_english(name, value):
    with pytest.raises(Mistake) as caught:
        Recipe(**{name: value})
    assert "cannot convert" not in str(caught.value)
    assert "too large to convert" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"), [("epochs", "x", "a whole number"), ("methods", [], "must not be empty")]
)
def test_the_sentence_says_what_is_expected(name, value, message):
    with pytest.raises(Mistake, match=message):
        Recipe(**{name: value})


def test_a_large_whole_number_written_as_text_keeps_its_digits():
    assert Recipe(seeds=[str(2**53 + 1)]).seeds == (2**53 + 1,)


def test_defaults_are_not_reported_as_mistakes():
    messages = problems(validation_share="abc", test_share=0.95)
    assert not any("validation_share 0.1" in sentence for sentence in messages)


@pytest.mark.parametrize("name", ["data", "text_column", "model", "out", "targets"])
def test_an_empty_text_names_nothing(name):
    (message,) = problems(**in_task(name, ""))
    assert "text that is not empty" in message
