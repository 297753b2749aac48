"""Sentence pairs: a second kind of task, from original files and from a user's own table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import lowland
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from lowland.models.load import load_tokenizer
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from lowland.tasks.examples import Setup
from lowland.tasks.table import TASKS, load_data, task_fields
from tests.conftest import BAD, FILL, GOOD

MRPC_HEADER = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
RTE_HEADER = "index\tsentence1\tsentence2\tlabel\n"


def own_pairs(copies: int = 4) -> pd.DataFrame:
    """Pairs that agree or do not, each once."""
    rows = [
        (f"{subject} {verb} {'again ' * n}".strip(), f"{subject} {other_verb}", "same" if like else "other")
        for n in range(copies)
        for subject in FILL
        for group, others, like in ((GOOD, GOOD, True), (GOOD, BAD, False))
        for verb in group
        for other_verb in others
    ]
    return pd.DataFrame(rows, columns=["first", "second", "label"]).drop_duplicates()


def mrpc_folder(folder: Path) -> Path:
    folder.mkdir()
    for name, count in (("msr_paraphrase_train.txt", 40), ("msr_paraphrase_test.txt", 10)):
        lines = [f'{i % 2}\t{i}\t{i}\t{name} "quoted {i}\tsecond of {i}\r\n' for i in range(count)]
        (folder / name).write_text(MRPC_HEADER + "".join(lines), encoding="utf-8")
    return folder


def test_the_original_files_of_mrpc(tmp_path: Path) -> None:
    folder = mrpc_folder(tmp_path / "mrpc")
    data = load_data(task_fields("mrpc", data=str(folder)))
    assert data.label_names == ("equivalent", "not_equivalent")
    assert (len(data.splits["train"]) + len(data.splits["validation"]), len(data.splits["test"])) == (40, 10)
    test = data.splits["test"]
    assert (test["first"][0], test["second"][0]) == ('msr_paraphrase_test.txt "quoted 0', "second of 0")
    assert test["label"][:2] == ("not_equivalent", "equivalent")
    files = [str(folder / name) for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt")]
    assert load_data(task_fields("mrpc", data=files[0], test_data=files[1])).sha256 == data.sha256


def test_a_test_file_beside_a_folder_that_holds_one_is_refused(tmp_path: Path) -> None:
    folder = mrpc_folder(tmp_path / "mrpc")
    other = folder / "msr_paraphrase_train.txt"
    with pytest.raises(
        Mistake, match=r"test_data is given, but the folder .*mrpc holds the test set"
    ) as caught:
        load_data(task_fields("mrpc", data=str(folder), test_data=str(other)))
    assert len(caught.value.problems) == 1


def test_the_original_files_of_rte(tmp_path: Path) -> None:
    labels = ("entailment", "not_entailment")
    for name, count in (("train.tsv", 40), ("dev.tsv", 10)):
        rows = [f"{i}\t{name} {i}\tso {i}\t{labels[i % 2]}\n" for i in range(count)]
        (tmp_path / name).write_text(RTE_HEADER + "".join(rows))
    data = load_data(task_fields("rte", data=str(tmp_path)))
    assert data.label_names == labels
    assert len(data.splits["test"]) == 10
    assert data.splits["test"]["second"][3] == "so 3"


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        (
            "mrpc",
            RTE_HEADER + "0\ta\tb\tentailment\n",
            "is not a file of MRPC: it lacks the columns #1 String",
        ),
        ("mrpc", MRPC_HEADER + "2\t1\t2\ta\tb\n", "line 2: the label is '2'; it must be 0 or 1"),
        ("mrpc", MRPC_HEADER + "1\t1\t2\ta\n", "line 2: 4 fields, where the first line has 5"),
        (
            "rte",
            "index\tsentence1\tsentence2\n0\ta\tb\n",
            "is not a file of RTE .* lacks the columns label",
        ),
        (
            "rte",
            RTE_HEADER + "0\ta\tb\tperhaps\n",
            "the label is 'perhaps'; it must be entailment or not_entailment",
        ),
        ("pairs", "first\tother\tlabel\na\tb\tc\n", "unknown second column 'second'; Allowed: first"),
    ],
)
def test_a_wrong_file_is_reported_in_one_sentence(
    tmp_path: Path, task: str, content: str, message: str
) -> None:
    path = tmp_path / "given.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(Mistake, match=message) as caught:
        load_data(task_fields(task, data=str(path)))
    assert len(caught.value.problems) == 1


def test_the_same_pair_is_the_same_example(tmp_path: Path) -> None:
    table = own_pairs()
    twice = pd.concat([table, table.head(20).assign(first=lambda rows: rows["first"].str.upper())])
    twice.to_csv(tmp_path / "pairs.csv", index=False)
    data = load_data(task_fields("pairs", data=str(tmp_path / "pairs.csv")))
    place = {}
    for name, split in data.splits.items():
        for pair in zip(split["first"], split["second"], strict=True):
            key = tuple(text.casefold() for text in pair)
            assert place.setdefault(key, name) == name
    swapped = table.rename(columns={"first": "second", "second": "first"})
    swapped.to_csv(tmp_path / "swapped.csv", index=False)
    assert load_data(task_fields("pairs", data=str(tmp_path / "swapped.csv"))).sha256 != data.sha256


def test_both_texts_are_read_in_one_sequence(tiny_model: Path) -> None:
    tokenizer, task = load_tokenizer(tiny_model), TASKS["pairs"]
    columns = {"first": ["the firm rises"], "second": ["a bank"]}
    encoded = task.encode(columns, Setup(task_fields("pairs"), tokenizer, 40), "predict")
    assert encoded.rows["input_ids"] == tokenizer(["the firm rises"], ["a bank"])["input_ids"]
    assert encoded.lengths == [5]


def test_a_study_of_pairs_runs_and_its_runs_answer(
    tmp_path: Path, tiny_model: Path, lowland_command: Callable[..., tuple[int, str, str]]
) -> None:
    table = own_pairs().rename(columns={"first": "a", "second": "b", "label": "like"})
    table.to_csv(tmp_path / "pairs.csv", index=False)
    task = {"name": "pairs", "data": str(tmp_path / "pairs.csv")}
    columns = {"first_column": "a", "second_column": "b", "label_column": "like"}
    recipe = Recipe(
        task={**task, **columns}, model=str(tiny_model), methods=["lora"], seeds=[1], epochs=1, rank=2,
        dtype="fp32", out=str(tmp_path / "runs"),
    )  # fmt: skip
    (run,) = run_study(recipe)
    record, predictions = read_record(run), read_predictions(run)
    assert record.status == "finished"
    assert list(record.scores["test"]) == ["accuracy", "macro_f1", "weighted_f1"]
    own = ["label", "predicted", "p_other", "p_same"]
    assert list(predictions) == ["split", "example", "group", "category", "score", "text", *own]
    assert predictions["text"].iloc[0] == " | ".join(table.loc[predictions["example"].iloc[0], ["a", "b"]])
    assert predictions["score"].mean() == pytest.approx(record.scores["test"]["accuracy"])
    tested = table.iloc[predictions["example"]]
    answers = lowland.load(run).predict(list(zip(tested["a"], tested["b"], strict=True)))
    assert list(answers) == ["first", "second", "predicted", "p_other", "p_same"]
    assert list(answers["predicted"]) == list(predictions["predicted"])
    with pytest.raises(Mistake, match="an input has 1 text, and the task pairs reads first, second"):
        lowland.load(run).predict(["the firm rises"])
    code, out, err = lowland_command(
        "predict", str(run), "--text", *tested[["a", "b"]].to_numpy()[:2].ravel()
    )
    assert code == 0, err
    assert out.count("\n") == 1 + 2
    code, out, err = lowland_command("predict", str(run), "--text", "a", "b", "c")
    assert code == 2
    assert "give 2 texts for each example" in err
    code, out, err = lowland_command("predict", str(run), "--data", str(tmp_path / "pairs.csv"))
    assert code == 0, err
    assert out.count("\n") == 1 + len(table)
    code, out, err = lowland_command("merge", str(run), "--out", str(tmp_path / "merged"))
    assert code == 0, err
    assert "validation texts of the run's task pairs" in out
    merged = lowland.load(tmp_path / "merged").predict(list(zip(tested["a"], tested["b"], strict=True)))
    assert list(merged["predicted"]) == list(answers["predicted"])  # the merged model records its task
    code, out, err = lowland_command(
        "stress",
        "adapter",
        str(run),
        "--corruptions",
        "typos",
        "--limit",
        "5",
        "--out",
        str(tmp_path / "out"),
    )
    assert code == 0, err
    rows = pd.read_parquet(next((tmp_path / "out").glob("adapter-pairs-*")) / "rows.parquet")
    clean, damaged = (rows[rows["condition"] == name]["prompt"] for name in ("clean", "typos"))
    assert all(" | " in prompt for prompt in clean)
    first, second = zip(*(prompt.split(" | ") for prompt in damaged), strict=True)
    texts = {*table["a"], *table["b"]}
    assert not texts & {*first}  # both texts of a pair are damaged
    assert not texts & {*second}


@pytest.fixture
def lowland_command(lowland: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """The command line; `lowland` is the name of the package here."""
    return lowland


@pytest.mark.data
@pytest.mark.parametrize(("task", "sizes"), [("mrpc", (4076, 1725)), ("rte", (2490, 277))])
def test_the_real_files(shared_data: Callable[[str], Path], task: str, sizes: tuple[int, int]) -> None:
    first = {"mrpc": "msr_paraphrase_train.txt", "rte": "train.tsv"}[task]
    data = load_data(task_fields(task, data=str(shared_data(f"glue/{task}/{first}").parent)))
    counts = {name: len(split) for name, split in data.splits.items()}
    assert (counts["train"] + counts["validation"] + data.dropped, counts["test"]) == sizes


def test_pairs_with_one_equal_text_are_different_examples(tmp_path: Path) -> None:
    table = own_pairs().drop_duplicates(["first", "second"])
    split = ["train", "test"] * (len(table) // 2 + 1)
    shared_first = table.assign(first="the same", split=split[: len(table)])
    shared_first = shared_first.drop_duplicates("second")
    path = tmp_path / "pairs.csv"
    shared_first.to_csv(path, index=False)
    assert load_data(task_fields("pairs", data=str(path), split_column="split")).dropped == 0
    copied = pd.concat([shared_first, shared_first[shared_first["split"] == "test"].assign(split="train")])
    copied.to_csv(path, index=False)
    data = load_data(task_fields("pairs", data=str(path), split_column="split"))
    assert data.dropped == len(copied) - len(shared_first)
