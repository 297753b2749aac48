"""Samples that lm-evaluation-harness 0.4.13 wrote with its dummy model, on six sums of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lowland.evidence.readers.any_results import read_results
from lowland.evidence.readers.table_results import Columns
from lowland.evidence.verdict import compare_results
from lowland.ground.mistakes import Mistake

FOLDERS = [Path(__file__).parent / "lm_eval" / name for name in ("first", "second")]
SUMS, WORDS = ([next(folder.glob(f"samples_{task}_*")) for folder in FOLDERS] for task in ("sums", "words"))


def test_samples_are_paired_by_their_questions() -> None:
    first, second = read_results(SUMS, metric="acc")
    assert (first.name, second.name, first.metric) == ("first", "second", "acc")
    written = [[json.loads(line)["acc"] for line in path.read_text().splitlines()] for path in SUMS]
    assert [each.rows["score"].tolist() for each in (first, second)] == written
    (verdict,) = compare_results([first, second])
    assert (verdict.mean_reference, verdict.mean) == (0.5, pytest.approx(1 / 6))
    assert verdict.broken[0].text.startswith("Q: What is")


def test_questions_that_share_an_entry_form_a_group(tmp_path: Path) -> None:
    for path in SUMS:
        samples = [json.loads(line) for line in path.read_text().splitlines()]
        for number, sample in enumerate(samples):
            sample["doc"]["topic"] = f"topic {number // 2}"
        (tmp_path / path.parent.name).mkdir()
        text = "\n".join(map(json.dumps, samples))
        (tmp_path / path.parent.name / path.name).write_text(text, encoding="utf-8")
    folders = [tmp_path / folder.name for folder in FOLDERS]
    results = read_results(folders, metric="acc", columns=Columns(group="topic"))
    assert results[0].rows["group"].tolist() == [f"topic {n // 2}" for n in range(6)]
    (verdict,) = compare_results(results)
    assert (verdict.comparison.n_examples, verdict.comparison.n_groups) == (6, 3)
    with pytest.raises(
        Mistake, match="has no entry tpic, which --group-column names; its examples have question"
    ):
        read_results(folders, metric="acc", columns=Columns(group="tpic"))


def test_a_folder_holds_all_its_tasks(tmp_path: Path) -> None:
    shutil.copytree(FOLDERS[0], tmp_path / "model__name")
    for path in (tmp_path / "model__name").glob("samples_words_*"):
        path.unlink()
    copy = next((tmp_path / "model__name").iterdir())
    (copy.parent / copy.name.replace("sums", "more-sums")).write_bytes(copy.read_bytes())
    (results,) = read_results([tmp_path / "model__name"], metric="acc")
    assert results.name == "model/name"
    assert len(results.rows) == 12
    assert results.rows["example"].str.startswith(("sums: ", "more-sums: ")).all()
    shutil.copytree(tmp_path / "model__name", tmp_path / "other__name")
    both = read_results([tmp_path], metric="acc")
    assert [each.name for each in both] == ["model/name", "other/name"]
    copy.with_name(copy.name.replace("2026", "2025")).write_bytes(copy.read_bytes())
    with pytest.raises(Mistake, match="model__name holds several runs of sums; name the file of one of them"):
        read_results([tmp_path / "model__name"], metric="acc")


def test_scores_of_several_filters_are_told_apart() -> None:
    with pytest.raises(
        Mistake, match=r"several scores \(exact_match \(strict\), exact_match \(lenient\)\); name"
    ):
        read_results(WORDS)
    (results, _) = read_results(WORDS, metric="exact_match (lenient)")
    assert results.rows["score"].tolist() == [0.0] * 6


def test_other_questions_of_the_same_number_do_not_pair(tmp_path: Path) -> None:
    other = tmp_path / "samples_sums.jsonl"
    samples = [json.loads(line) for line in SUMS[1].read_text().splitlines()]
    other.write_text("".join(json.dumps({**sample, "doc_hash": "0" * 64}) + "\n" for sample in samples))
    with pytest.raises(Mistake, match="0 examples pair of 6"):
        compare_results(read_results([SUMS[0], other], metric="acc"))


def test_a_score_that_not_all_tasks_have_is_refused() -> None:
    with pytest.raises(Mistake, match="6 of 12 samples have no score acc; name the samples_"):
        read_results([FOLDERS[0]], metric="acc")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    damaged = tmp_path / "samples_sums.jsonl"
    damaged.write_text(SUMS[0].read_text() + '{"doc_id": 7, "filt')
    with pytest.raises(Mistake, match=r"samples_sums\.jsonl line 7 is no sample of lm-evaluation-harness"):
        read_results([damaged], metric="acc")
