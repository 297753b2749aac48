"""A part of a study is called one: its methods are not compared until all runs are there."""

from __future__ import annotations

from pathlib import Path

from lowland.report.share import slots_in_words, study_or_share
from tests.folders_of_runs import put_failure, put_run


def test_a_part_of_a_study_has_no_verdict(tmp_path: Path) -> None:
    there = {("lora", 1): put_run(tmp_path), ("full", 1): put_run(tmp_path, "full", 1)}
    text = study_or_share({**there, ("lora", 2): None, ("full", 2): None}, tmp_path)
    assert (
        "A part of the study: 2 of its 4 runs are finished, and these are missing: lora, seed 2; full, seed 2."
        in text
    )
    assert f"lowland study merge {tmp_path} FOLDER … --out FOLDER" in text
    assert all(folder.name in text for folder in there.values())
    for verdict in ("interval", "identical", "±", "highest", "Permutation"):
        assert verdict not in text
    whole = study_or_share(there, tmp_path)
    assert "95 % interval" in whole
    assert "the highest mean accuracy" in whole
    assert "A part of" not in whole


def test_failed_runs_are_missing_and_named(tmp_path: Path) -> None:
    failed = put_failure(tmp_path)
    text = study_or_share({("lora", 1): put_run(tmp_path), ("lora", 2): failed, ("lora", 3): None}, tmp_path)
    assert "1 of its 3 runs is finished, and these are missing: lora, seeds 2, 3." in text
    assert f"The run failed; {failed / 'record.json'} says why" in text


def test_a_share_of_which_nothing_is_there(tmp_path: Path) -> None:
    text = study_or_share({("lora", 1): None}, tmp_path)
    assert "0 of its 1 run are finished, and these are missing: lora, seed 1." in text
    assert "|" not in text


def test_shares_behind_a_url_need_no_merging() -> None:
    text = study_or_share({("lora", 1): None}, "s3://bucket/runs")
    assert "with the same --out" in text
    assert "merge" not in text


def test_many_seeds_are_counted() -> None:
    assert (
        slots_in_words([("lora", seed) for seed in range(10)])
        == "lora, seeds 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    )
