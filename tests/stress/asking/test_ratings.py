"""Sheets for raters, and the merge of their ratings. The oracle is pandas' own merge."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lowland.ground.mistakes import Mistake
from lowland.stress.asking.ratings import (
    KEYS,
    SHEET,
    merge_back,
    read_ratings,
    sample_for_rating,
    write_sheet,
)

CELLS = [("english", "none"), ("hindi", "none"), ("hindi", "pin")]


def rows(items: int = 10) -> pd.DataFrame:
    records = [
        {
            "eval": "multilingual",
            "model": "mock/one",
            "item": f"item-{item}",
            "condition": condition,
            "level": "0.1" if condition == "hindi" else "",
            "protected": False,
            "mitigation": mitigation,
            "epoch": epoch,
            "prompt": f"प्रश्न {item}",
            "reply": f"उत्तर {item}.{epoch}",
            "status": "scored",
        }
        for condition, mitigation in CELLS
        for item in range(items)
        for epoch in (1, 2)
    ]
    return pd.DataFrame(records)


def rated(sheet: pd.DataFrame) -> pd.DataFrame:
    return sheet.assign(fluency=[str(1 + place % 5) for place in range(len(sheet))])


def test_a_draw_takes_equally_many_from_each_cell():
    for seed in range(4):
        sheet = sample_for_rating(rows(), 14, seed=seed)
        assert sorted(sheet.groupby(["condition", "mitigation"]).size()) == [4, 5, 5]
    assert tuple(sheet.columns) == SHEET
    assert not sheet.duplicated(list(KEYS)).any()
    assert (sheet["fluency"] == "").all()
    assert sheet["condition"].ne(sheet["condition"].shift()).sum() > 3  # shuffled, not in order


def test_a_draw_depends_on_the_seed_and_not_on_the_order():
    first = sample_for_rating(rows(), 12, seed=1)
    same = sample_for_rating(rows().sample(frac=1, random_state=3), 12, seed=1)
    other = sample_for_rating(rows(), 12, seed=2)
    pd.testing.assert_frame_equal(first.reset_index(drop=True), same.reset_index(drop=True))
    assert set(map(tuple, first[list(KEYS)].to_numpy())) != set(map(tuple, other[list(KEYS)].to_numpy()))


def test_failed_rows_and_empty_replies_are_not_drawn():
    table = rows()
    table.loc[table["epoch"] == 1, "status"] = "failed"
    table.loc[table["item"] == "item-4", "reply"] = "  "
    sheet = sample_for_rating(table, 1000)
    assert len(sheet) == 3 * 9
    assert set(sheet["epoch"]) == {2}
    with pytest.raises(Mistake, match="nothing to rate"):
        sample_for_rating(table.assign(reply=""), 5)
    with pytest.raises(Mistake, match="count is 0; it must be at least 1"):
        sample_for_rating(table, 0)


def test_ratings_of_a_sheet_are_merged_into_their_rows(tmp_path):
    table, sheet = rows(), rated(sample_for_rating(rows(), 17))
    write_sheet(tmp_path / "ratings.csv", sheet)
    merged = merge_back(table, read_ratings(tmp_path / "ratings.csv"))
    expected = table.merge(sheet[[*KEYS, "fluency"]], on=list(KEYS), how="left")["fluency"].astype(float)
    assert merged["fluency"].tolist() == pytest.approx(expected.tolist(), nan_ok=True)
    assert merged["fluency"].notna().sum() == 17
    pd.testing.assert_frame_equal(merged.drop(columns="fluency"), table)


def test_a_spreadsheet_may_rewrite_numbers_and_booleans(tmp_path):
    sheet = rated(sample_for_rating(rows(), 17))
    changed = sheet.assign(
        level=sheet["level"].replace("0.1", "0.10"),
        protected="FALSE",
        epoch=sheet["epoch"].astype(str) + ".0",
        fluency=sheet["fluency"] + " ",
    )
    changed.to_csv(tmp_path / "ratings.csv", index=False)
    merged = merge_back(rows(), read_ratings(tmp_path / "ratings.csv"))
    assert merged["fluency"].equals(merge_back(rows(), sheet)["fluency"])


def test_item_numbers_that_differ_in_the_last_digit_are_kept_apart():
    table = rows().iloc[:2].assign(item=[12345678, 12345679], epoch=1)
    merged = merge_back(table, pd.DataFrame({"item": ["12345679"], "epoch": ["1"], "fluency": ["4"]}))
    assert merged["fluency"].tolist() == pytest.approx([np.nan, 4.0], nan_ok=True)


def test_item_and_epoch_are_enough_if_they_identify_a_row():
    one_cell = rows().query("condition == 'english'")
    ratings = pd.DataFrame({"item": ["item-3"], "epoch": ["2"], "fluency": ["5"]})
    merged = merge_back(one_cell, ratings)
    assert merged.loc[merged["fluency"].notna(), ["item", "epoch"]].to_numpy().tolist() == [["item-3", 2]]
    with pytest.raises(
        Mistake, match=r"line 2 .* several rows; give the columns .*condition, level, mitigation"
    ):
        merge_back(rows(), ratings)
    twice = ratings.loc[[0, 0]].reset_index(
        drop=True
    )  # of two conditions, without the columns that name them
    with pytest.raises(Mistake, match=r"line 2, 3 .* several rows; give the columns"):
        merge_back(rows(), twice)


def test_ratings_of_a_judge_are_merged_beside_those_of_a_person():
    sheet = rated(sample_for_rating(rows(), 12))
    both = merge_back(merge_back(rows(), sheet), sheet.rename(columns={"fluency": "judge"}), column="judge")
    assert both["judge"].equals(both["fluency"].rename("judge"))


def test_blank_ratings_do_not_count():
    sheet = rated(sample_for_rating(rows(), 12))
    sheet.iloc[:5, sheet.columns.get_loc("fluency")] = " "
    assert merge_back(rows(), sheet)["fluency"].notna().sum() == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.assign(fluency="6"), "line 2, 3, 4, 5, 6 and 7 more .* not a whole number from 1 to 5"),
        (lambda s: s.assign(fluency="3.5"), "not a whole number from 1 to 5"),
        (lambda s: s.assign(fluency="good"), "not a whole number from 1 to 5"),
        (lambda s: s.assign(item=["lost", *s["item"][1:]]), "line 2 of the ratings fits no row by"),
        (lambda s: pd.concat([s, s.iloc[[0]]], ignore_index=True), "line 2, 14 .* rated twice"),
        (lambda s: s.drop(columns="fluency"), "lack the columns fluency"),
    ],
)
def test_ratings_that_cannot_be_used_are_refused(change, message):
    sheet = rated(sample_for_rating(rows(), 12)).reset_index(drop=True)
    with pytest.raises(Mistake, match=message):
        merge_back(rows(), change(sheet))


def test_a_reply_is_never_a_formula(tmp_path):
    sheet = sample_for_rating(rows().assign(reply='=HYPERLINK("http://example.org")'), 3)
    write_sheet(tmp_path / "sheet.csv", sheet)
    assert (read_ratings(tmp_path / "sheet.csv")["reply"].str[:2] == "'=").all()


def test_a_row_with_a_field_too_many_is_refused_and_shifts_nothing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("item,epoch,fluency\nx,1,3,4\ny,1,3,4\n")
    with pytest.raises(Mistake, match="line 2: 4 fields, where the first line has 3"):
        read_ratings(path)


def test_a_mistake_names_the_line_below_replies_of_several_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('reply,item,epoch,fluency\n"a\nb\nc",i0,1,3\nd,i1,1,9\n')
    with pytest.raises(Mistake, match=r"line 5 of the ratings has a rating that is not a whole number"):
        merge_back(rows(), read_ratings(path))


def test_files_without_ratings_are_refused(tmp_path):
    with pytest.raises(Mistake, match="cannot be read as CSV"):
        read_ratings(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("item,fluency\nx,3\n")
    with pytest.raises(Mistake, match="lacks the columns epoch"):
        read_ratings(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(Mistake, match="cannot be read as CSV"):
        read_ratings(tmp_path / "b.csv")
