"""Instructions: which tokens have a loss, what is cut off, and which examples stay together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import normalizers
from torch.nn.functional import cross_entropy

from lowland.ground.mistakes import Mistake
from lowland.tasks.examples import Encoded, Purpose, Setup
from lowland.tasks.generation import IGNORED
from lowland.tasks.table import TASKS, load_data, task_fields
from tests.language_models import BEGIN, END, characters, language_model, save
from tests.tasks.test_template import CHAT, THINKING, WITHOUT_PROMPT

TASK = TASKS["instruction"]
PROMPTS, COMPLETIONS = ["say ab", "say it", "now what?"], ["ab", "it is", "x"]


def setup_of(tokenizer: Any = None, max_length: int = 60, **fields: Any) -> Setup:
    return Setup(task_fields("instruction", **fields), tokenizer or characters(), max_length)


def encode(
    setup: Setup,
    purpose: Purpose = "train",
    prompts: list[str] = PROMPTS,
    completions: list[str] = COMPLETIONS,
) -> Encoded:
    return TASK.encode({"prompt": prompts, "completion": completions}, setup, purpose)


def learned(encoded: Encoded, tokenizer: Any) -> list[str]:
    """The text of the tokens that have a loss."""
    return [
        tokenizer.decode([token for token in labels if token != IGNORED]) for labels in encoded.rows["labels"]
    ]


def read(encoded: Encoded, tokenizer: Any) -> list[str]:
    """The text of all tokens."""
    return [tokenizer.decode(ids) for ids in encoded.rows["input_ids"]]


# Tokens


@pytest.mark.parametrize("around", ["$A", "<s> $A", "<s> $A </s>", "$A </s>"])
def test_the_loss_is_that_of_the_completion_and_of_the_end_of_text(around: str) -> None:
    tokenizer = characters(around=around)
    begin = "<s>" if around.startswith("<s>") else ""
    encoded = encode(setup_of(tokenizer))
    assert learned(encoded, tokenizer) == [" ab</s>", " it is</s>", " x</s>"]
    assert read(encoded, tokenizer) == [
        f"{begin}{prompt} {completion}</s>" for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    for ids, labels in zip(*(encoded.rows[name] for name in ("input_ids", "labels")), strict=True):
        assert labels == [IGNORED] * labels.count(IGNORED) + ids[labels.count(IGNORED) :]
    assert read(encode(setup_of(tokenizer), "predict"), tokenizer) == [
        f"{begin}{prompt}" for prompt in PROMPTS
    ]


@pytest.mark.parametrize("template", [None, "Q: {prompt}\nA:", CHAT, WITHOUT_PROMPT, THINKING])
@pytest.mark.parametrize(
    "merges", [(), (("A", ":"), (" ", "i"), ("t", "\n"), ("b", " "), ("?", " "), (">", "a"))]
)
def test_a_prompt_has_the_same_tokens_in_training_in_evaluation_and_in_prediction(
    template: str | None, merges: tuple[tuple[str, str], ...]
) -> None:
    """Also where a tokenizer would join the end of a prompt with the beginning of its completion."""
    tokenizer = characters(*merges)
    setup = setup_of(tokenizer, max_length=200, template=template)
    prompts, completions = [*PROMPTS, "say ab ", "t"], [*COMPLETIONS, "it", "\nb"]
    for_training, for_evaluation, for_prediction = (
        encode(setup, purpose, prompts, completions) for purpose in ("train", "evaluate", "predict")
    )
    assert for_evaluation.rows["prompt_ids"] == for_prediction.rows["input_ids"]
    assert for_evaluation.rows["input_ids"] == for_training.rows["input_ids"]
    for row, prompt in enumerate(for_prediction.rows["input_ids"]):
        ids, labels = (for_training.rows[name][row] for name in ("input_ids", "labels"))
        assert ids[: len(prompt)] == prompt
        assert labels == [IGNORED] * len(prompt) + ids[len(prompt) :]
        assert ids[-1] == END
        assert tokenizer.decode(ids).count(completions[row].strip()) >= 1


def test_a_completion_begins_in_the_middle_of_a_token_of_the_whole_text() -> None:
    tokenizer = characters(("t", "\n"))
    encoded = encode(setup_of(tokenizer), prompts=["at"], completions=["\nb"])
    assert tokenizer.convert_ids_to_tokens(encoded.rows["input_ids"][0]) == ["a", "t", "\n", "b", "</s>"]
    assert tokenizer.tokenize("at\nb") == ["a", "t\n", "b"]


def test_the_end_of_text_of_a_chat_template_is_not_doubled() -> None:
    tokenizer = characters(around="<s> $A")
    encoded = encode(setup_of(tokenizer, template=CHAT, max_length=100))
    assert (
        read(encoded, tokenizer)[0] == "<user>say ab</s>\n<assistant>ab</s>"
    )  # the template is the whole text
    assert learned(encoded, tokenizer) == ["ab</s>", "it is</s>", "x</s>"]


def test_the_turns_before_a_prompt_are_read_and_not_learned() -> None:
    tokenizer = characters()
    history = json.dumps([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}])
    columns = {"history": ["", history], "prompt": ["why", "how"], "completion": ["so", "no"]}
    encoded = TASK.encode(columns, setup_of(tokenizer, 200, template=CHAT), "train")
    assert learned(encoded, tokenizer) == ["so</s>", "no</s>"]
    assert read(encoded, tokenizer)[1] == "<user>hi</s>\n<assistant>yo</s>\n<user>how</s>\n<assistant>no</s>"
    with pytest.raises(
        Mistake, match="a chat has turns before the prompt, and the tokenizer has no chat template"
    ):
        TASK.encode(columns, setup_of(tokenizer), "train")


def test_a_tokenizer_without_an_end_of_text_is_refused() -> None:
    tokenizer = characters()
    tokenizer.eos_token = None
    with pytest.raises(Mistake, match="the tokenizer has no token that ends a text; give it an eos_token"):
        encode(setup_of(tokenizer))


def test_a_prompt_without_tokens_begins_as_a_text_does() -> None:
    tokenizer = characters()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    encoded = encode(setup_of(tokenizer), prompts=["\u200b"], completions=["\nb"])
    assert encoded.rows["input_ids"] == [[BEGIN, *tokenizer("\nb")["input_ids"], END]]
    assert encode(setup_of(tokenizer), "predict", ["\u200b"]).rows["input_ids"] == [[BEGIN]]


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
def test_the_masks_are_those_of_trls_trainer(tmp_path: Path) -> None:
    """TRL puts no space before a completion: the prompts here end in one."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    prompts = [f"{prompt} " for prompt in PROMPTS]
    options = trl.SFTConfig(
        output_dir=str(tmp_path), completion_only_loss=True, max_length=20, report_to="none", use_cpu=True,
        bf16=False, dataset_num_proc=None,
    )  # fmt: skip
    data = Dataset.from_dict({"prompt": prompts, "completion": COMPLETIONS})
    trainer = trl.SFTTrainer(
        language_model("llama"), options, train_dataset=data, processing_class=characters()
    )
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(3)])
    theirs = [
        [int(token) for token, label in zip(*rows, strict=True) if label != IGNORED]
        for rows in zip(batch["input_ids"], batch["labels"], strict=True)
    ]
    encoded = encode(setup_of(max_length=20), prompts=prompts)
    assert theirs == [[token for token in labels if token != IGNORED] for labels in encoded.rows["labels"]]
    assert [list(row["input_ids"]) for row in trainer.train_dataset] == encoded.rows["input_ids"]


