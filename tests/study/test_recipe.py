"""A recipe: its defaults, every mistake in it told at once, and what it asks of one run."""

from __future__ import annotations

import dataclasses
import json
import math
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowland.ground.recipe import DATA, TRAINING, Recipe, read_field, read_recipe
from lowland.ground.spec import run_spec

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.store import key_of

TASKS = ("financial-demo", "financial-phrasebank", "sms-spam", "classification")
LORA = ("rank", "alpha", "dropout", "targets", "rslora", "rank_pattern", "alpha_pattern")
METHODS = {"full": (), "lora": LORA, "flat-lora": (*LORA, "rho"), "lora-plus": (*LORA, "lr_ratio")}
METHODS |= {"neftune+full": ("neftune_alpha",), "neftune+lora": (*LORA, "neftune_alpha")}
FIELDS = [one.name for one in dataclasses.fields(Recipe)]
WHOLE = ("split_seed", "epochs", "batch_size", "accumulation", "max_length", "rank")
NUMBERS = (
    "validation_share", "test_share", "lr", "weight_decay", "warmup", "alpha", "dropout", "rho", "lr_ratio",
    "neftune_alpha",
)  # fmt: skip


class Named(NamedTuple):
    name: str
    options: tuple[str, ...]


def named(name: str) -> Named:
    """As `lowland.train.methods.method_named`: `flat+lora` is another name of `flat-lora`."""
    own = {"flat+lora": "flat-lora"}.get(name, name)
    if own not in METHODS:
        raise Mistake(one_of("method", own, METHODS))
    return Named(own, METHODS[own])


def read(**given: Any) -> Recipe:
    return read_recipe(given, tasks=TASKS, methods=named)


def problems(**given: Any) -> tuple[str, ...]:
    with pytest.raises(Mistake) as caught:
        read(**given)
    return caught.value.problems


def test_an_empty_recipe_is_the_defaults():
    assert read() == Recipe()


def test_the_defaults_are_a_recipe_without_mistakes():
    values = {name: getattr(Recipe(), name) for name in FIELDS}
    assert read(**values) == Recipe()


def test_the_defaults_are_those_of_the_issue():
    one = read()
    assert (one.task, one.methods, one.seeds) == (
        "financial-demo",
        ("full", "lora", "flat-lora"),
        (42, 43, 44),
    )
    assert (one.model, one.rank, one.alpha, one.rho) == (
        "sentence-transformers/all-MiniLM-L6-v2",
        8,
        16.0,
        0.05,
    )
    assert one.overrides["full"]["lr"] == 5e-5


def test_every_field_has_a_help_text():
    assert all(one.metadata["help"] for one in dataclasses.fields(Recipe))


