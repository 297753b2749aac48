"""Last lines of a study: the mean score of the test is told, and the run to use is chosen on validation data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lowland.report.closing import closing_lines
from tests.evidence.test_study import leave_run, record_of


def test_the_run_to_use_is_chosen_on_validation_data(tmp_path: Path) -> None:
    test_scores = record_of("lora", 0).scores["test"]
    name = next(iter(test_scores))
    folders = []
    for seed, (validation, test) in enumerate([(0.7, 0.9), (0.8, 0.6)]):
        scores = {"test": {**test_scores, name: test}}
        folders.append(leave_run(tmp_path, "lora", seed, validation={name: validation}, scores=scores))
        (folders[-1] / "adapter").mkdir()
    where, _, report, errors, following = closing_lines(folders)
    assert where == f"2 runs are in {tmp_path}"
    assert report.endswith(f"lowland report {tmp_path}/{record_of('lora', 0).task}-*")
    assert errors.endswith(f"lowland errors {tmp_path}/{record_of('lora', 0).task}-*")
    assert following.startswith("- with the run of the highest validation score: lowland predict ")
    assert str(folders[1]) in following


def test_the_highest_mean_and_failed_runs_are_named(tmp_path: Path) -> None:
    folders = [leave_run(tmp_path, name, 0) for name in ("lora", "full")]
    failed = leave_run(tmp_path, "dora", 0, status="failed")
    lines = closing_lines([*folders, failed])
    assert lines[0] == f"The run failed; {failed / 'record.json'} says why"
    assert "; the highest mean accuracy is " in lines[1]
    assert "kept no weights" in lines[-1]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ({}, "--text …, or --data FILE --out FILE"),
        ({"reads": "text", "inputs": ["text"]}, "--text …, or --data FILE --out FILE"),
        ({"reads": "text", "inputs": ["first", "second"]}, "--text FIRST SECOND, or --data FILE --out FILE"),
        ({"reads": "image", "inputs": ["image"]}, "--image …, or --data FOLDER --out FILE"),
    ],
)
def test_the_next_step_names_what_the_model_reads(tmp_path: Path, data: dict[str, Any], options: str) -> None:
    folder = leave_run(tmp_path, "lora", 0, data={**record_of("lora", 0).data, **data})
    (folder / "adapter").mkdir()
    assert closing_lines([folder])[-1] == f"Next: lowland predict {folder} {options}"
