"""Ablations: which methods stand in the recipe, and what is wrong with axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from lowland.ground.mistakes import Mistake
from lowland.study.ablation import USUAL, ablated, method_for, read_axes
from lowland.study.recipe import Recipe

Command = Callable[..., tuple[int, str, str]]


def settings(recipe: Recipe, *names: str) -> list[tuple[Any, ...]]:
    return [(choice.label, *(getattr(choice.settings, name) for name in names)) for choice in recipe.methods]


def test_the_base_point_comes_first_and_is_not_repeated() -> None:
    recipe = ablated(Recipe(methods=["lora"]), read_axes(["rank"]))
    assert settings(recipe, "rank", "alpha") == [
        ("lora", 8, 16),
        ("lora-rank4", 4, 8),
        ("lora-rank16", 16, 32),
    ]
    recipe = ablated(Recipe(methods=["flat-lora"], rho=0.1), read_axes(["rho"]))
    assert [rho for _, rho in settings(recipe, "rho")] == [0.1, 0, 0.01, 0.05, 0.15, 0.3]


def test_alpha_follows_the_rank_unless_it_is_an_axis() -> None:
    recipe = ablated(Recipe(methods=["lora"]), read_axes(["rank=4", "alpha=8,32"]))
    assert settings(recipe, "rank", "alpha")[1:] == [
        ("lora-rank4-alpha8", 4, 8),
        ("lora-rank4-alpha32", 4, 32),
    ]
    recipe = ablated(Recipe(methods=["lora"]), read_axes(["alpha"]))
    assert settings(recipe, "rank", "alpha") == [
        ("lora", 8, 16),
        ("lora-alpha8", 8, 8),
        ("lora-alpha32", 8, 32),
    ]


def test_axes_are_crossed() -> None:
    recipe = ablated(Recipe(methods=["lora"]), read_axes(["targets", "lr=1e-4,5e-4"]))
    labels = [label for (label,) in settings(recipe)]
    assert labels == [
        "lora",
        "lora-standard-lr0.0001", "lora-standard-lr0.0005",
        "lora-extended-lr0.0001", "lora-extended-lr0.0005",
        "lora-all-linear-lr0.0001",
    ]  # fmt: skip


def test_settings_of_the_method_itself_stay() -> None:
    recipe = Recipe(methods=[{"lora": {"lr": 1e-3, "dropout": 0.1, "label": "mine"}}], epochs=7)
    recipe = ablated(recipe, read_axes(["rank=2"]))
    assert settings(recipe, "rank", "alpha", "lr", "dropout", "epochs") == [
        ("mine", 8, 16, 1e-3, 0.1, 7),
        ("mine-rank2", 2, 4, 1e-3, 0.1, 7),
    ]


def test_the_usual_values_are_those_of_the_table() -> None:
    assert read_axes(list(USUAL)) == {
        **USUAL,
        "targets": (("standard",), ("extended",), ("all-linear",)),
        "alpha": (8.0, 16.0, 32.0),
    }


def test_full_fine_tuning_has_rates_of_its_own() -> None:
    assert read_axes(["lr"], "full") == {"lr": (1e-5, 2e-5, 5e-5, 1e-4)}
    assert read_axes(["lr"], "dora") == read_axes(["lr"])
    with pytest.raises(
        Mistake, match=r"the axis lr has no values; .*only rank, alpha, targets, rho have usual ones"
    ):
        read_axes(["lr"], "ia3")


@pytest.mark.parametrize(
    ("axes", "method"),
    [(["rank"], "lora"), (["rho"], "flat-lora"), (["lr_ratio=4"], "lora-plus"), (["lr"], "lora")],
)
def test_a_method_that_uses_the_axes_is_taken(axes: list[str], method: str) -> None:
    assert method_for(read_axes(axes)) == method


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (["rnak"], ["unknown axis 'rnak'; did you mean 'rank'?"]),
        (["warmup"], ["the axis warmup has no values; give them, as warmup=VALUE,VALUE"]),
        (["rank="], ["the axis rank has no values"]),
        (["rank=0,4", "lr=x"], ["rank is 0; it must be at least 1", "lr is 'x'; it must be a number"]),
        (["rank=4", "rank=8"], ["the axis rank is named twice"]),
        (
            ["rank=4,", "8"],
            ["the axis 8 is a number; write the values of an axis without spaces, as rank=4,8"],
        ),
    ],
)
def test_wrong_axes_are_reported_together(words: list[str], problems: list[str]) -> None:
    with pytest.raises(Mistake) as mistake:
        read_axes(words)
    assert len(mistake.value.problems) == len(problems)
    assert all(part in problem for part, problem in zip(problems, mistake.value.problems, strict=True))


def test_an_axis_that_the_method_does_not_use_is_refused() -> None:
    with pytest.raises(Mistake, match="lora does not use the axis rho; methods that do: flat-lora, flat"):
        ablated(Recipe(methods=["lora"]), read_axes(["rho"]))
    with pytest.raises(Mistake, match="no method uses rho and lr_ratio"):
        method_for(read_axes(["rho", "lr_ratio=2"]))


def test_an_ablation_without_another_value_is_refused() -> None:
    with pytest.raises(Mistake, match=r"the axes hold no value but those of lora itself \(rank\)"):
        ablated(Recipe(methods=["lora"]), read_axes(["rank=8,8"]))


def test_shared_settings_stay_shared(lowland: Command) -> None:
    words = ("--axis", "rank=4", "--epochs", "5", "--lr", "1e-4", "--print-config")
    code, out, err = lowland("ablate", *words, small=False)
    assert code == 0, err
    content = yaml.safe_load(out)
    assert (content["epochs"], content["lr"]) == (5, 1e-4)
    assert content["methods"] == ["lora", {"lora": {"rank": 4, "alpha": 8.0, "label": "lora-rank4"}}]
    code, out, err = lowland(
        "ablate", "--axis", "epochs=1,2", "--lr", "1e-4", "--method", "full", "--print-config"
    )
    assert [entry["full"]["lr"] for entry in yaml.safe_load(out)["methods"]] == [
        1e-4
    ] * 3  # it has an lr of its own


def test_it_runs_from_the_command_line(lowland: Command, texts: Any, tiny_model: Any, tmp_path: Any) -> None:
    options = ("--task", "classification", "--data", texts, "--model", tiny_model, "--out", tmp_path / "runs")
    options = tuple(map(str, options))
    code, out, err = lowland("ablate", "--axis", "rank=2,4", "--seeds", "1", "2", "--epochs", "1", *options)
    assert code == 0, err
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| lora")][:3] == [
        "lora", "lora-rank2", "lora-rank4"
    ]  # fmt: skip
    code, again, err = lowland("ablate", "--axis", "rank=2,4", "--seeds", "1", "2", "--epochs", "1", *options)
    assert again == out  # found
    assert err.count("found") == 6


def test_the_recipe_file_gives_the_base_point(lowland: Command, tmp_path: Any) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("methods: [full, {lora: {rank: 2, alpha: 4, label: small}}]\nseeds: [7]\n")
    code, out, err = lowland(
        "ablate", "--axis", "rank=4", "--config", str(path), "--method", "small", "--print-config"
    )
    assert code == 0, err
    assert yaml.safe_load(out)["methods"] == [
        {"lora": {"rank": 2, "alpha": 4.0, "label": "small"}},
        {"lora": {"rank": 4, "alpha": 8.0, "label": "small-rank4"}},
    ]
    assert yaml.safe_load(out)["seeds"] == [7]


def test_a_large_study_needs_a_yes(lowland: Command) -> None:
    many = ",".join(map(str, range(1, 101)))
    code, _, err = lowland("ablate", "--axis", f"rank={many}")
    assert code == 2
    assert "the study has 300 runs (100 methods, each with 3 seeds); add --yes to start it" in err
    code, _, err = lowland(
        "ablate", "--axis", f"rank={many}", "--yes", "--data", "nowhere.csv", "--task", "classification"
    )
    assert "nowhere.csv does not exist" in err


def test_everything_wrong_is_said_at_once(lowland: Command) -> None:
    code, _, err = lowland("ablate", "--axis", "rnak", "--epochs", "0", "--rho", "0.1", "--method", "lora")
    assert code == 2
    assert "unknown axis 'rnak'" in err
    assert "epochs is 0" in err