def test_all_mistakes_are_told_at_once():
    told = problems(
        task="sms-spm",
        methods=["lora", "flat"],
        rank=0,
        rho=-1,
        epochs="many",
        rslora="perhaps",
        lerning_rate=1e-3,
        seeds=[1, 1],
        overrides={"lora": {"rank": -3, "rho": 0.1}, "ful": {"lr": 1}},
        validation_share=0.5,
        test_share=0.5,
    )
    wanted = [
        "lerning_rate", "rank is 0", "rho is -1", "epochs is 'many'", "rslora is 'perhaps'", "'sms-spm'", "'flat'",
        "seeds names 1 more than once", "rank is -3", "'rho'", "'ful'", "validation_share 0.5 and test_share 0.5",
    ]  # fmt: skip
    assert len(told) == len(wanted)
    for words in wanted:
        assert sum(words in one for one in told) == 1, words
    assert not any("\n" in one for one in told)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ({"task": "phrasebank"}, "financial-phrasebank"),
        ({"methods": ["flatlora"]}, "flat-lora"),
        ({"batchsize": 8}, "batch_size"),
        ({"overrides": {"lroa": {"lr": 1e-4}}}, "lora"),
        ({"overrides": {"lora": {"rnk": 4}}}, "rank"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(given, nearest):
    (told,) = problems(**given)
    assert f"did you mean '{nearest}'?" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in WHOLE for value in (1.5, "1.5", "x", True, None, [1], {}, "")],
        *[(name, value) for name in NUMBERS for value in ("x", True, None, [0.5], {}, "")],
        *[(name, value) for name in ("task", "model", "out", "text_column") for value in (None, 3, ["x"])],
        *[(name, value) for name in ("data", "revision", "split_column") for value in (3, ["x"], True)],
        *[(name, value) for name in ("rslora", "compile") for value in (1, 0, "true", None)],
        *[("dtype", value) for value in (None, 16, ["bf16"], "")],
        *[("rank_pattern", value) for value in (None, 4, ["query"], {"query": 1.5}, {"query": True}, {3: 4})],
        *[("alpha_pattern", value) for value in (None, "query", {"query": "x"}, {"query": None}, {"": 2.0})],
        *[("methods", value) for value in (None, [None], [["lora"]], {"lora": 1})],
        *[("seeds", value) for value in (None, ["a"], [1.5], [True], [[1]])],
        *[("overrides", value) for value in (None, 3, ["lora"], {"lora": 3}, {"lora": None})],
    ],
)
def test_a_value_of_another_type_is_a_sentence_that_names_field_and_value(name, value):
    (told,) = problems(**{name: value})
    assert told.startswith(f"{name} is {value!r}; it must be ")


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
def test_a_range_holds_at_its_edges(name, allowed, refused):
    for value in allowed:
        read_field(name, value)
    for value in refused:
        with pytest.raises(Mistake, match=f"^{name} is .*; it must (be (in|at least|above|auto)|not|hold)"):
            read_field(name, value)


@pytest.mark.parametrize("name", [*WHOLE, *NUMBERS])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "-Infinity"])
def test_nan_and_infinity_are_no_numbers(name, value):
    (told,) = problems(**{name: value})
    assert told.startswith(f"{name} is ")


def test_the_two_shares_must_leave_something_to_train_on():
    (told,) = problems(validation_share=0.4, test_share=0.6)
    assert "0.4" in told
    assert "0.6" in told
    assert read(validation_share=0.4, test_share=0.59).test_share == 0.59


@pytest.mark.parametrize(
    ("name", "values", "twice"), [("seeds", [3, 4, 3], "3"), ("methods", ["lora", "lora"], "lora")]
)
def test_what_is_named_twice_is_refused(name, values, twice):
    (told,) = problems(**{name: values})
    assert told.startswith(f"{name} names {twice} more than once")


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
        ("methods", "lora", ("lora",)),
        ("targets", ["query", "value"], ("query", "value")),
        ("rank_pattern", {"query": "4"}, MappingProxyType({"query": 4})),
        ("alpha_pattern", {"query": 32}, MappingProxyType({"query": 32.0})),
        ("data", None, None),
    ],
)
def test_a_value_may_be_written_in_several_ways(name, written, meant):
    value = getattr(read(**{name: written}), name)
    assert value == meant
    assert type(value) is type(meant)


@given(st.integers(-(10**9), 10**9))
@settings(deadline=None, max_examples=50)
def test_a_whole_number_is_read_as_itself_from_text_and_from_float(number):
    assert read_field("seeds", [number]) == read_field("seeds", [str(number)]) == (number,)
    assert read_field("seeds", [float(number)]) == (number,)


