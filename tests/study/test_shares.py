"""Shares of a study are merged if they are one whole study, all of it or nothing, and stay as they are."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowland.ground.listing import list_folder
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record, write_record
from lowland.study import merging
from lowland.study.merging import merge_shares
from tests.evidence.test_study import answers_of
from tests.folders_of_runs import put_failure, put_run, put_stress_test, put_unfinished, tree


def put_share(root: Path, *slots: tuple[str, int], **changes: Any) -> Path:
    for method, seed in slots:
        put_run(root, method, seed, **changes)
    return root


@pytest.fixture
def shares(tmp_path: Path) -> tuple[Path, Path]:
    """The shares of two seeds."""
    first = put_share(tmp_path / "first", ("lora", 1), ("full", 1))
    return first, put_share(tmp_path / "second", ("lora", 2), ("full", 2))


def mistake(*folders: Path, out: Path, **options: Any) -> str:
    """What merging says, which must leave everything as it was."""
    root = out.parent
    before = tree(root)
    with pytest.raises(Mistake) as raised:
        merge_shares(folders, out, **options)
    assert tree(root) == before
    assert not out.exists() or not any(out.iterdir()) or out in folders
    return str(raised.value)


def test_the_merged_study_holds_all_runs_unchanged(shares: tuple[Path, Path], tmp_path: Path) -> None:
    before = [tree(share) for share in shares]
    merged = merge_shares(shares, tmp_path / "whole")
    assert [tree(share) for share in shares] == before
    expected = {name: content for files in before for name, content in files.items() if ".lock" not in name}
    assert tree(tmp_path / "whole") == expected
    assert [(run.record.method, run.record.seed) for run in merged.runs] == [
        ("lora", 1), ("full", 1), ("lora", 2), ("full", 2),
    ]  # fmt: skip
    assert all(run.folder.parent == tmp_path / "whole" for run in merged.runs)
    assert merged.missing == {"toy": []}
    assert merged.said == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_runs_are_in_the_order_of_their_start(tmp_path: Path) -> None:
    when = {"started": "2026-01-01T09:00:00+00:00"}
    share = put_share(tmp_path / "first", ("full", 1))
    put_run(share, "lora", 1, when=when)
    other = put_share(tmp_path / "second", ("full", 2), ("lora", 2))
    merged = merge_shares([share, other], tmp_path / "whole")
    assert [run.record.method for run in merged.runs] == ["lora", "full", "full", "lora"]


def test_a_run_that_is_in_two_shares_is_taken_once(shares: tuple[Path, Path], tmp_path: Path) -> None:
    copy = put_share(tmp_path / "third", ("lora", 2))
    (folder,) = (path for path in copy.glob("toy-*"))
    record = read_record(folder)
    write_record(folder, dataclasses.replace(record, cost={**record.cost, "train_seconds": 99.0}))
    merged = merge_shares([*shares, copy], tmp_path / "whole")
    assert len(merged.runs) == 4
    (sentence,) = merged.said
    assert (
        sentence
        == f"lora, seed 2 is in {shares[1]} and in {copy}, with the same predictions; it is taken once"
    )
    assert read_record(tmp_path / "whole" / folder.name).cost["train_seconds"] != 99.0


def test_a_run_with_two_outcomes_is_refused(shares: tuple[Path, Path], tmp_path: Path) -> None:
    answers = answers_of("lora", 2)
    answers.loc[answers.index[:2], "predicted"] = "other"
    copy = put_share(tmp_path / "third", ("lora", 2), answers=answers)
    sentence = mistake(*shares, copy, out=tmp_path / "whole")
    assert f"lora, seed 2 is in {shares[1]} and in {copy}, with different predictions; keep one" in sentence
    record = read_record(next(copy.glob("toy-lora-*")))
    write_record(
        next(copy.glob("toy-lora-*")),
        dataclasses.replace(record, environment={**record.environment, "processes": 2}),
    )
    sentence = mistake(*shares, copy, out=tmp_path / "whole")
    assert "with different predictions (their environments differ in processes); keep one" in sentence
    assert "with different predictions" in mistake(*shares, copy, out=tmp_path / "whole", partial=True)


def test_missing_runs_are_named_and_need_partial(shares: tuple[Path, Path], tmp_path: Path) -> None:
    (lora,) = shares[1].glob("toy-lora-*")
    shutil.rmtree(lora)
    failed = put_failure(shares[1], "lora", 2, "RuntimeError: out of memory\n\nTraceback")
    sentence = mistake(*shares, out=tmp_path / "whole")
    assert (
        sentence == "of toy, 1 run missing: lora, seed 2; run them, or add --partial to merge what is there"
    )
    merged = merge_shares(shares, tmp_path / "whole", partial=True)
    assert merged.missing == {"toy": [("lora", 2)]}
    assert merged.said == [f"{failed} failed (RuntimeError: out of memory), and is left out"]
    assert len(list_folder(tmp_path / "whole")) == 3


def test_what_is_not_finished_is_said_and_left_out(shares: tuple[Path, Path], tmp_path: Path) -> None:
    put_unfinished(shares[0], seed=9)
    put_stress_test(shares[0])
    said = merge_shares(shares, tmp_path / "whole").said
    assert len(said) == 2
    assert "is unfinished, and is left out" in said[0]
    assert said[1] == "1 stress test left out: only training runs are merged"


def test_a_damaged_record_needs_partial(shares: tuple[Path, Path], tmp_path: Path) -> None:
    (lora,) = shares[1].glob("toy-lora-*")
    (lora / "record.json").write_text("{")
    sentence = mistake(*shares, out=tmp_path / "whole")
    assert "1 run missing: lora, seed 2" in sentence
    assert f"{lora} is damaged (" in sentence
    assert (
        f"remove it with lowland study rm --yes {lora} and run it again, or add --partial to merge the others"
        in sentence
    )
    assert any("is damaged" in said for said in merge_shares(shares, tmp_path / "whole", partial=True).said)


def test_a_damaged_record_does_no_harm_where_another_share_has_the_run(
    shares: tuple[Path, Path], tmp_path: Path
) -> None:
    copy = put_share(tmp_path / "third", ("lora", 2))
    (copied,) = copy.glob("toy-lora-*")
    (copied / "record.json").write_text("{")
    merged = merge_shares((*shares, copy), tmp_path / "whole")
    assert len(merged.runs) == 4
    assert any(str(copied) in said and "is left out" in said for said in merged.said)


DIFFERENCES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "data": (
        lambda asked: {"data": {"sha256": "0ther", "sizes": {"test": 40}}},
        "differ in their data: None in ",
    ),
    "model": (lambda asked: {"model": {"name": "tiny", "sha256": "0ther"}}, "base model: tiny (None) in "),
    "tokenizer": (
        lambda asked: {"model": {"name": "tiny", "files_sha256": "0ther"}},
        "config or tokenizer: ",
    ),
    "dtype": (lambda asked: {"asked": {**asked, "dtype": "bf16"}}, "differ in their dtype: fp32 in "),
    "task's field": (
        lambda asked: {"asked": {**asked, "task": {"name": "toy", "max_train": 9}}},
        "differ in their max train: None in ",
    ),
    "settings": (
        lambda asked: {"asked": {**asked, "method": {**asked["method"], "lr": 0.1}}},
        "the runs of lora differ in their lr: None in ",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_runs_of_two_studies_are_refused(shares: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    changes, sentence = DIFFERENCES[name]
    (folder,) = shares[1].glob("toy-lora-*")
    record = read_record(folder)
    write_record(folder, dataclasses.replace(record, **changes(record.asked)))
    for partial in (False, True):
        sentences = mistake(*shares, out=tmp_path / "whole", partial=partial)
        assert sentence in sentences
        assert f" in {shares[0]}" in sentences
        assert f" in {shares[1]}; give shares of one study" in sentences


def test_one_seed_with_two_settings_is_refused(shares: tuple[Path, Path], tmp_path: Path) -> None:
    other = put_share(tmp_path / "third", ("lora", 2), settings={"rank": 4})
    sentence = mistake(*shares, other, out=tmp_path / "whole")
    assert sentence.startswith("the runs of lora differ in their rank: None in ")
    assert len(sentence.splitlines()) == 1


def test_runs_without_predictions_are_refused(shares: tuple[Path, Path], tmp_path: Path) -> None:
    for share in shares:
        (folder,) = share.glob("toy-lora-*")
        (folder / "predictions.parquet").unlink()
    sentences = mistake(*shares, out=tmp_path / "whole", partial=True).splitlines()
    assert len(sentences) == 2
    assert all("predictions.parquet is missing or damaged" in sentence for sentence in sentences)


def test_paths_of_data_and_names_of_models_may_differ(shares: tuple[Path, Path], tmp_path: Path) -> None:
    for share in shares:
        for folder in share.glob("toy-*"):
            record = read_record(folder)
            asked = {**record.asked, "task": {"name": "toy", "data": f"{share}/a.csv"}, "model": str(share)}
            write_record(folder, dataclasses.replace(record, asked=asked))
    assert merge_shares(shares, tmp_path / "whole").said == []


def test_other_code_and_other_environments_are_said(shares: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in shares[1].glob("toy-*"):
        record = read_record(folder)
        environment = {**record.environment, "torch": "2.7"}
        code = {"lowland": "0.1.0", "source_sha256": "0123456789"}
        write_record(folder, dataclasses.replace(record, environment=environment, code=code))
    first, second = merge_shares(shares, tmp_path / "whole").said
    assert first.startswith("the runs were made by different code: ")
    assert second == f"the runs were made with different torch: None in {shares[0]}, 2.7 in {shares[1]}"


def test_the_new_folder_is_apart_from_the_shares(shares: tuple[Path, Path], tmp_path: Path) -> None:
    first, _ = shares
    (tmp_path / "link").symlink_to(first)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for folders, out, sentence in (
        (shares, first, "which is the folder of a share or lies in it"),
        (shares, tmp_path / "link", "which is the folder of a share or lies in it"),
        (shares, first / "whole", "which is the folder of a share or lies in it"),
        (shares, tmp_path / "file", "which exists and is not an empty folder"),
        (shares, tmp_path / "full", "which exists and is not an empty folder"),
        (shares, tmp_path, "which exists and is not an empty folder"),
        (shares, tmp_path / "no" / "where", "does not exist; make it first"),
        ((first, tmp_path / "link"), tmp_path / "whole", "link is given twice"),
        ((first,), tmp_path / "whole", "give the folders of at least two shares"),
        ((first, tmp_path / "nowhere"), tmp_path / "whole", "nowhere does not exist"),
        ((first, tmp_path / "full"), tmp_path / "whole", "full holds no training run"),
    ):
        before = tree(tmp_path)
        with pytest.raises(Mistake, match=sentence):
            merge_shares(folders, out)
        assert tree(tmp_path) == before
    (tmp_path / "whole").mkdir()
    merge_shares(shares, tmp_path / "whole")  # an empty folder will do
    assert len(list_folder(tmp_path / "whole")) == 4


def test_nothing_is_left_where_the_copying_fails(
    shares: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(tmp_path)

    def fill(source: Path, place: Path) -> None:
        place.mkdir()
        (place / "half").write_text("half")
        reason = "[Errno 28] No space left on device: 'a' -> 'b'"
        raise shutil.Error([(str(source), str(place / "half"), reason)] * 3)

    monkeypatch.setattr(merging.shutil, "copytree", fill)
    with pytest.raises(OSError, match=r"half cannot be written \(No space left on device\)$"):
        merge_shares(shares, tmp_path / "whole")
    assert tree(tmp_path) == before
    monkeypatch.setattr(
        merging.shutil, "copytree", lambda source, place: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        merge_shares(shares, tmp_path / "whole")
    assert tree(tmp_path) == before


def test_a_run_that_changes_while_it_is_copied_is_noticed(
    shares: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree

    def change(source: Path, place: Path) -> None:
        copy(source, place)
        write_record(place, dataclasses.replace(read_record(place), key="0ther"))

    monkeypatch.setattr(merging.shutil, "copytree", change)
    with pytest.raises(Mistake, match="has changed while it was copied; nothing was written"):
        merge_shares(shares, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_another_merge_into_the_same_folder_is_not_disturbed(
    shares: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / ".whole.partial").mkdir()
    (tmp_path / ".whole.partial" / "theirs").write_text("")
    assert "another merge into" in mistake(*shares, out=tmp_path / "whole")


def test_the_names_of_folders_do_not_clash(shares: tuple[Path, Path], tmp_path: Path) -> None:
    for share in shares:
        (folder,) = share.glob("toy-lora-*")
        folder.rename(share / "mine")
    assert "several runs have the folder name mine" in mistake(*shares, out=tmp_path / "whole")


def test_each_task_is_whole_by_itself(shares: tuple[Path, Path], tmp_path: Path) -> None:
    asked = {
        "task": {"name": "other"},
        "method": {"name": "dora", "label": "dora"},
        "seed": 7,
        "dtype": "bf16",
    }
    put_run(shares[0], "dora", 7, asked=asked)
    merged = merge_shares(shares, tmp_path / "whole")
    assert merged.missing == {"other": [], "toy": []}
    (dora,) = [run for run in merged.runs if run.record.method == "dora"]
    assert read_predictions(dora.folder).equals(answers_of("dora", 7))