def test_the_loss_is_plain_cross_entropy_of_the_completions() -> None:
    model, tokenizer, setup = language_model("llama"), characters(), setup_of()
    encoded = encode(setup)
    batch = TASK.collator(setup, model)([encoded[row] for row in range(3)])
    losses = []
    for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True):
        before, after = (tokenizer(text)["input_ids"] for text in (prompt, f" {completion}"))
        after = [*after, END]
        logits = model(input_ids=torch.tensor([before + after])).logits[0]
        losses.append(cross_entropy(logits[len(before) - 1 : -1], torch.tensor(after), reduction="none"))
    torch.testing.assert_close(model(**batch).loss, torch.cat(losses).mean())


# Length


def test_what_is_too_long_is_cut_at_the_end_and_the_prompt_to_predict_from_at_its_beginning() -> None:
    tokenizer, prompts, completions = characters(), ["abcdef", "abc"], ["xyz", "x"]
    setup = setup_of(tokenizer, max_length=8)
    encoded = encode(setup, "train", prompts, completions)
    assert read(encoded, tokenizer) == ["abcdef x", "abc x</s>"]
    assert learned(encoded, tokenizer) == [" x", " x</s>"]
    longest = len("abcdef xyz") + 1
    assert encoded.truncation.describe() == {
        "inputs": 2, "cut": 1, "tokens_lost": longest - 8, "longest": longest, "without_target": 0,
    }  # fmt: skip
    short = encode(setup_of(tokenizer, max_length=4), "predict", prompts)
    assert read(short, tokenizer) == ["cdef", "abc"]
    assert (short.truncation.cut, short.truncation.tokens_lost) == (1, 2)


