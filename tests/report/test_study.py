"""The report of a study agrees with the records."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lowland
from lowland.evidence.readers.runs import finished
from lowland.evidence.study import compare_with_reference
from lowland.ground.record_files import read_record
from lowland.report.closing import closing_lines
from lowland.report.study import summary
from lowland.study.progress import outcome_of
from tests.evidence.test_study import SCORES, answers_of, leave_run, record_of

NUMBER = r"(\d+\.\d+|\d+)"


def study(root: Path, methods: tuple[str, ...] = ("lora", "flat-lora"), seeds: int = 3) -> list[Path]:
    return [leave_run(root, method, seed) for seed in range(seeds) for method in methods]


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each Markdown table, without the line under its header."""
    blocks = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    lines = [[line for line in block.splitlines() if not set(line) <= set("|- ")] for block in blocks]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block] for block in lines]


def read_cell(cell: str) -> tuple[float, float, float]:
    """Mean, standard deviation, and half a unit of the last digit shown."""
    match = re.fullmatch(rf"{NUMBER} ± {NUMBER}(?: MiB)?", cell)
    assert match, cell
    mean, sd = match.groups()
    assert len(mean.partition(".")[2]) == len(sd.partition(".")[2]), cell
    return float(mean), float(sd), 0.5001 * 10.0 ** -len(mean.partition(".")[2])


def test_table_gives_mean_and_deviation_to_the_digits_shown(tmp_path):
    methods = ("lora", "flat-lora", "full")
    header, *rows = tables(summary(study(tmp_path, methods)))[0]
    assert [row[0] for row in rows] == list(methods)
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        records = [record_of(row[0], seed) for seed in range(3)]
        expected = {name.replace("_f1", " F1"): [r.scores["test"][name] for r in records] for name in SCORES}
        expected["seconds"] = [r.cost["train_seconds"] for r in records]
        expected["peak memory"] = [r.cost["peak_bytes"] / 2**20 for r in records]
        for name, values in expected.items():
            mean, sd, half = read_cell(cells[name])
            assert mean == pytest.approx(np.mean(values), abs=half), name
            assert sd == pytest.approx(np.std(values, ddof=1), abs=half), name
        assert read_cell(cells["accuracy"])[2] < 1e-4  # four decimals
        assert cells["trainable"] == f"{100 * len(row[0]):,}"
        assert cells["share"] == f"{100 * len(row[0]) / 90:.2f}%"


def test_memory_that_was_not_measured_is_not_known(tmp_path):
    folder = leave_run(tmp_path, "lora", 0, cost={"train_seconds": 3.0, "peak_bytes": 0})
    header, row = tables(summary([folder]))[0]
    assert dict(zip(header, row, strict=True))["peak memory"] == "not known"


def test_another_test_set_has_its_own_table(tmp_path):
    text = summary(study(tmp_path))
    header, first, _ = tables(text)[1]
    assert "'shifted'" in text
    values = [record_of("lora", seed).scores["shifted"]["accuracy"] for seed in range(3)]
    mean, sd, half = read_cell(dict(zip(header, first, strict=True))["accuracy"])
    assert (mean, sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)), abs=half)


def test_failed_runs_are_counted_and_left_out(tmp_path):
    folders = study(tmp_path)
    failed = [leave_run(tmp_path, "flat-lora", seed, status="failed", failure="NaN") for seed in (8, 9)]
    assert "failed" not in summary(folders)
    text = summary(folders + failed)
    assert text.splitlines()[0] == f"2 of {len(folders) + 2} runs failed."
    assert text.partition("\n\n")[2] == summary(folders)


def test_a_study_without_finished_runs_reports_only_that(tmp_path):
    failed = [leave_run(tmp_path, "lora", seed, status="failed", failure="NaN") for seed in range(2)]
    assert summary(failed) == "2 of 2 runs failed."


def test_the_report_holds_the_sentence_of_every_comparison(tmp_path):
    folders = study(tmp_path, ("full", "lora", "flat-lora"))
    text = summary(folders)
    for split in ("test", "shifted"):
        compared = compare_with_reference(finished(folders), "lora", split=split)
        assert [comparison.method for comparison in compared] == ["full", "flat-lora"]
        for comparison in compared:
            assert comparison.sentence() in text


def test_a_method_alone_is_compared_with_nothing(tmp_path):
    text = summary(study(tmp_path, ("lora",)))
    assert len(tables(text)) == 2
    assert "interval" not in text
    assert "permutation" not in text.lower()


def test_three_seeds_cannot_give_a_small_p_and_it_says_so(tmp_path):
    text = summary(study(tmp_path, seeds=3))
    assert "(at least 0.25 with 3 seeds)" in text


def test_six_seeds_give_the_p_of_every_method(tmp_path):
    folders = study(tmp_path, ("full", "lora", "flat-lora"), seeds=6)
    text = summary(folders)
    assert "at least 0.0312 with 6 seeds" in text
    for split in ("test", "shifted"):
        full, flat = (
            comparison.permutation.p
            for comparison in compare_with_reference(finished(folders), "lora", split=split)
        )
        line = next(line for line in text.splitlines() if f"p: full {full:.3g} (" in line)
        assert f", flat-lora {flat:.3g} (" in line


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({}, []),
        ({"code": {"version": "0", "sha256": "0ther"}}, ["versions of lowland's code"]),
        ({"environment": {"python": "3", "cores": 64}}, ["environments"]),
        ({"code": {}, "environment": {}}, ["versions of lowland's code", "environments"]),
    ],
)
def test_runs_with_different_environments_cause_a_warning(tmp_path, changes, warnings):
    folders = [*study(tmp_path), leave_run(tmp_path, "lora", 7, **changes)]
    assert read_record(folders[-1]).seed == 7
    lines = [line for line in summary(folders).splitlines() if line.startswith("Beware")]
    assert len(lines) == len(warnings)
    for line, warning in zip(lines, warnings, strict=True):
        assert f"different {warning}" in line


