"""Examples of damaged texts: which are chosen, and what is known of the answers."""

from __future__ import annotations

import pandas as pd

from lowland.evidence.damaged_examples import damaged_examples
from lowland.evidence.readers.stress_rows import Cell

ITEMS = ("one", "two", "three", "four")


def rows(
    right: dict[tuple[str, str], str],
    models: tuple[str, ...] = ("a",),
    conditions: tuple[str, ...] = ("typos",),
    seeds: int = 1,
) -> pd.DataFrame:
    """Rows in which each text is answered right.

    Args:
        right: the model's answers that are wrong: "clean", "damaged" or "both", by model and item.
        models: names of the models.
        conditions: the corruptions.
        seeds: number of runs of each model.
    """
    table = []
    for model in models:
        for seed in range(seeds):
            for item in ITEMS:
                for condition in ("clean", *conditions):
                    is_clean = condition == "clean"
                    wrong = right.get((model, item), "")
                    is_wrong = wrong == "both" or wrong == ("clean" if is_clean else "damaged")
                    table.append(
                        {
                            "eval": "messy", "model": model, "item": item, "condition": condition, "seed": seed,
                            "level": None if is_clean else "heavy", "rate": 0.0 if is_clean else 0.2,
                            "protected": False, "mitigation": "none", "epoch": 1,
                            "prompt": item if is_clean else f"{item} {condition}",
                            "gold": "yes", "reply": "no" if is_wrong else "yes", "status": "scored",
                            "score": float(not is_wrong),
                        }
                    )  # fmt: skip
    return pd.DataFrame(table)


def test_what_is_right_when_clean_and_wrong_when_damaged_comes_first() -> None:
    table = rows({("a", "one"): "both", ("a", "two"): "clean", ("a", "four"): "damaged"})
    examples = damaged_examples(table)
    assert [each.item for each in examples] == ["four", "one"]
    first = examples[0]
    assert (first.clean, first.damaged, first.gold) == ("four", "four typos", "yes")
    assert first.cell == Cell("typos", "heavy", False, "none")
    (answers,) = first.answers
    assert (answers.right, answers.asked, answers.reply_clean, answers.reply) == ((1, 0), (1, 1), "yes", "no")


def test_an_example_that_more_models_lose_comes_before() -> None:
    table = rows(
        {("a", "one"): "damaged", ("a", "three"): "damaged", ("b", "three"): "damaged"}, models=("a", "b")
    )
    assert [each.item for each in damaged_examples(table, per_cell=1)] == ["three"]


def test_what_one_model_loses_another_does_not_make_up_for() -> None:
    wrong = {("a", "four"): "damaged", ("b", "four"): "clean"}
    assert damaged_examples(rows(wrong, models=("a", "b")))[0].item == "four"


def test_each_cell_has_examples_of_its_own_where_it_can() -> None:
    wrong = {("a", item): "damaged" for item in ("two", "three")}
    examples = damaged_examples(rows(wrong, conditions=("casing", "typos")), per_cell=1)
    assert [(each.cell.condition, each.item) for each in examples] == [("casing", "two"), ("typos", "three")]


def test_equal_rows_give_equal_examples_in_any_order_of_models() -> None:
    table = rows({("a", "two"): "damaged"}, models=("a", "b"))
    assert damaged_examples(table) == damaged_examples(table.copy())
    turned = pd.concat([table[table["model"] == "b"], table[table["model"] == "a"]])
    assert [each.item for each in damaged_examples(turned)] == [each.item for each in damaged_examples(table)]


def test_runs_of_a_method_are_counted_and_the_most_frequent_wrong_answer_is_shown() -> None:
    table = rows({("a", "one"): "damaged"}, seeds=3)
    is_damaged = (table["item"] == "one") & (table["condition"] == "typos")
    table.loc[is_damaged, "reply"] = ["yes", "maybe", "maybe"]
    table.loc[is_damaged, "score"] = [1.0, 0.0, 0.0]
    (example, _) = damaged_examples(table)
    (answers,) = example.answers
    assert (answers.right, answers.asked, answers.reply) == ((3, 1), (3, 3), "maybe")


def test_mitigations_and_texts_that_are_not_changed_are_left_out() -> None:
    table = rows({})
    same = table["item"] == "one"
    table.loc[same, "prompt"] = "one"
    assert "one" not in [each.item for each in damaged_examples(table, per_cell=9)]
    assert damaged_examples(table.assign(mitigation="normalise")) == []
    assert damaged_examples(table[table["condition"] == "clean"]) == []
    assert damaged_examples(table.drop(columns="prompt")) == []


def test_failed_questions_are_wrong_answers() -> None:
    table = rows({})
    failed = (table["item"] == "three") & (table["condition"] == "typos")
    table.loc[failed, ["score", "reply", "status"]] = [None, None, "failed"]
    example = damaged_examples(table)[0]
    assert example.item == "three"
    assert (example.answers[0].right, example.answers[0].reply) == ((1, 0), "")


def test_there_are_few_examples_however_many_cells_there_are() -> None:
    conditions = tuple(f"c{number:02d}" for number in range(40))
    examples = damaged_examples(rows({}, conditions=conditions))
    assert len(examples) == 24
    assert len({each.cell for each in examples}) == 24
