"""What a folder holds, and what one run was: everything is shown, and nothing of others reaches the terminal."""

from __future__ import annotations

import json
import re
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowland.ground.listing import entry_at, list_folder
from lowland.ground.record_files import read_record
from lowland.report.blocks import Table
from lowland.report.folder import describe_entry, entries_table, folder_blocks
from lowland.report.markdown import render
from lowland.report.run import run_blocks
from tests.folders_of_runs import put_failure, put_run, put_stress_test, put_unfinished
from tests.strategies import VALUES, mutated


def failure() -> str:
    try:
        raise RuntimeError("out of\x1b[31m luck")
    except RuntimeError as error:
        return f"RuntimeError: {error}\n\n{''.join(traceback.format_exception(error))}"


def test_every_entry_has_a_row_and_what_is_not_finished_a_sentence(tmp_path: Path) -> None:
    finished = put_run(tmp_path)
    put_failure(tmp_path, failure=failure())
    put_unfinished(tmp_path)
    stress = put_stress_test(tmp_path)
    table, counts, problems = folder_blocks(list_folder(tmp_path))
    assert isinstance(table, Table)
    rows = {row[0]: row for row in table.rows}
    accuracy = read_record(finished).scores["test"]["accuracy"]
    seconds = read_record(finished).cost["train_seconds"]
    assert rows[finished.name][1:] == (
        "toy", "lora", "1", "finished", f"accuracy {accuracy:.4f}", f"{seconds:.1f}", "2026-01-01 10:01:00",
    )  # fmt: skip
    assert rows[stress.name][1:5] == ("stress messy", "retriever", "0", "finished")
    assert render([counts]) == "3 runs: 1 finished, 1 failed, 1 unfinished. 1 stress test: 1 finished."
    text = render([problems])
    assert "RuntimeError: out of‹U+001B›[31m luck" in text
    assert "Traceback" not in text
    assert "lowland study retry runs it from its last checkpoint" in text


def test_a_run_without_a_note_is_left_to_the_studys_command(tmp_path: Path) -> None:
    put_unfinished(tmp_path, noted=False)
    assert "the study's command runs it from its last checkpoint" in render(
        folder_blocks(list_folder(tmp_path))
    )


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    assert render(folder_blocks(list_folder(tmp_path))) == "No runs and no stress tests."


@pytest.mark.parametrize("put", [put_run, put_failure, put_unfinished, put_stress_test])
def test_every_entry_is_described_by_the_same_names_in_json(tmp_path: Path, put: object) -> None:
    put(tmp_path)  # type: ignore[operator]
    (entry,) = list_folder(tmp_path)
    values = describe_entry(entry)
    assert json.loads(json.dumps(values)) == values
    assert set(values) == {
        "name", "folder", "kind", "status", "task", "method", "seed", "score", "value", "seconds", "key", "started",
        "ended", "problem",
    }  # fmt: skip
    assert values["status"] == entry.state


def test_a_finished_record_without_scores_is_listed(tmp_path: Path) -> None:
    put_run(tmp_path, scores={}, cost={}, when={})
    (row,) = entries_table(list_folder(tmp_path)).rows
    assert row[4:] == ("finished", "", "", "")


def test_a_run_is_shown_with_all_that_its_record_holds(tmp_path: Path) -> None:
    folder = put_run(
        tmp_path,
        settings={"rank": 8, "targets": ["query", "value"]},
        validation={"loss": 0.25},
        remarks=["two texts are equal"],
        files={"adapter/weights": "c0ffee"},
        baseline={"majority": {"test": {"accuracy": 0.3}}},
        tuning={
            "space": {"lr": [1e-5, 1e-3]},
            "best": {"lr": 1e-4},
            "trials": [{}],
            "best_so_far": [0.5],
            "examples": 3,
            "score": "accuracy",
        },
    )
    text = render(run_blocks(entry_at(folder)))
    for part in (
        f"{folder.name}: finished",
        "rank 8, targets query value",
        "- seed: 1",
        f"| lora     | test       | {read_record(folder).scores['test']['accuracy']:.4f}",
        "| majority | test       | 0.3000",
        "- loss: 0.25",
        "- two texts are equal",
        "- predictions.parquet: ",
        "- adapter/weights: missing",
        "- best: lr 0.0001",
        "- cores: 2",
        "- started: 2026-01-01T10:00:00+00:00",
    ):
        assert part in text, part
    assert "Failure" not in text


def test_a_failed_run_is_shown_with_its_traceback(tmp_path: Path) -> None:
    text = render(run_blocks(entry_at(put_failure(tmp_path, failure=failure()))))
    assert (
        "## Failure\n\n```\nRuntimeError: out of‹U+001B›[31m luck\n\nTraceback (most recent call last):"
        in text
    )
    assert "in failure" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("put", [put_unfinished, put_stress_test])
def test_what_is_no_finished_run_is_shown_as_well(tmp_path: Path, put: object) -> None:
    folder = put(tmp_path)  # type: ignore[operator]
    text = render(run_blocks(entry_at(folder)))
    assert text.startswith(f"{folder.name}: ")
    assert ("- seed: 3" in text) == (put is put_unfinished)


def test_a_damaged_run_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    folder = put_run(tmp_path)
    (folder / "record.json").write_text("{")
    text = render(run_blocks(entry_at(folder)))
    assert text.startswith(f"{folder.name}: damaged; {folder / 'record.json'} is damaged in line 1")
    assert "- predictions.parquet: " in text


SHARED = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@SHARED
@given(data=st.data())
def test_no_record_stops_the_list_or_reaches_the_terminal(tmp_path: Path, data: st.DataObject) -> None:
    folders = [path.parent for path in tmp_path.glob("*/record.json")]  # of an earlier example
    folders = folders or [put_run(tmp_path), put_failure(tmp_path), put_stress_test(tmp_path)]
    for folder in folders:
        path = folder / "record.json"
        whole = path.read_bytes()
        if data.draw(st.booleans()):
            content = json.loads(whole)
            content[data.draw(st.sampled_from(sorted(content)))] = data.draw(VALUES)
            path.write_text(json.dumps(content))
        else:
            path.write_bytes(data.draw(mutated(whole)))
        try:
            entries = list_folder(tmp_path)
            assert {entry.folder for entry in entries} == set(folders)
            text = render(folder_blocks(entries)) + render(run_blocks(entry_at(folder)))
            text.encode()
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
            json.dumps([describe_entry(entry) for entry in entries], allow_nan=False)
        finally:
            path.write_bytes(whole)
