"""Logs of Inspect: written by Inspect itself with its mock model, and read as results."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, Scorer, accuracy, includes, mean, scorer

from lowland.evidence.readers.any_results import read_results
from lowland.evidence.readers.table_results import Columns
from lowland.evidence.verdict import compare_results
from lowland.ground.mistakes import Mistake
from tests.stress.asking.support import INSPECTS

pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]
Log = Callable[..., Path]
ANSWERS = [f"answer {n}" for n in range(20)]


@scorer(metrics=[mean()])
def length() -> Scorer:
    """A second scorer, whose score is a number."""

    async def score(state: Any, target: Any) -> Score:
        return Score(value=len(state.output.completion))

    return score


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """Yield a function that runs Inspect on 20 questions, of which a model answers some, and returns the log."""

    def run(
        name: str, right: set[int], *, epochs: int = 1, scorers: Any = None, limit: int | None = None
    ) -> Path:
        samples = [
            Sample(id=n, input=f"Question {n}?", target=answer, metadata={"item": f"item {n // 4}"})
            for n, answer in enumerate(ANSWERS)
        ]

        def answer(messages: Any, *rest: Any) -> ModelOutput:
            number = int(messages[-1].text.split()[1].rstrip("?"))
            reply = ANSWERS[number] if number in right else "no idea"
            output = ModelOutput.from_content("mockllm/model", reply)
            output.usage = ModelUsage()  # else Inspect counts tokens, with a file from the network
            return output

        folder = tmp_path / name
        task = Task(
            dataset=MemoryDataset(samples, name="questions"), scorer=scorers or includes(), name="questions"
        )
        (written,) = eval(
            task,
            model=get_model("mockllm/model", custom_outputs=answer, memoize=False),
            epochs=epochs,
            log_dir=str(folder),
            display="none",
            limit=limit,
        )
        return Path(written.location.removeprefix("file://"))

    yield run
    gc.collect()  # Inspect leaves streams open, whose warnings would come in another test


def test_samples_of_two_logs_are_paired(log: Log) -> None:
    paths = [log("old", set(range(8))), log("new", set(range(4, 18)))]
    old, new = read_results(paths)
    assert (old.metric, old.name) == ("includes", f"mockllm/model ({paths[0].name})")
    (verdict,) = compare_results([old, new])
    assert (verdict.mean_reference, verdict.mean) == (0.4, 0.7)
    assert [flip.example for flip in verdict.broken] == ["0", "1", "2", "3"]
    assert verdict.fixed[0].text == "Question 8?"
    assert not verdict.comparison.over_seeds
    (folder,) = read_results([paths[0].parent])
    assert folder.rows.equals(old.rows)
    shutil.copy(paths[1], paths[0].parent)
    with pytest.raises(Mistake, match="holds several logs of questions with mockllm/model; name the logs"):
        read_results([paths[0].parent])


def test_epochs_are_repeats_of_a_sample(log: Log) -> None:
    results = read_results([log("old", {0, 1, 2}, epochs=3), log("new", {0, 1, 2, 3, 4})])
    (verdict,) = compare_results(results)
    assert verdict.pairing.repeats == 3
    assert verdict.comparison.n_examples == 20
    assert verdict.mean_reference == pytest.approx(3 / 20)


def test_samples_that_share_an_entry_of_their_metadata_form_a_group(log: Log) -> None:
    paths = [log("old", {0, 1, 2}), log("new", {0, 1, 2, 3, 4})]
    (alone,) = compare_results(read_results(paths))
    (grouped,) = compare_results(read_results(paths, columns=Columns(group="item")))
    assert (alone.comparison.n_groups, grouped.comparison.n_groups) == (20, 5)
    assert grouped.comparison.difference == alone.comparison.difference
    with pytest.raises(Mistake, match="has no entry itm, which --group-column names; its examples have item"):
        read_results(paths, columns=Columns(group="itm"))


def test_forms_of_an_item_of_our_own_tests_are_a_group(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log("old", {0, 1, 2})
    (alone,) = read_results([path])
    monkeypatch.setattr("lowland.evidence.readers.inspect_results.OWN_TASKS", frozenset({"questions"}))
    (grouped,) = read_results([path])
    assert (alone.rows["group"].nunique(), grouped.rows["group"].nunique()) == (20, 5)


def test_a_log_of_a_later_version_is_refused(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspect_ai.log._recorders.eval.LOG_SCHEMA_VERSION", 99)
    path = log("later", {0})
    with pytest.raises(Mistake, match="is a log of version 99; lowland reads versions up to 2"):
        read_results([path])


def test_of_several_scorers_one_is_named(log: Log) -> None:
    path = log("old", {0, 1}, scorers=[includes(), length()])
    with pytest.raises(Mistake, match=r"holds several scores \(includes, length\); name one by --metric"):
        read_results([path])
    (results,) = read_results([path], metric="length")
    assert results.rows["score"].tolist() == [8.0, 8.0, *[7.0] * 18]
    with pytest.raises(Mistake, match="has no score lenght; expected one of includes, length"):
        read_results([path], metric="lenght")


def test_logs_that_are_unfinished_or_damaged_are_refused(log: Log, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log, write_eval_log

    path = log("old", {0})
    unfinished = read_eval_log(str(path))
    unfinished.status = "cancelled"
    write_eval_log(unfinished, str(tmp_path / "cancelled.eval"))
    with pytest.raises(
        Mistake, match=r"is unfinished: its status is cancelled; finish it with inspect eval-retry"
    ):
        read_results([tmp_path / "cancelled.eval"])
    (tmp_path / "damaged.eval").write_bytes(path.read_bytes()[:200])
    with pytest.raises(Mistake, match=r"damaged\.eval cannot be read as a log of Inspect"):
        read_results([tmp_path / "damaged.eval"])


def test_a_custom_accuracy_of_letters_is_read(log: Log) -> None:
    @scorer(metrics=[accuracy()])
    def letters() -> Scorer:
        async def score(state: Any, target: Any) -> Score:
            return Score(value="P" if state.sample_id == 0 else "N" if state.sample_id == 1 else "C")

        return score

    (results,) = read_results([log("old", set(), scorers=letters())])
    assert results.rows["score"].tolist() == [0.5, 0.0, *[1.0] * 18]
