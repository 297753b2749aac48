"""SST-2 and CoLA: the forms of their files, the Matthews correlation, and studies with a score that may be negative."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from lowland.tasks.examples import Split, TaskData
from lowland.tasks.readers import glue
from lowland.tasks.table import TASKS, load_data, task_fields
from tests.conftest import BAD, FILL, GOOD

COLA = TASKS["cola"]
SST2_HEADER = "sentence\tlabel\n"
GLUE_TEST = "index\tsentence\n0\tno label here\n"


def load(task: str, folder: Path, **fields: Any) -> TaskData:
    return load_data(task_fields(task, data=str(folder), **fields))


def sizes(data: TaskData) -> dict[str, int]:
    return {name: len(split) for name, split in data.splits.items()}


def sst2_rows(name: str, count: int) -> str:
    """Lines of SST-2; each ends with a space, and holds a quote, as some of the original's do."""
    return "".join(f'{name} "film {i} \t{i % 2}\n' for i in range(count))


def write(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def sst2_folder(folder: Path, test: str | None = None) -> Path:
    files = {"train.tsv": SST2_HEADER + sst2_rows("train", 60), "dev.tsv": SST2_HEADER + sst2_rows("dev", 12)}
    return write(folder, files if test is None else {**files, "test.tsv": test})


def cola_lines(name: str, count: int) -> str:
    """Lines of CoLA: sentences that a tiny model can tell apart by their verb, the bad ones with the author's star."""
    rows = []
    for i in range(count):
        verbs, label, mark = ((BAD, 0, "*"), (GOOD, 1, ""))[i % 2]
        text = f'{FILL[i % 3]} {verbs[i // 2 % 3]} "{name} {i}'
        rows.append(f"gj04\t{label}\t{mark}\t{text} \n")
    return "".join(rows)


def cola_folder(folder: Path, *, glues: bool = False) -> Path:
    inside, outside = cola_lines("in", 10), cola_lines("out", 8)
    train = cola_lines("train", 60)
    if glues:
        return write(folder, {"train.tsv": train, "dev.tsv": inside + outside, "test.tsv": GLUE_TEST})
    names = ("in_domain_train.tsv", "in_domain_dev.tsv", "out_of_domain_dev.tsv")
    return write(folder, dict(zip(names, (train, inside, outside), strict=True)))


# SST-2


def test_a_test_file_of_sst2_without_labels_is_left_out_and_dev_is_the_test_set(tmp_path: Path) -> None:
    for folder in (sst2_folder(tmp_path / "a"), sst2_folder(tmp_path / "b", GLUE_TEST)):
        data = load("sst2", folder)
        assert data.label_names == ("negative", "positive")
        assert data.splits["test"]["text"][:2] == ('dev "film 0', 'dev "film 1')
        assert data.splits["test"]["label"][:2] == ("negative", "positive")
        assert sizes(data)["train"] + sizes(data)["validation"] == 60
        assert data.source == "train.tsv + dev.tsv"


def test_with_a_labelled_test_file_dev_is_the_validation_set(tmp_path: Path) -> None:
    data = load("sst2", sst2_folder(tmp_path / "sst2", SST2_HEADER + sst2_rows("test", 20)))
    assert sizes(data) == {"train": 60, "validation": 12, "test": 20}
    assert data.splits["validation"]["text"][0] == 'dev "film 0'
    assert data.splits["test"]["text"][0] == 'test "film 0'


def test_a_test_file_of_another_data_set_is_not_left_out_in_silence(tmp_path: Path) -> None:
    folder = sst2_folder(tmp_path / "sst2", "index\tquestion1\tquestion2\n0\ta\tb\n")
    with pytest.raises(Mistake, match=r"test\.tsv is not a file of SST-2 with labels: it lacks the columns"):
        load("sst2", folder)


@pytest.mark.data
def test_the_real_sst2(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("glue/sst2/train.tsv").parent
    data = load("sst2", folder)
    assert sizes(data)["train"] + data.dropped == 60_614
    assert (sizes(data)["validation"], sizes(data)["test"]) == (6_735, 872)
    fewer = load("sst2", folder, max_train=10_000)
    assert sizes(fewer) == {"train": 10_000, "validation": 6_735, "test": 872}
    shares = [np.mean(np.array(part.splits["train"]["label"]) == "positive") for part in (data, fewer)]
    assert shares[1] == pytest.approx(shares[0], abs=1e-4)


# CoLA


def test_both_distributions_of_cola_have_the_same_examples(tmp_path: Path) -> None:
    own, glues = (
        load("cola", cola_folder(tmp_path / name, glues=name == "glue")) for name in ("own", "glue")
    )
    assert own.label_names == ("acceptable", "unacceptable")
    for name in ("train", "validation", "test"):
        assert own.splits[name].columns == glues.splits[name].columns
    assert sizes(own)["test"] == 18
    assert own.splits["test"]["label"][:2] == ("unacceptable", "acceptable")
    assert own.splits["test"]["text"][0] == 'the firm falls "in 0'
    assert own.splits["test"].categories == ("in domain",) * 10 + ("out of domain",) * 8
    assert set(glues.splits["test"].categories) == {""}


@pytest.mark.parametrize(
    ("task", "file", "content", "message"),
    [
        ("sst2", "train.tsv", SST2_HEADER + "good \tpositive\n", "line 2: the label is 'positive'; it must be 0 or 1"),
        ("sst2", "train.tsv", "gj04\t1\t\tIt is so.\n", "lacks the columns sentence, label.*CoLA, read by --task cola"),
        ("sst2", "train.tsv", "index\tsentence1\tsentence2\tlabel\n", "looks like a file of RTE, read by --task rte"),
        ("cola", "train.tsv", SST2_HEADER, "line 1: expected a line of CoLA.*a file of SST-2, read by --task sst2"),
        ("cola", "train.tsv", GLUE_TEST, "line 1: expected .*a test file of GLUE, which has no labels"),
        ("cola", "train.tsv", cola_lines("a", 2) + "gj04\t2\t\tSo.\n", r"line 3: expected .*; got 'gj04\\t2"),
        ("cola", "train.tsv", cola_lines("a", 2) + "gj04\t1\tSo.\n", "line 3: expected a line of CoLA"),
        ("cola", "other.tsv", "", "lacks in_domain_train.tsv, in_domain_dev.tsv, out_of_domain_dev.tsv"),
        ("sst2", "dev.tsv", SST2_HEADER, "lacks train.tsv; the files of task sst2 are train.tsv, dev.tsv"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence_with_exit_code_2(
    tmp_path: Path, lowland: Callable[..., tuple], task: str, file: str, content: str, message: str
) -> None:
    folder = write(tmp_path / "data", {file: content})
    if file == "train.tsv":
        write(folder, {"dev.tsv": content})
    with pytest.raises(Mistake, match=message) as caught:
        load(task, folder)
    assert len(caught.value.problems) == 1
    code, out, err = lowland("compare", "--task", task, "--data", str(folder))
    assert (code, out, err) == (2, "", f"lowland: {caught.value.problems[0]}\n")
    assert not (tmp_path / "runs").exists()


# The hub


@pytest.mark.parametrize(("task", "folder_of"), [("sst2", sst2_folder), ("cola", cola_folder)])
def test_the_hubs_copy_is_the_data_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, folder_of: Callable[[Path], Path]
) -> None:
    """The hub has the labels 0 and 1, spaces at the ends of SST-2's texts, and -1 for a test set without labels."""
    from_files = load(task, folder_of(tmp_path / "files"))
    names = {"sst2": ("negative", "positive"), "cola": ("unacceptable", "acceptable")}[task]
    held = {
        "train": sorted(
            (int(number), *row)
            for part in ("train", "validation")
            for split in [from_files.splits[part]]
            for number, *row in zip(split.examples, split["text"], split["label"], strict=True)
        ),
        "validation": [(0, *row) for row in zip(*from_files.splits["test"].columns.values(), strict=True)],
    }

    def from_hub(repository: str, name: str, *, split: str, **options: Any) -> datasets.Dataset:
        assert (repository, name) == ("nyu-mll/glue", task)
        rows = held[split]
        labels = [names.index(label) for _, _, label in rows]
        return datasets.Dataset.from_dict({"sentence": [f"{text} " for _, text, _ in rows], "label": labels})

    monkeypatch.setattr(datasets, "load_dataset", from_hub)
    monkeypatch.setattr(glue, "hub_reachable", lambda: True)
    fetched = load_data(task_fields(task))
    assert fetched.source == f"hub, nyu-mll/glue, {task}"
    assert {name: split.columns for name, split in fetched.splits.items()} == {
        name: split.columns for name, split in from_files.splits.items()
    }


@pytest.mark.parametrize("task", ["sst2", "cola"])
def test_a_hub_that_cannot_be_reached_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(
        Mistake, match=f"task {task} cannot be loaded from the hub.*--data FOLDER of its files$"
    ):
        load_data(task_fields(task))


# The score


def part(labels: list[str]) -> Split:
    count = len(labels)
    return Split(
        columns={"text": ("",) * count, "label": tuple(labels)},
        examples=np.arange(count),
        groups=tuple(map(str, range(count))),
        categories=("",) * count,
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_the_first_score_is_pearsons_correlation_of_label_and_prediction(
    rows: list[tuple[bool, bool]],
) -> None:
    """Of two classes, Matthews' correlation is Pearson's; it is 0 where one of the two does not vary."""
    names = np.array(["unacceptable", "acceptable"])
    labels, predicted = (np.array(column, dtype=int) for column in zip(*rows, strict=True))
    scores = COLA.summarise(part(list(names[labels])), pd.DataFrame({"predicted": names[predicted]}))
    varies = labels.std() > 0 and predicted.std() > 0
    expected = np.corrcoef(labels, predicted)[0, 1] if varies else 0.0
    assert (
        list(scores) == list(COLA.scores) == ["matthews_correlation", "accuracy", "macro_f1", "weighted_f1"]
    )
    assert scores["matthews_correlation"] == pytest.approx(expected)
    assert scores["accuracy"] == pytest.approx(np.mean(labels == predicted))


def test_a_study_of_cola_has_the_correlation_first_and_compares_right_and_wrong(
    tmp_path: Path, lowland: Callable[..., tuple]
) -> None:
    code, out, err = lowland(
        "compare", "--task", "cola", "--data", str(cola_folder(tmp_path / "cola")),
        "--methods", "lora", "flat-lora", "--seeds", "1", "--epochs", "1", "--max-train", "30",
    )  # fmt: skip
    assert code == 0, err
    header = next(line for line in out.splitlines() if line.startswith("| method"))
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    assert columns[:3] == ["method", "matthews correlation", "accuracy"]
    assert "; the highest mean matthews correlation is " in out
    assert "matthews correlation" in err  # the line of each run
    for folder in (tmp_path / "runs").glob("cola-*"):
        record, predictions = read_record(folder), read_predictions(folder)
        assert record.primary_score == "matthews_correlation"
        assert (record.asked["task"]["max_train"], record.data["sizes"]["train"]) == (30, 30)
        assert record.baseline["majority"]["test"]["matthews_correlation"] == 0.0
        assert predictions["score"].mean() == pytest.approx(record.scores["test"]["accuracy"])
        assert set(predictions["score"]) <= {0.0, 1.0}
        assert math.isfinite(record.validation["matthews_correlation"])