def test_the_warning_names_what_differs(tmp_path):
    leave_run(tmp_path, "lora", 1, environment={"torch": "1", "threads": 1})
    leave_run(tmp_path, "lora", 2, environment={"torch": "1", "threads": 1, "processes": 2})
    text = summary(finished(sorted(tmp_path.iterdir())))
    assert "different environments, which differ in processes (none, 2)." in text


def test_one_seed_shows_no_deviation(tmp_path):
    text = summary(study(tmp_path, seeds=1))
    cells = [cell for table in tables(text) for row in table for cell in row]
    accuracy = record_of("lora", 0).scores["test"]["accuracy"]
    assert f"{accuracy:.4f}" in cells
    assert not [cell for cell in cells if "±" in cell or "nan" in cell]
    assert "1 seed" in text
    assert "Permutation" not in text  # there is nothing to permute
    assert "One seed says nothing of the methods" in text


def test_a_program_reads_the_summary_of_folders_by_name(tmp_path):
    folders = study(tmp_path)
    assert lowland.summary([str(folder) for folder in folders]) == summary(folders)


def test_scores_of_labels_and_of_the_majority_stand_in_the_tables(tmp_path):
    labels = [f"label {number:02}" for number in range(15)]
    f1 = {label: number / 100 for number, label in enumerate(labels)}
    changes = {
        "baseline": {"majority": {"test": dict.fromkeys(record_of("lora", 0).scores["test"], 0.125)}},
        "class_scores": {"test": {label: {"f1": f1[label], "support": 7.0} for label in labels}},
    }
    folders = [leave_run(tmp_path, name, seed, **changes) for name in ("lora", "full") for seed in range(2)]
    scores, classes = tables(summary(folders))[:2]
    assert scores[-1][0] == "majority"
    assert set(scores[-1][1:4]) == {"0.1250"}
    assert [row[0] for row in classes[1:]] == labels[:12]  # the worst ones
    assert classes[1][:2] == ["label 00", "7"]


def test_a_primary_score_below_zero_is_written_with_its_sign(tmp_path):
    """The Matthews correlation is in [-1, 1]; the sentences stay with accuracy, whose mean the examples give."""
    matthews = {"lora": (-0.25, -0.125), "full": (-0.5, 0.25)}
    folders = [
        leave_run(
            tmp_path,
            method,
            seed,
            scores={"test": {"matthews_correlation": value, **record_of(method, seed).scores["test"]}},
            baseline={"majority": {"test": {"matthews_correlation": 0.0, **dict.fromkeys(SCORES, 0.5)}}},
            validation={"matthews_correlation": value},
        )
        for method, values in matthews.items()
        for seed, value in enumerate(values)
    ]
    text = summary(folders)
    header, *rows = tables(text)[0]
    assert header[:3] == ["method", "matthews correlation", "accuracy"]
    assert [row[1] for row in rows] == ["-0.1875 ± 0.0884", "-0.1250 ± 0.5303", "0.0000"]
    assert " in accuracy " in text
    where, *following = closing_lines(folders)
    assert where.endswith("; the highest mean matthews correlation is -0.1250, of full")
    assert "matthews correlation -0.250 on 40 test examples" in outcome_of(read_record(folders[0]))
    assert following  # the runs kept no weights


def test_the_report_says_how_often_it_would_err_and_what_is_worth_its_cost(tmp_path):
    text = summary(study(tmp_path, ("lora", "flat-lora", "full")))
    assert re.search(
        r"- A/A: of 2,000 simulated studies like this one, .* nothing: flat-lora \d\.\d%, full \d\.\d%\.",
        text,
    )
    assert re.search(
        r"Pareto front of accuracy, trained parameters, seconds and peak memory, .* means: \w", text
    )


def test_identical_methods_have_no_calibration(tmp_path):
    answers = answers_of("lora", 1)
    folders = [leave_run(tmp_path, method, seed, answers) for method in ("lora", "full") for seed in (1, 2)]
    assert "A/A" not in summary(folders)
    folders += [leave_run(tmp_path, "flat-lora", seed, answers_of("flat-lora", seed)) for seed in (1, 2)]
    line = next(line for line in summary(folders).splitlines() if "A/A" in line)
    assert re.search(r"nothing: flat-lora \d", line)
    assert line.endswith(" full: equal to the reference on every example, not simulated.")


@pytest.mark.parametrize(
    ("p", "corrected", "ending"),
    [
        (0.03, 0.09, " With Holm's correction for 2 comparisons, that is no longer shown (p 0.09)."),
        (0.01, 0.02, ""),
        (0.2, 0.4, ""),
    ],
)
def test_a_verdict_that_the_correction_takes_back_says_so(tmp_path, monkeypatch, p, corrected, ending):
    folders = study(tmp_path, ("lora", "flat-lora", "full"))
    compared = compare_with_reference(finished(folders), "lora")
    changed = [replace(each, p=p if each.method == "full" else 0.9) for each in compared]
    monkeypatch.setattr("lowland.report.study.compare_with_reference", lambda *args, **options: changed)
    monkeypatch.setattr(
        "lowland.report.study.holm", lambda values: [corrected if p == min(values) else 1.0 for p in values]
    )
    lines = summary(folders).splitlines()
    (full,) = [each for each in changed if each.method == "full"]
    assert f"- {full.sentence()}{ending}" in lines
    assert sum("no longer shown" in line for line in lines) == 2 * bool(ending)  # one for each test set
