"""The report of a stress test shows the numbers of the evidence, and all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.evidence.core.by_item import Estimate
from lowland.evidence.stress import stress_evidence
from lowland.evidence.stress_adapters import AdapterDifference, adapter_evidence
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import write_rows, write_stress_record
from lowland.ground.records import ROW_COLUMNS, StressRecord
from lowland.report.markdown import escape
from lowland.report.stress import ABOUT_RETRIEVER, stress_folders, stress_markdown, stress_summary
from lowland.report.stress_adapters import drop_difference_sentence
from lowland.report.wording import p_value, percent, points, quoted
from tests.evidence.test_stress import HEAVY, at, fail, messy, multilingual
from tests.evidence.test_stress_adapters import runs
from tests.report.test_study import tables


def record_of(rows: pd.DataFrame, **changes: Any) -> StressRecord:
    failed = int((rows["status"] == "failed").sum())
    fields: dict[str, Any] = {
        "key": "c0ffee",
        "asked": {
            "model": "mock/one",
            "epochs": 3,
            "temperature": 0.2,
            "questionnaire": {"levels": ["light", "heavy"]},
        },
        "status": "finished",
        "items": {"source": "packed with lowland", "sha256": "abcdef0123456789", "count": 24},
        "model": {
            "name": "mock/one",
            "requested": {"temperature": 0.2, "max_tokens": 512, "extra_body": {"top_k": 5}},
            "sent": {"max_tokens": 512, "top_k": 5},
        },
        "counts": {"expected": len(rows), "scored": len(rows) - failed, "failed": failed},
        "cost": {"requests": 720, "input_tokens": 12345},
    }
    return StressRecord(**{**fields, **changes})


def by_header(text: str, first: str, column: str) -> list[dict[str, str]]:
    """The rows of the table with this first column and this other column."""
    for header, *rows in tables(text):
        if header[0] == first and column in header:
            return [dict(zip(header, row, strict=True)) for row in rows]
    raise AssertionError(f"no table has {first} and {column}")


def test_accuracies_stand_side_by_side_with_their_intervals():
    rows = messy()
    evidence = stress_evidence(rows)
    for text in (stress_summary(rows, record_of(rows)), stress_markdown(rows, record_of(rows))):
        lines = by_header(text, "condition", "no mitigation, %")
        assert len(lines) == 5
        for scores in evidence.cells:
            line = next(
                t for t in lines if (t["condition"], t["level"]) == (scores.cell.condition, scores.cell.level)
            )
            name = scores.cell.mitigation.replace("none", "no mitigation")
            assert line[f"{name}, %"] == percent(scores.accuracy)
            assert line["rate"] == f"{scores.rate:.0%}"


def test_rates_with_fractions_of_a_per_cent_are_not_rounded():
    rows = messy(8, levels=("0.02", "0.025", "0.125"))
    text = stress_markdown(rows, record_of(rows))
    rates = {t["level"]: t["rate"] for t in by_header(text, "condition", "no mitigation, %")}
    assert rates == {"": "0%", "0.02": "2%", "0.025": "2.5%", "0.125": "12.5%"}
    assert len(by_header(text, "condition", "2.5%")) == 4  # the ladder's header
    assert "A question gets one edit at least" in text


def test_the_share_that_may_differ_is_at_most_100_per_cent():
    rows = messy(2)
    assert "(here 100 %)" in stress_markdown(rows, record_of(rows))


def test_every_comparison_has_its_interval_and_both_p_values():
    rows = messy(levels=("0.1", "0.2", "0.4"))
    evidence = stress_evidence(rows)
    text = stress_markdown(rows, record_of(rows))
    against = by_header(text, "condition", "minus clean, points")
    assert [t["minus clean, points"] for t in against] == [
        points(difference.estimate) for difference in evidence.to_reference
    ]
    assert [t["p (Holm)"] for t in against] == [
        p_value(difference.p_holm) for difference in evidence.to_reference
    ]
    assert [t["flips to wrong, %"] for t in against] == [percent(flips.to_wrong) for flips in evidence.flips]
    helped = by_header(text, "condition", "minus no mitigation, points")
    assert [t["minus no mitigation, points"] for t in helped] == [
        points(difference.estimate) for difference in evidence.mitigated
    ]
    assert helped[0]["condition"] == "clean"  # the cost of a mitigation
    worst = by_header(text, "level", "right under all, %")
    assert [t["right under all, %"] for t in worst] == [percent(worst.all_right) for worst in evidence.worst]
    doses = by_header(text, "condition", "slope, points per 10 % of damage")
    assert [t["slope, points per 10 % of damage"] for t in doses] == [
        points(dose.slope) for dose in evidence.doses
    ]
    assert [t["20%"] for t in doses] == [percent(dose.accuracies[2]) for dose in evidence.doses]


def test_rows_are_counted_by_status_and_category():
    rows = messy()
    rows = fail(rows, rows.index.isin(at(rows, HEAVY).index) & (rows["epoch"] == 2))
    text = stress_markdown(rows, record_of(rows))
    account = by_header(text, "condition", "failed as wrong, %")
    assert sum(int(t["asked"]) for t in account) == len(rows)
    assert sum(int(t["failed"]) for t in account) == 24
    evidence = {scores.cell: scores for scores in stress_evidence(rows).cells}
    line = next(
        t for t in account if (t["condition"], t["level"], t["mitigation"]) == ("typos", "heavy", "none")
    )
    assert line["failed as wrong, %"] == percent(evidence[HEAVY].strict) != line["accuracy, %"]
    counts = by_header(text, "condition", "semantic drift")
    total = sum(int(t[name]) for t in counts for name in ("right", "semantic drift", "unsure", "failed"))
    assert total == len(rows)
    assert "24 of 720 rows failed" in stress_summary(rows, record_of(rows))
    assert f"rows {len(rows)} expected, {len(rows) - 24} scored, 24 failed" in text


def test_examples_are_rows_of_their_category_and_always_the_same():
    rows = messy()
    rows["reply"] = rows["category"] + " " + rows["item"] + " of " + rows["condition"]
    text = stress_markdown(rows, record_of(rows))
    examples = by_header(text, "category", "reply")
    assert [t["category"] for t in examples] == ["semantic drift"] * 2 + ["unsure"] * 2
    assert all(t["reply"].startswith(t["category"]) for t in examples)
    assert text == stress_markdown(rows.sample(frac=1, random_state=5), record_of(rows))


def test_requested_and_sent_settings_are_both_shown():
    rows = messy(items=3)
    text = stress_markdown(rows, record_of(rows))
    assert "- temperature: requested 0.2, sent nothing" in text
    assert "- max_tokens: requested 512, sent 512" in text
    assert "- top_k: requested 5, sent 5" in text
    unseen = record_of(rows, model={"name": "mock/one", "requested": {"temperature": 0.2}, "sent": {}})
    assert "- requested: temperature 0.2; no request to a server shows what was sent" in stress_markdown(
        rows, unseen
    )


def test_an_incomplete_run_says_so_first():
    rows = messy(items=3)
    record = record_of(rows, status="incomplete", failure="the budget was spent")
    record.counts["expected"] += 7
    for text in (stress_summary(rows, record), stress_markdown(rows, record)):
        assert text.startswith("The run is incomplete (the budget was spent)")
        assert "Beware: 7 rows missing." in text.splitlines()[0]
    empty = record_of(rows.iloc[:0], counts={"expected": 7, "scored": 0, "failed": 0})
    assert "Beware: 7 rows missing." in stress_summary(rows.iloc[:0], empty)
    assert "Beware: 7 rows missing." in stress_markdown(rows.iloc[:0], empty)


@pytest.mark.parametrize("rows", [messy(items=3), multilingual(items=3)])
def test_a_run_without_any_answer_says_what_failed_and_what_to_do(rows, tmp_path):
    rows = fail(rows, pd.Series(True, index=rows.index))
    record = record_of(rows, status="failed", failure=f"{len(rows)} of {len(rows)} rows failed: 9x no route")
    for text in (stress_summary(rows, record), stress_markdown(rows, record)):
        assert "9x no route" in text.splitlines()[0]
        assert "repeat the command of the run; it asks only what is missing." in text.splitlines()[0]
        assert f"none of {len(rows)} questions has an answer" in text
        assert "|" not in text  # no table
        assert re.search("none points|n/a|nan", text) is None


def test_a_run_that_failed_with_all_rows_scored_is_asked_again():
    rows = messy(items=3)
    failed = record_of(rows, status="failed", failure="all 90 replies of the model are empty")
    assert "it asks everything again." in stress_summary(rows, failed).splitlines()[0]
    assert "repeat the command" not in stress_summary(rows, record_of(rows))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("condition", ["clean", "typos"])
def test_a_cell_without_answers_is_named_and_left_out_of_the_comparisons(condition, full):
    rows = messy(items=6)
    rows = fail(rows, (rows["condition"] == condition) & (rows["mitigation"] == "none"))
    text = (stress_markdown if full else stress_summary)(rows, record_of(rows))
    evidence = stress_evidence(rows)
    lines = by_header(text, "condition", "no mitigation, %")
    assert {t["no mitigation, %"] for t in lines if t["condition"] == condition} == {"all failed"}
    assert "all failed" not in {t["no mitigation, %"] for t in lines if t["condition"] != condition}
    named = "clean" if condition == "clean" else "typos light; typos heavy"
    assert f"All rows failed under {named}. Nothing can be compared with these." in text
    compared = sum(difference.estimate.items > 0 for difference in evidence.to_reference)
    assert compared < len(evidence.to_reference)
    assert f"(Holm, over {compared} comparisons)" in text
    assert "n/a points" not in text
    assert "nan" not in text


def test_one_item_has_no_intervals():
    rows = messy(items=1)
    for text in (stress_summary(rows, record_of(rows)), stress_markdown(rows, record_of(rows))):
        assert "1 item, 3 epochs, 30 questions asked; no intervals" in text
        assert " to 100.0)" not in text
    assert "One item cannot say" in text


def test_a_run_without_errors_has_no_examples_of_errors():
    rows = messy(items=3).assign(score=1.0, category="right")
    assert "Examples" not in stress_markdown(rows, record_of(rows))
    assert "Examples" in stress_markdown(messy(items=3), record_of(messy(items=3)))


def test_comparisons_need_no_cell_without_mitigation():
    rows = messy(items=4)
    rows = rows[rows["mitigation"] == "normalise"]
    assert "Lowest against clean: " in stress_summary(rows, record_of(rows))


def test_the_retriever_is_explained():
    rows = messy(items=3)
    assert ABOUT_RETRIEVER not in stress_summary(rows, record_of(rows))
    mine = rows.assign(model="lowland/retriever")
    assert ABOUT_RETRIEVER in stress_summary(mine, record_of(mine))
    assert ABOUT_RETRIEVER in stress_markdown(mine, record_of(mine))


def test_languages_have_no_level_and_show_the_share_kept():
    rows = multilingual()
    text = stress_markdown(rows, record_of(rows))
    assert "level" not in tables(text)[0][0]
    cells = by_header(text, "condition", "kept the language, %")
    evidence = stress_evidence(rows)
    assert [t["kept the language, %"] for t in cells] == [percent(scores.kept) for scores in evidence.cells]
    assert [t["undecided, %"] for t in cells] == [percent(scores.undecided) for scores in evidence.cells]
    assert "minus english, points" in text
    assert "kept the language, %" not in stress_markdown(messy(items=3), record_of(rows))


def test_a_single_condition_is_shown_without_comparisons():
    rows = messy(items=4)
    rows = rows[(rows["condition"] == "clean") & (rows["mitigation"] == "none")]
    text = stress_markdown(rows, record_of(rows))
    assert "Conditions cannot be compared: one condition was asked." in text
    assert "What a mitigation changes" not in text


def test_a_mitigation_without_effect_is_not_praised():
    rows = messy(items=8)
    idle = pd.concat(
        [rows[rows["mitigation"] == "none"].assign(mitigation=name) for name in ("none", "prompt")]
    )
    assert "No mitigation gained anything." in stress_summary(idle, record_of(idle))
    assert "Most gained by a mitigation" in stress_summary(messy(), record_of(messy()))
    examples = by_header(stress_markdown(idle, record_of(idle)), "category", "reply")
    questions = [(line["question"], line["condition"]) for line in examples if line["category"] == "unsure"]
    assert len(questions) == len(set(questions)) == 2


def test_protected_rows_have_their_own_lines():
    rows = messy()
    both = pd.concat([rows, rows[rows["condition"] != "clean"].assign(protected=True)])
    lines = by_header(stress_markdown(both, record_of(both)), "condition", "no mitigation, %")
    assert [t["protected"] for t in lines] == ["no", *["no", "yes"] * 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b\n c", "a\\|b c"),
        ("<b>*bold* `x`", "\\<b\\>\\*bold\\* \\`x\\`"),
        ("Par\u200bis \u202efoo", "Par‹U+200B›is ‹U+202E›foo"),
        ("नई दिल्ली", "नई दिल्ली"),
        ("", "(nothing)"),
        (None, "(nothing)"),
        (float("nan"), "(nothing)"),
    ],
)
def test_replies_cannot_break_a_table_or_hide(text, expected):
    assert escape(quoted(text).text) == expected


def test_long_replies_are_cut():
    assert len(quoted("x" * 5000).text) == 140


def test_numbers_are_written_without_a_sign_on_zero():
    assert points(Estimate(-0.0001, -0.01, 0.0, 5)) == "0.0 (-1.0 to 0.0)"
    assert points(Estimate(0.123, 0.05, 0.2, 5)) == "+12.3 (+5.0 to +20.0)"
    assert percent(Estimate(float("nan"), float("nan"), float("nan"), 0)) == "n/a"
    assert points(Estimate(float("nan"), float("nan"), float("nan"), 0)) == "n/a"
    assert (p_value(0.0004), p_value(0.0216), p_value(float("nan"))) == ("<0.001", "0.022", "n/a")


def test_a_number_of_one_item_has_no_interval():
    assert (percent(Estimate(0.5, 0.5, 0.5, 1)), points(Estimate(-0.5, -0.5, -0.5, 1))) == ("50.0", "-50.0")


# --- adapters ------------------------------------------------------------------------------


def test_adapters_are_reported_by_method_and_compared_with_the_reference():
    rows = runs()
    evidence = adapter_evidence(rows)
    record = record_of(rows, asked={"eval": "adapter", "task": "toy"}, model={"name": "tiny"})
    short, full = stress_summary(rows, record), stress_markdown(rows, record)
    for text in (short, full):
        lines = by_header(text, "texts", "flat-lora")
        assert [t["texts"] for t in lines] == ["clean", "ocr heavy", "typos heavy"]
        score = next(
            score for score in evidence.scores if score.method == "lora" and score.cell.condition == "ocr"
        )
        assert lines[1]["lora"] == f"{100 * score.accuracy.mean:.1f} ± {100 * score.accuracy.sd:.1f}"
        assert drop_difference_sentence(evidence.overall[0], evidence) in text
    assert len(tables(short)) == 1
    assert len(tables(full)) == 4


@pytest.mark.parametrize("name", ["accuracy", "F1", "exact match"])
def test_a_score_has_the_name_that_the_record_gives(name: str):
    rows = runs(seeds=(0,))
    record = record_of(
        rows, asked={"eval": "adapter", "task": "toy"}, model={"name": "tiny"}, items={"score": name}
    )
    assert f"{name} in per cent" in stress_summary(rows, record)
    assert f"{name.capitalize()} minus lora's" in stress_markdown(rows, record)


def test_a_sentence_claims_no_more_than_the_interval():
    def sentence(difference: AdapterDifference) -> str:
        return drop_difference_sentence(difference, evidence)

    evidence = adapter_evidence(runs(seeds=range(15)))
    (clear,) = evidence.overall
    assert clear.interval.low > 0
    assert "2 corruptions, heavy, flat-lora loses" in sentence(clear)
    assert "points less than lora" in sentence(clear)
    same = runs(methods=("full", "lora"), data_seed=5)
    (unclear,) = adapter_evidence(same).overall
    assert unclear.interval.low <= 0 <= unclear.interval.high
    assert "do not show whether" in sentence(unclear)
    chance_over_many = replace(clear, p=0.03, p_holm=0.12)
    assert "do not show whether" in sentence(chance_over_many)
    assert "p 0.120 (Holm)" in sentence(chance_over_many)
    (single,) = adapter_evidence(runs(seeds=(0,))).overall
    assert "One seed says nothing of the methods" in sentence(single)
    nothing = replace(clear.interval, difference=0.0, low=0.0, high=0.0)
    same = replace(clear, interval=nothing)
    assert "flat-lora and lora lose the same in all 15 seeds, though not with the same scores" in sentence(
        same
    )
    assert "points" not in sentence(same)


def agreeing(seeds: Sequence[int] = (0, 1, 2)) -> pd.DataFrame:
    """Rows of two methods with the same predictions."""
    rows = runs(methods=("lora",), seeds=seeds)
    rows["predicted"] = rows["score"].map({0.0: "wrong", 1.0: "right"})
    return pd.concat([rows, rows.assign(model="full")], ignore_index=True)


@pytest.mark.parametrize(
    ("seeds", "where"),
    [
        ((0, 1, 2), "in all 3 seeds, undamaged ones included."),
        ((0,), "with 1 seed, undamaged ones included. One seed says nothing of the methods"),
    ],
)
def test_methods_with_the_same_predictions_are_called_identical(seeds: Sequence[int], where: str) -> None:
    rows = agreeing(seeds)
    record = record_of(rows, asked={"eval": "adapter", "task": "toy"}, model={"name": "tiny"})
    short, full = stress_summary(rows, record), stress_markdown(rows, record)
    for text in (short, full):
        words = f"the predictions of full and lora are identical on all 120 test examples {where}"
        assert f"Under 2 corruptions, heavy, {words}" in " ".join(text.split())
        assert "0.0 points" not in text
    accuracies, losses = tables(full)[2:]
    assert {row[2] for row in (*accuracies[1:], *losses[1:])} == {"identical predictions"}


@pytest.mark.parametrize("condition", ["clean", "ocr"])
def test_methods_that_differ_in_a_single_prediction_are_not_called_identical(condition: str) -> None:
    rows = agreeing()
    first = rows[(rows["model"] == "full") & (rows["condition"] == condition)].index[0]
    rows.loc[first, "predicted"] = "neither"  # as wrong or right as before
    evidence = adapter_evidence(rows)
    (overall,) = evidence.overall
    assert not overall.identical
    assert "lose the same" in drop_difference_sentence(overall, evidence)
    assert [d.identical for d in evidence.accuracy] == [
        d.cells[0].condition != condition for d in evidence.accuracy
    ]
    expected = [condition not in ("clean", d.cells[0].condition) for d in evidence.drop_difference]
    assert [d.identical for d in evidence.drop_difference] == expected


def test_intervals_and_p_values_are_explained_only_where_they_are_shown():
    one_method = runs(methods=("lora",))
    short, full = (write(one_method, record_of(one_method)) for write in (stress_summary, stress_markdown))
    assert "Intervals (" not in short
    assert "Intervals (" in full
    assert "Holm" not in full
    two_methods = runs(methods=("full", "lora"))
    short = stress_summary(two_methods, record_of(two_methods))
    assert "Intervals (" in short
    assert "Holm" in short


def test_each_test_set_has_its_own_table():
    rows = runs()
    two = pd.concat([rows.assign(split="test"), rows.assign(split="shifted", score=1.0)])
    text = stress_summary(two, record_of(two))
    assert "Test set 'shifted':" in text
    assert len(tables(text)) == 2


# --- folders -------------------------------------------------------------------------------


def write_run(root: Path, rows: pd.DataFrame, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    write_rows(folder, rows[[*ROW_COLUMNS]])
    write_stress_record(folder, record_of(rows))
    return folder


def test_several_runs_make_one_document(tmp_path):
    folders = [write_run(tmp_path, messy(items=4), "a"), write_run(tmp_path, multilingual(), "b")]
    text = stress_folders(folders)
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        "# messy: mock/one",
        "# multilingual: mock/one",
    ]
    assert stress_markdown(messy(items=4), record_of(messy(items=4))) in text


def test_a_run_without_rows_has_the_name_of_what_was_asked(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    rows = messy(items=1)
    write_rows(folder, rows[[*ROW_COLUMNS]].iloc[:0])
    asked = {"model": "mock/one", "questionnaire": {"eval": "messy"}}
    write_stress_record(folder, record_of(rows.iloc[:0], asked=asked, status="incomplete"))
    assert stress_folders([folder]).startswith("# messy: mock/one\n")


def test_a_folder_without_a_stress_test_is_reported(tmp_path):
    with pytest.raises(Mistake, match=r"holds no record\.json"):
        stress_folders([tmp_path])