def test_a_recipe_cannot_be_changed():
    one = read(overrides={"lora": {"lr": 1e-3}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.rank = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        one.overrides["lora"] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        one.overrides["lora"]["lr"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        read(rank_pattern={"query": 4}).rank_pattern["query"] = 8  # type: ignore[index]
    with pytest.raises(TypeError):
        Recipe().rank_pattern["query"] = 8  # type: ignore[index]


def test_a_recipe_does_not_hold_on_to_what_it_was_read_from():
    given = {"overrides": {"lora": {"lr": 1e-3}}, "seeds": [1, 2]}
    one = read(**given)
    given["overrides"]["lora"]["lr"] = 9
    given["seeds"].append(3)
    assert one.overrides["lora"]["lr"] == 1e-3
    assert one.seeds == (1, 2)


@pytest.mark.parametrize(
    "name",
    [
        *DATA,
        "model",
        "revision",
        "max_length",
        "dtype",
        "compile",
        "keep_weights",
        "task",
        "methods",
        "seeds",
    ],
)
def test_an_override_changes_training_and_never_the_data_or_the_model(name):
    """What all methods must share to be comparable cannot differ for one."""
    value = getattr(Recipe(), name)
    (told,) = problems(overrides={"lora": {name: value}})
    assert f"unknown field in the overrides of lora: '{name}'" in told


def test_an_override_of_a_field_that_the_method_does_not_use_is_refused():
    (told,) = problems(overrides={"full": {"rank": 4}})
    assert "overrides of full" in told
    assert "'rank'" in told


def test_an_override_is_held_against_the_fields_range():
    told = problems(overrides={"lora": {"lr": 0, "rank": "x", "epochs": math.nan}})
    assert len(told) == 3
    assert all(one.startswith("overrides of lora: ") for one in told)


def test_overrides_reach_their_method_alone():
    recipe = read(lr=1e-3, rank=8, overrides={"lora": {"lr": "2e-3", "rank": 4}, "full": {"epochs": 1}})
    lora, flat, full = (run_spec(recipe, name, 42, METHODS[name]) for name in ("lora", "flat-lora", "full"))
    assert (lora.training["lr"], lora.options["rank"], lora.training["epochs"]) == (2e-3, 4, Recipe().epochs)
    assert (flat.training["lr"], flat.options["rank"]) == (1e-3, 8)
    assert (full.training["lr"], full.training["epochs"]) == (1e-3, 1)


def test_overrides_of_a_method_hold_for_it_with_perturbations_in_front():
    """A perturbed method is compared with the plain one, and must train as that does."""
    recipe = read(rank=8, overrides={"lora": {"lr": 2e-3, "rank": 4}, "neftune+lora": {"lr": 1e-3}})
    lora, under = (run_spec(recipe, name, 42, METHODS[name]) for name in ("lora", "neftune+lora"))
    assert (lora.training["lr"], lora.options["rank"]) == (2e-3, 4)
    assert (under.training["lr"], under.options["rank"]) == (1e-3, 4)
    full = run_spec(read(), "neftune+full", 42, METHODS["neftune+full"])
    assert full.training["lr"] == 5e-5


def test_a_method_has_one_name_whatever_a_recipe_calls_it():
    recipe = read(methods=["lora", "flat+lora"], overrides={"flat+lora": {"rho": "0.2"}})
    assert recipe.methods == ("lora", "flat-lora")
    assert run_spec(recipe, "flat-lora", 42, METHODS["flat-lora"]).options["rho"] == 0.2
    assert recipe == read(methods=["lora", "flat-lora"], overrides={"flat-lora": {"rho": "0.2"}})
    assert read_recipe(given := vars(recipe), tasks=TASKS, methods=named) == Recipe(**given)


def test_what_is_named_twice_by_two_names_is_refused():
    (told,) = problems(methods=["flat+lora", "flat-lora"])
    assert told == "methods names flat-lora more than once; once is enough"
    (told,) = problems(overrides={"flat+lora": {"rho": 1}, "flat-lora": {"rho": 2}})
    assert told == "overrides names flat-lora more than once; once is enough"


def test_a_spec_has_what_its_method_uses_and_nothing_else():
    recipe = read()
    for name, options in METHODS.items():
        spec = run_spec(recipe, name, 7, options)
        assert (spec.method, spec.seed, spec.task, spec.model) == (name, 7, recipe.task, recipe.model)
        assert set(spec.options) == set(options)
        assert set(spec.training) == set(TRAINING)
        assert set(spec.data) == set(DATA)
        assert (spec.dtype, spec.compile) == (recipe.dtype, recipe.compile)


def test_a_sweep_over_rho_does_not_ask_for_lora_anew():
    def keys(method: str) -> set[str]:
        recipes = [read(rho=rho) for rho in (0.0, 0.05, 0.1)]
        return {key_of(run_spec(one, method, 42, METHODS[method]).as_dict()) for one in recipes}

    assert len(keys("lora")) == len(keys("full")) == 1
    assert len(keys("flat-lora")) == 3


def test_every_method_and_seed_is_asked_the_same_data():
    recipe = read(split_seed=5, seeds=[1, 2, 3], overrides={"lora": {"lr": 1.0}, "full": {"epochs": 9}})
    specs = [run_spec(recipe, name, seed, METHODS[name]) for name in METHODS for seed in recipe.seeds]
    assert all(spec.data == specs[0].data for spec in specs)
    assert specs[0].data["split_seed"] == 5


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
def test_every_field_that_bears_on_a_run_is_in_its_spec(name, value):
    def spec(**given: Any) -> dict[str, Any]:
        return run_spec(read(**given), "flat-lora", 42, METHODS["flat-lora"]).as_dict()

    assert key_of(spec(**{name: value})) != key_of(spec())


@pytest.mark.parametrize("given", [{"out": "elsewhere"}, {"seeds": [42]}, {"methods": ["flat-lora"]}])
def test_where_it_is_written_and_what_else_is_run_do_not_bear_on_a_run(given):
    plain, other = (run_spec(read(**one), "flat-lora", 42, METHODS["flat-lora"]) for one in ({}, given))
    assert plain.as_dict() == other.as_dict()


def test_a_spec_as_a_dict_survives_json():
    spec = run_spec(
        read(targets=["query", "value"], rank_pattern={"query": 4}), "lora-plus", 42, METHODS["lora-plus"]
    )
    assert json.loads(json.dumps(spec.as_dict())) == spec.as_dict()
    assert spec.as_dict()["options"]["targets"] == ["query", "value"]
    assert spec.as_dict()["options"]["rank_pattern"] == {"query": 4}
    assert spec.as_dict()["options"]["lr_ratio"] == 16.0


def test_the_way_a_number_is_written_does_not_change_the_key():
    def key(**given: Any) -> str:
        return key_of(run_spec(read(**given), "lora", 42, METHODS["lora"]).as_dict())

    assert key(lr="5e-4", alpha=16, epochs=3.0, rank="8") == key(lr=0.0005, alpha=16.0, epochs=3, rank=8)
    assert key(lr=9, overrides={"lora": {"lr": "5e-4"}}) == key(lr=5e-4, overrides={})


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", math.nan), ("epochs", math.inf), ("lr", 10**400), ("seeds", [math.nan])]
)
def test_the_sentence_about_nan_and_infinity_is_english(name, value):
    with pytest.raises(Mistake) as caught:
        read_field(name, value)
    assert "cannot convert" not in str(caught.value)
    assert "too large to convert" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"), [("epochs", "x", "a whole number"), ("methods", [], "must not be empty")]
)
def test_the_sentence_says_what_is_wanted(name, value, says):
    with pytest.raises(Mistake, match=says):
        read_field(name, value)


def test_a_large_whole_number_written_as_text_keeps_its_digits():
    assert read_field("seeds", [str(2**53 + 1)]) == (2**53 + 1,)


def test_what_was_not_given_is_not_told_as_a_mistake():
    with pytest.raises(Mistake) as caught:
        read_recipe(
            {"validation_share": "abc", "test_share": 0.95},
            tasks=["financial-demo"],
            methods=named,
        )
    assert not any("validation_share 0.1" in one for one in caught.value.problems)


@pytest.mark.parametrize("name", ["data", "text_column", "model", "out", "targets"])
def test_an_empty_text_names_nothing(name):
    with pytest.raises(Mistake):
        read_field(name, "")