def test_completions_that_are_cut_off_entirely_are_refused_above_one_per_cent() -> None:
    prompts, completions = ["x" * 10] * 2 + ["say"] * 98, ["b"] * 100
    with pytest.raises(Mistake) as caught:
        encode(setup_of(max_length=10), "train", prompts, completions)
    assert caught.value.problems == (
        "2 examples of 100 (2%) have a completion that is cut off entirely: what comes before it has 10 tokens or more;"
        " give a larger max_length or shorter texts",
    )
    one_token_left = encode(setup_of(max_length=11), "train", prompts, completions)
    assert (one_token_left.truncation.cut, one_token_left.truncation.without_target) == (2, 0)


def test_in_an_evaluation_they_are_counted_alone() -> None:
    """A test set is read after the training: one long example must not cost the run."""
    tested = encode(setup_of(max_length=10), "evaluate", ["x" * 10, "say"], ["b", "b"])
    assert (len(tested), tested.truncation.without_target) == (2, 1)


def test_up_to_one_per_cent_of_them_are_counted_and_left_out_of_training() -> None:
    prompts = ["say"] * 99 + ["x" * 10]
    prompts[0], prompts[-1] = prompts[-1], prompts[0]
    setup, completions = setup_of(max_length=10), ["b"] * 100
    encoded = encode(setup, "train", prompts, completions)
    assert encoded.examples.tolist() == list(range(1, 100))
    assert all(any(label != IGNORED for label in labels) for labels in encoded.rows["labels"])
    assert (encoded.truncation.cut, encoded.truncation.without_target) == (1, 1)
    assert "1 of 100 inputs (1%) are longer than 10 tokens and were cut, 1 of them before the target" in str(
        encoded.truncation.sentence(10)
    )
    tested = encode(setup, "evaluate", prompts, completions)
    assert tested.examples.tolist() == list(range(100))
    model = language_model("llama")
    batch = TASK.collator(setup, model)([tested[0]])  # a batch without any target
    with torch.no_grad():
        loss, outputs = TASK.infer(model, batch, setup)
    assert (float(loss), outputs["nll"].tolist(), outputs["count"].tolist()) == (0.0, [0.0], [0])


# Packing


def test_packed_rows_hold_all_examples() -> None:
    plain, rows = encode(setup_of()), encode(setup_of(packing=True))
    assert rows.examples.tolist() == [0]
    assert rows.rows["input_ids"] == [[token for ids in plain.rows["input_ids"] for token in ids]]
    assert rows.rows["labels"] == [[token for labels in plain.rows["labels"] for token in labels]]
    assert encode(setup_of(packing=True), "evaluate").rows == encode(setup_of(), "evaluate").rows


