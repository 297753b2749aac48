"""Properties of recipes: any YAML is one or a mistake, a printed recipe is the recipe, all mistakes come at once."""

from __future__ import annotations

import datetime
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowland.cli.main import main
from lowland.ground.mistakes import Mistake
from lowland.ground.yaml_files import parse_yaml, read_yaml
from lowland.study.recipe import Recipe, task_field_names
from lowland.train.table import METHODS
from tests.strategies import ALIASES, TEXTS, VALUES, mutated

SHARED = settings(suppress_health_check=list(HealthCheck))
NAMES = [*Recipe.model_fields, *task_field_names(), "overrides"]
SHARES = st.floats(0.01, 0.4)
PATHS = st.text("abcäöü漢-_. 0123456789", min_size=1, max_size=8).filter(str.strip)
LABELS = st.from_regex(r"[a-z0-9_+-][a-z0-9_.+-]{0,5}", fullmatch=True)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "epochs": st.integers(1, 50) | st.sampled_from(["3", "1e1", 2.0]),
    "batch_size": st.integers(1, 64),
    "lr": st.floats(1e-6, 1e-1) | st.sampled_from(["5e-4", "1e-3"]),
    "warmup": st.floats(0, 0.9),
    "rank": st.integers(1, 64),
    "alpha": st.floats(0.5, 64),
    "dropout": st.floats(0, 0.9),
    "seeds": st.lists(st.integers(0, 2**70), min_size=1, max_size=3, unique=True) | st.integers(0, 9),
    "max_length": st.integers(1, 512),
    "dtype": st.sampled_from(["auto", "fp32", "bf16"]),
    "compile": st.booleans() | st.sampled_from(["true", "False"]),
    "model": PATHS,
    "out": PATHS,
    "task": st.sampled_from(["financial-demo", "sms-spam"])
    | st.fixed_dictionaries({"name": st.just("classification"), "data": PATHS, "test_share": SHARES}),
}
METHOD = st.sampled_from(sorted(METHODS))
ENTRIES = st.one_of(
    METHOD,
    st.builds(lambda name, label: {name: {"label": label}}, METHOD, LABELS),
    st.builds(lambda rank, label: {"lora": {"rank": rank, "label": label}}, st.integers(1, 64), LABELS),
)
WRONG: dict[str, Any] = {
    "epochs": "many",
    "batch_size": 0,
    "lr": math.nan,
    "warmup": 2,
    "rank": [8],
    "alpha": True,
    "dropout": -1,
    "seeds": [-1],
    "max_length": {"a": 1},
    "dtype": "int8",
    "compile": "perhaps",
    "model": "",
    "out": "\ud800",
    "task": 3,
}


def made(**values: Any) -> Recipe:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of `overrides`
        return Recipe(**values)


@settings(SHARED, max_examples=100)
@given(values=st.dictionaries(st.sampled_from(NAMES) | TEXTS, VALUES, max_size=5))
def test_any_values_are_a_recipe_or_a_mistake(values: dict[str, Any]) -> None:
    mistake = None
    try:
        recipe = made(**values)
    except Mistake as error:
        mistake = error
    assert made(**recipe.as_dict()) == recipe if mistake is None else all(mistake.problems)


@settings(SHARED, max_examples=60)
@given(
    values=st.fixed_dictionaries({}, optional=RIGHT),
    methods=st.lists(ENTRIES, min_size=1, max_size=3, unique_by=str),
)
def test_a_printed_recipe_is_the_recipe(values: dict[str, Any], methods: list[Any]) -> None:
    labels = [entry if isinstance(entry, str) else next(iter(entry.values()))["label"] for entry in methods]
    if len(set(labels)) < len(labels):
        return
    recipe = made(**values, methods=methods)
    printed = yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True)
    again = made(**parse_yaml(printed, "it"))
    assert again == recipe
    assert yaml.safe_dump(again.as_dict(), sort_keys=False, allow_unicode=True) == printed


@settings(SHARED, max_examples=60)
@given(names=st.lists(st.sampled_from(sorted(WRONG)), min_size=1, max_size=8, unique=True))
def test_all_mistakes_are_told_at_once(names: list[str]) -> None:
    with pytest.raises(Mistake) as caught:
        made(**{name: WRONG[name] for name in names})
    for name in names:
        assert any(name in problem.split() for problem in caught.value.problems), name


@settings(SHARED, max_examples=100)
@given(text=TEXTS | st.binary(max_size=40).map(lambda content: content.decode("latin-1")))
def test_any_text_is_yaml_or_a_mistake(text: str) -> None:
    mistake = None
    try:
        parse_yaml(text, "it")
    except Mistake as error:
        mistake = error
    assert mistake is None or str(mistake).startswith("it")


@settings(SHARED, max_examples=60)
@given(data=st.data())
def test_a_damaged_recipe_file_is_a_recipe_or_a_mistake(tmp_path: Path, data: st.DataObject) -> None:
    content = Path(__file__).parents[2].joinpath("src", "lowland", "study", "demo.yaml").read_bytes()
    path = tmp_path / "recipe.yaml"
    path.write_bytes(data.draw(mutated(content)))
    assert main(["compare", "--config", str(path), "--print-config"]) in (0, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 2001-99-99", "'2001-99-99' is no valid timestamp, in line 1, column 4"),
        ("a: 1" + "0" * 5000, "is no valid int, in line 1, column 4"),
        ("a: !!int ''", "'' is no valid int"),
        ("a: !!float x", "'x' is no valid float"),
        ("a: !!bool x", "'x' is no valid bool"),
        ("a: !!timestamp x", "'x' is no valid timestamp"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("{a: " * 3000, "nested too deeply"),
        (ALIASES.decode(), "more than 100,000 values, or an alias of itself"),
        ("a: &a [*a]", "more than 100,000 values, or an alias of itself"),
        ("{[a]: b}", "unhashable key"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
    ],
)
def test_yaml_that_is_half_read_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Mistake, match=f"cannot be read as YAML: .*{sentence}"):
        parse_yaml(text, "it")


@pytest.mark.parametrize("verb", ["compare", "train"])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("task: {name: classification, data: a.csv, on: 3}", "unknown field 'True'"),
        ("task: {name: sms-spam, null: 1}", "unknown field 'None'"),
        ("methods: [{lora: [rank, 3]}]", "give settings by name"),
        ("methods: [{lora: {rank: 3}, full: {lr: 1}}]", "give a name, or a name with settings"),
        ("methods: [{lora: {rank: 3}}, lora]", "methods names lora more than once"),
        ("methods: [3]", "methods holds 3; give a name"),
    ],
)
def test_a_recipe_file_that_is_half_understood_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, text: str, sentence: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert main([verb, "--config", str(path), "--print-config"]) == 2
    assert sentence in capsys.readouterr().err


def test_aliases_and_dates_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\nc: 2001-01-02\n")
    assert read_yaml(path, "file") == {"a": [1, 2], "b": [1, 2], "c": datetime.date(2001, 1, 2)}


def test_the_name_of_a_field_is_text() -> None:
    with pytest.raises(Mistake, match="it must be text in UTF-8"):
        made(**{"\ud800": 1})
