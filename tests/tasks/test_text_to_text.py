"""Text to text: what an encoder-decoder reads and writes, from a user's file and from the toy task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, T5ForConditionalGeneration

from lowland.ground.mistakes import Mistake
from lowland.tasks.examples import Setup
from lowland.tasks.generation import IGNORED
from lowland.tasks.table import TASKS, load_data, task_fields
from lowland.tasks.text_to_text import REPEATED
from tests.language_models import END, PAD, characters, language_model, save

TASK = TASKS["text-to-text"]
SOURCES, TARGETS = ["repeat: ab", "say", "repeat: xyz"], ["ab ab", "it", "xyz xyz"]
COLUMNS = {"source": SOURCES, "target": TARGETS}


def setup_of(tokenizer: Any = None, max_length: int = 40, **fields: Any) -> Setup:
    return Setup(task_fields("text-to-text", **fields), tokenizer or characters(around="$A </s>"), max_length)


@pytest.mark.parametrize("around", ["$A", "$A </s>", "<s> $A </s>"])
def test_targets_end_with_one_end_of_text(around: str) -> None:
    tokenizer = characters(around=around)
    encoded = TASK.encode(COLUMNS, setup_of(tokenizer), "train")
    begin = "<s>" if around.startswith("<s>") else ""
    assert [tokenizer.decode(ids) for ids in encoded.rows["labels"]] == [
        f"{begin}{text}</s>" for text in TARGETS
    ]
    assert encoded.rows["input_ids"] == tokenizer(SOURCES)["input_ids"]
    assert encoded.rows == TASK.encode(COLUMNS, setup_of(tokenizer), "evaluate").rows
    assert TASK.encode({"source": SOURCES}, setup_of(tokenizer), "predict").rows.keys() == {
        "input_ids",
        "attention_mask",
    }


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_the_loss_is_plain_cross_entropy_of_the_targets(family: str) -> None:
    model, setup = language_model(family), setup_of(max_new_tokens=2)
    encoded = TASK.encode(COLUMNS, setup, "evaluate")
    alone = []
    for source, target in zip(SOURCES, TARGETS, strict=True):
        labels = torch.tensor(characters()(f"{target}</s>")["input_ids"])
        answer = model(
            input_ids=torch.tensor([characters()(f"{source}</s>")["input_ids"]]),
            decoder_input_ids=torch.cat([torch.tensor([PAD]), labels[:-1]])[None],
        )
        alone.append(cross_entropy(answer.logits[0], labels, reduction="none"))
    for size in (1, 3):
        batch = TASK.collator(setup, model)([encoded[row] for row in range(size)])
        torch.testing.assert_close(model(**batch).loss, torch.cat(alone[:size]).mean())
        with torch.no_grad():
            loss, outputs = TASK.infer(model, batch, setup)
        torch.testing.assert_close(loss, torch.cat(alone[:size]).mean())
        torch.testing.assert_close(outputs["nll"], torch.stack([each.sum() for each in alone[:size]]))
        assert outputs["count"].tolist() == list(map(len, alone[:size]))


def test_sources_and_targets_that_are_too_long_are_cut_and_counted() -> None:
    encoded = TASK.encode(COLUMNS, setup_of(max_length=6), "train")
    assert encoded.rows["labels"][0] == characters()("ab ab</s>")["input_ids"]
    assert encoded.rows["labels"][2] == characters()("xyz xy")["input_ids"]
    assert encoded.rows["input_ids"][0] == [*characters()("repea")["input_ids"], END]  # as the tokenizer cuts
    cut = encoded.truncation
    assert (cut.inputs, cut.cut, cut.longest) == (6, 3, 12)
    assert cut.tokens_lost == (11 - 6) + (12 - 6) + (8 - 6)
    assert TASK.encode({"source": SOURCES}, setup_of(max_length=6), "predict").truncation.cut == 2


def test_padding_is_not_learned() -> None:
    setup = setup_of()
    encoded = TASK.encode(COLUMNS, setup, "train")
    batch = TASK.collator(setup)([encoded[row] for row in range(3)])
    assert batch["labels"].shape == (3, 8)
    assert (batch["labels"] == IGNORED).sum(-1).tolist() == [2, 5, 0]


def test_the_toy_task_repeats_words() -> None:
    data = load_data(task_fields("repeat"))
    assert 0.75 * REPEATED < sum(map(len, data.splits.values())) <= REPEATED
    for split in data.splits.values():
        for source, target in zip(split["source"], split["target"], strict=True):
            word = source.removeprefix("repeat: ")
            assert word.isalpha()
            assert target == f"{word} {word}"
    assert data.sha256 == load_data(task_fields("repeat")).sha256
    with pytest.raises(Mistake, match="task repeat brings its own data and takes no data file"):
        load_data(task_fields("repeat", data="words.csv"))


def test_a_users_own_table(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("en;de\n" + "".join(f"word {n};Wort {n}\n" for n in range(30)) + "Word  0;Wort\n")
    fields = task_fields(
        "text-to-text", data=str(path), source_column="en", target_column="de", separator=";"
    )
    data = load_data(fields)
    assert data.label_names == ()
    assert {name: len(split) for name, split in data.splits.items()} in (
        {"train": 22, "validation": 3, "test": 6}, {"train": 21, "validation": 4, "test": 6},
        {"train": 21, "validation": 3, "test": 7},
    )  # fmt: skip
    homes = {name for name, split in data.splits.items() if {"word 0", "Word  0"} & {*split["source"]}}
    assert len(homes) == 1  # copies of a source stay together
    assert TASK.input_names(fields) == {"source": "en"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"messages": []}', "its columns are those of chats, read by --task instruction"),
        ('{"prompt": "a", "completion": "b"}', "prompts with completions, read by --task instruction"),
        ('{"text": "a", "label": "b"}', "single texts, read by --task classification"),
        ('{"source": "a", "target": ""}', "has 1 row without a target, the first is line 1"),
        ('{"source": null, "target": "b"}', "has 1 row without a source, the first is line 1"),
        ('{"source": ["a"], "target": "b"}', "the source is a list; it must be text"),
    ],
)  # fmt: skip
def test_a_file_that_lacks_what_is_needed(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "given.jsonl"
    path.write_text(content)
    with pytest.raises(Mistake, match=message):
        load_data(task_fields("text-to-text", data=str(path)))


def test_the_texts_that_a_model_writes_are_decoded_up_to_their_end(tmp_path: Path) -> None:
    folder = save(language_model("t5"), tmp_path, characters(around="$A </s>"))
    setup = setup_of(AutoTokenizer.from_pretrained(folder), max_new_tokens=5)
    model = T5ForConditionalGeneration.from_pretrained(folder)
    encoded = TASK.encode({"source": SOURCES}, setup, "predict")
    batch = TASK.collator(setup, model)([encoded[row] for row in range(3)])
    loss, outputs = TASK.infer(model, batch, setup)
    assert loss is None
    assert outputs.keys() == {"tokens"}
    tokens = np.array(
        [[PAD, 10, 11, END, IGNORED], [12, END, PAD, PAD, PAD], [END, PAD, PAD, PAD, IGNORED]], float
    )
    answers = TASK.decode({"tokens": tokens}, encoded, setup)
    assert list(answers["predicted"]) == [characters().decode([10, 11]), characters().decode([12]), ""]