def test_a_row_is_named_by_its_first_example_also_where_examples_are_left_out() -> None:
    prompts = ["x" * 10] + ["say"] * 100
    encoded = encode(setup_of(max_length=10, packing=True), "train", prompts, ["abc"] * 101)
    assert encoded.examples.tolist() == list(range(1, 101))
    assert len(encoded) == 100


@pytest.mark.parametrize("family", ["opt", "bloom"])
def test_packing_is_refused_for_a_model_that_would_look_across_examples(family: str, tmp_path: Path) -> None:
    folder = save(language_model(family), tmp_path)
    with pytest.raises(
        Mistake, match=r"packing is asked for, and the examples of a row would see each other"
    ) as caught:
        TASK.load_model(folder, setup_of(packing=True))
    assert len(caught.value.problems) == 1
    assert TASK.load_model(folder, setup_of()).model is not None


def test_packing_is_possible_with_a_model_that_keeps_examples_apart(tmp_path: Path) -> None:
    assert TASK.load_model(save(language_model("gemma3"), tmp_path), setup_of(packing=True)).model is not None


# Data


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    def call(rows: list[dict[str, Any]], **fields: Any) -> Any:
        path = tmp_path / "chats.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_data(task_fields("instruction", data=str(path), **fields))

    return call


def chat(*texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]}


def test_the_turns_of_a_chat_stay_in_one_split(load: Callable[..., Any]) -> None:
    data = load([chat(f"tell {n}", f"of {n}", "and?", f"more {n}", "and?", "enough") for n in range(30)])
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 63,
        "validation": 9,
        "test": 18,
    }
    assert (data.dropped, data.label_names) == (0, ())
    for split in data.splits.values():
        assert set(split.columns) == {"prompt", "history", "completion"}
        sizes = pd.Series(split.groups).value_counts()
        assert set(sizes) == {3}


def test_copies_of_a_prompt_stay_in_one_split(load: Callable[..., Any]) -> None:
    rows = [{"prompt": f"say {n % 20}", "completion": f"answer {n}"} for n in range(40)]
    splits = load(rows).splits
    seen = [set(split["prompt"]) for split in splits.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20
    assert load(rows).sha256 == load(rows).sha256 != load(rows[:-1]).sha256


def test_turns_that_many_chats_have_are_no_reason_to_leave_a_chat_out(load: Callable[..., Any]) -> None:
    rows = [
        {**chat(f"tell {n}", "of it", "and?", "more"), "part": "test" if n < 5 else "train"}
        for n in range(20)
    ]
    data = load(rows, split_column="part")
    assert data.dropped == 0
    again = load([*rows, {**chat("Tell  0", "it", "so?", "yes"), "part": "train"}], split_column="part")
    assert again.dropped == 2  # a chat that begins as one of the test set


def test_too_few_prompts_are_refused(load: Callable[..., Any]) -> None:
    with pytest.raises(Mistake, match="has 3 different prompts to take 'test' from; it needs at least 5"):
        load([{"prompt": f"say {n}", "completion": "a"} for n in range(3)])


# Replies


def decoded(texts: list[str], behind: list[str]) -> list[str]:
    tokenizer = characters()
    rows = tokenizer(texts, padding=True, return_tensors="np")["input_ids"].astype(float)
    encoded = Encoded({}, np.arange(len(texts)), {"behind": behind})
    return list(TASK.decode({"tokens": rows}, encoded, setup_of(tokenizer))["predicted"])


def test_what_a_template_puts_behind_a_completion_is_no_part_of_the_reply() -> None:
    assert decoded([" a b ###", "###", "ab ### c ###", "a</s>", "no end"], ["###"] * 5) == [
        "a b",
        "",
        "ab",
        "a",
        "no end",
    ]
    assert decoded(["a ###"], [""]) == ["a ###"]
    encoded = encode(setup_of(template=WITHOUT_PROMPT, max_length=100), "evaluate")
    assert encoded.notes == {"behind": ["###"] * 3}
