"""`lowland errors` from the command line, on folders of runs."""

from __future__ import annotations

import json

import pytest

from lowland.cli.main import main
from tests.evidence.readers.test_answers import study_of, with_probabilities
from tests.evidence.test_study import answers_of, record_of
from tests.report.whole_studies import leave_study


@pytest.fixture
def runs(tmp_path):
    study_of(tmp_path, *[(method, seed) for method in ("full", "lora") for seed in (1, 2)])
    return tmp_path


def test_the_report_is_printed(runs, capsys):
    assert main(["errors", str(runs), "--method", "full"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("toy: 40 test examples; full, lora; 2 seeds")
    assert "## Most confident mistakes of full" in out
    assert "against lora" in out


def test_json_holds_everything(runs, capsys):
    assert main(["errors", str(runs), "--json", "--split", "shifted"]) == 0
    values = json.loads(capsys.readouterr().out)
    table = with_probabilities("lora", 1)
    table = table[table["split"] == "shifted"].sort_values("example")
    assert [row["text"] for row in values["examples"]] == list(table["text"])
    assert values["reference"] == values["method"] == "lora"


def test_the_reference_of_an_ablation_is_the_method_as_it_is(tmp_path, capsys):
    settings = {label: {"name": "flat-lora"} for label in ("flat-lora-rho0", "flat-lora")}
    leave_study(tmp_path / "runs", tuple(settings), seeds=1, examples=40, steps=3, settings=settings)
    assert main(["errors", str(tmp_path / "runs"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reference"] == "flat-lora"


def test_one_run_is_enough(runs, capsys):
    assert main(["errors", str(runs / "lora-1"), "--no-rules"]) == 0
    out = capsys.readouterr().out
    assert "kind of text" not in out
    assert "Fixed and broken" not in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "lor"], "unknown method 'lor'; did you mean 'lora'? Allowed: full, lora"),
        (["--reference", "dora"], "unknown method 'dora'"),
        (["--split", "tets"], "unknown test set 'tets'; did you mean 'test'?"),
        (["--examples", "-1"], "examples is -1"),
    ],
)
def test_mistakes_are_sentences(runs, capsys, words, sentence):
    assert main(["errors", str(runs), *words]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main(["errors", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert main(["errors", str(tmp_path / "nowhere")]) == 2


def test_examples_of_one_group_are_refused(tmp_path, capsys):
    def table(method, seed):
        return answers_of(method, seed).assign(group="one")

    study_of(tmp_path, ("lora", 1), tables=table)
    assert record_of("lora", 1).data["sizes"]["test"] == 40
    assert main(["errors", str(tmp_path)]) == 2
    assert "into one group" in capsys.readouterr().err


def test_damaged_runs_are_refused_and_failed_ones_counted(runs, capsys):
    record = runs / "lora-2" / "record.json"
    text = record.read_text()
    record.write_text(text.replace('"status": "finished"', '"status": "failed"'))
    assert main(["errors", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "Left out: 1 run that failed or did not finish." in out
    assert "Methods have different seeds; they are compared on the seeds that they share." in out
    record.write_text(text[:50])
    assert main(["errors", str(runs)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_methods_that_share_no_seed_and_few_groups_are_not_tested(tmp_path, capsys):
    def table(method, seed):
        words = with_probabilities(method, seed)
        return words.assign(text=[f"It did {'not ' * (n % 2)}pay." for n in range(len(words))])

    study_of(tmp_path, ("full", 1), ("lora", 2), tables=table)
    assert main(["errors", str(tmp_path)]) == 0
    assert "The kind of text is not tested" in capsys.readouterr().out
