"""Batches for decoders: neither padding nor packing changes what an example is worth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from lowland.tasks.decoder_batches import DecoderCollator, packed
from lowland.tasks.examples import Setup
from lowland.tasks.generation import IGNORED
from lowland.tasks.table import TASKS, task_fields
from tests.language_models import DECODERS, PAD, WINDOW, characters, language_model

FAMILIES = (*DECODERS, "opt", "bloom")
EXAMPLES = [(5, 3), (1, 2), (9, 6), (2, 1), (7, 4), (3, 8)]
"""Numbers of tokens of prompts and completions."""
LONGEST = 20


def rows_of(sizes: list[tuple[int, int]]) -> dict[str, list[list[int]]]:
    """Random examples."""
    numbers = torch.Generator().manual_seed(0)
    ids = [torch.randint(4, 90, (before + own,), generator=numbers).tolist() for before, own in sizes]
    labels = [[IGNORED] * before + row[before:] for (before, _), row in zip(sizes, ids, strict=True)]
    return {"input_ids": ids, "labels": labels}


def as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [
        {name: values[row] for name, values in columns.items()} for row in range(len(columns["input_ids"]))
    ]


def likelihoods(model: Any, rows: dict[str, list[list[int]]]) -> list[Tensor]:
    """The oracle: the losses (tokens,) of each completion, each example alone, without mask and padding."""
    losses = []
    for ids, labels in zip(rows["input_ids"], rows["labels"], strict=True):
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
        losses.append(cross_entropy(logits, torch.tensor(labels[1:]), reduction="none"))
    return [loss[loss != 0] for loss in losses]


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=2e-6, rtol=1e-3, msg=name)


class Plain(torch.nn.Module):
    """A model whose forward pass takes neither positions nor the number of logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, labels=labels)


class WithPositions(Plain):
    """A model whose forward pass takes positions, but not the number of logits."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, labels: Tensor) -> Any:
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, labels=labels
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_has_the_loss_and_the_gradients_of_its_examples_alone(family: str) -> None:
    model, rows = language_model(family), rows_of(EXAMPLES)
    alone = torch.cat(likelihoods(model, rows))
    assert len(alone) == sum(own for _, own in EXAMPLES)
    expected = gradients(model, alone.mean())
    batch = DecoderCollator(PAD, model)(as_rows(rows))
    assert batch["labels"].shape[1] == batch["logits_to_keep"] < batch["input_ids"].shape[1]
    answer = model(**batch)
    assert answer.logits.shape[1] == batch["logits_to_keep"]
    torch.testing.assert_close(answer.loss, alone.mean(), atol=1e-5, rtol=1e-5)
    assert_same_gradients(gradients(model, answer.loss), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_likelihood_of_an_example_does_not_depend_on_its_batch(family: str) -> None:
    model, rows = language_model(family), rows_of(EXAMPLES)
    task, setup = TASKS["instruction"], Setup(task_fields("instruction", max_new_tokens=2), characters(), 40)
    prompts = [
        [token for token, label in zip(ids, labels, strict=True) if label == IGNORED]
        for ids, labels in zip(rows["input_ids"], rows["labels"], strict=True)
    ]
    every = as_rows({**rows, "prompt_ids": prompts})
    alone = likelihoods(model, rows)
    for size in (1, 2, len(every)):
        for start in range(0, len(every), size):
            batch = DecoderCollator(PAD, model)(every[start : start + size])
            with torch.no_grad():
                loss, outputs = task.infer(model, batch, setup)
            wanted = alone[start : start + size]
            torch.testing.assert_close(outputs["nll"], torch.stack([each.sum() for each in wanted]))
            assert outputs["count"].tolist() == list(map(len, wanted))
            torch.testing.assert_close(loss, torch.cat(wanted).mean())


@pytest.mark.parametrize(("family", "wrapper"), [("bloom", Plain), ("gpt2", WithPositions)])
def test_a_model_gets_only_the_arguments_that_it_takes(family: str, wrapper: type[Plain]) -> None:
    model, rows = wrapper(language_model(family)), rows_of(EXAMPLES)
    loss = model(**DecoderCollator(PAD, model)(as_rows(rows))).loss
    alone = torch.cat(likelihoods(model.model, rows))
    torch.testing.assert_close(loss, alone.mean(), atol=1e-5, rtol=1e-5)


def test_without_a_model_a_batch_has_the_logits_of_all_tokens() -> None:
    batch = DecoderCollator(PAD)(as_rows(rows_of(EXAMPLES)))
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert batch["labels"].shape == batch["input_ids"].shape == (len(EXAMPLES), 15)


def test_rows_are_padded_at_the_left() -> None:
    model = language_model("llama")
    rows = {
        "input_ids": [[7, 8], [4, 5, 6]],
        "labels": [[IGNORED, 8], [IGNORED, IGNORED, 6]],
        "prompt_ids": [[7], [4, 5]],
    }
    batch = DecoderCollator(PAD, model)(as_rows(rows))
    assert {name: value if isinstance(value, int) else value.tolist() for name, value in batch.items()} == {
        "input_ids": [[PAD, 7, 8], [4, 5, 6]],
        "attention_mask": [[0, 1, 1], [1, 1, 1]],
        "position_ids": [[0, 0, 1], [0, 1, 2]],
        "labels": [[IGNORED, 8], [IGNORED, 6]],
        "logits_to_keep": 2,
        "prompt_input_ids": [[PAD, 7], [4, 5]],
        "prompt_attention_mask": [[0, 1], [1, 1]],
    }


@pytest.mark.parametrize("family", DECODERS)
def test_examples_in_one_row_are_worth_what_they_are_alone(family: str) -> None:
    model, rows = language_model(family), rows_of(EXAMPLES)
    assert LONGEST > 2 * WINDOW  # Gemma's sliding window covers a part of a row
    alone = likelihoods(model, rows)
    expected = gradients(model, torch.cat(alone).mean())
    columns, _ = packed(rows, LONGEST)
    assert len(columns["input_ids"]) < len(EXAMPLES)
    batch = DecoderCollator(PAD, model)(as_rows(columns))
    assert batch["input_ids"].shape[0] > 1
    answer = model(**batch)
    losses = cross_entropy(answer.logits[:, :-1].transpose(1, 2), batch["labels"][:, 1:], reduction="none")
    torch.testing.assert_close(
        losses[losses != 0].sort().values, torch.cat(alone).sort().values, atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(answer.loss, torch.cat(alone).mean(), atol=1e-5, rtol=1e-5)
    assert_same_gradients(gradients(model, answer.loss), expected)


@pytest.mark.parametrize("family", DECODERS)
def test_the_logits_of_a_packed_row_are_those_of_its_examples_alone(family: str) -> None:
    model, rows = language_model(family), rows_of(EXAMPLES)
    columns, _ = packed(rows, 100)
    (ids,) = columns["input_ids"]
    assert ids == [token for row in rows["input_ids"] for token in row]
    with torch.no_grad():
        batch = DecoderCollator(PAD, model)(as_rows(columns))
        logits = model(**batch).logits[0].split([sum(sizes) for sizes in EXAMPLES])
        for row, values in zip(rows["input_ids"], logits, strict=True):
            torch.testing.assert_close(
                values, model(input_ids=torch.tensor([row])).logits[0], atol=1e-5, rtol=1e-4
            )


def test_a_family_that_would_look_across_examples_does() -> None:
    """The reason why `packing` is refused for OPT."""
    model, rows = language_model("opt"), rows_of(EXAMPLES)
    columns, _ = packed(rows, 100)
    with torch.no_grad():
        loss = model(**DecoderCollator(PAD, model)(as_rows(columns))).loss
        assert abs(float(loss - torch.cat(likelihoods(model, rows)).mean())) > 1e-4


sizes = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=1, max_size=30)


@given(sizes=sizes, length=st.integers(16, 40))
def test_packing_loses_no_example_keeps_their_order_and_makes_no_row_too_long(
    sizes: list[tuple[int, int]], length: int
) -> None:
    rows = rows_of(sizes)
    columns, first = packed(rows, length)
    assert columns.keys() == {"input_ids", "labels", "position_ids"}
    separate: list[tuple[list[int], list[int]]] = []
    for ids, labels, positions in zip(*columns.values(), strict=True):
        assert len(ids) == len(labels) == len(positions) <= length
        starts = [place for place, position in enumerate(positions) if position == 0]
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            assert positions[start:end] == list(range(end - start))
            separate.append((ids[start:end], labels[start:end]))
    assert sorted(separate) == sorted(zip(rows["input_ids"], rows["labels"], strict=True))
    assert first.tolist() == sorted(first.tolist())
    for ids, number in zip(columns["input_ids"], first, strict=True):
        assert ids[: len(rows["input_ids"][number])] == rows["input_ids"][number]
    assert len(columns["input_ids"]) <= 2 * -(-sum(map(sum, sizes)) // length)  # as first-fit promises


def test_an_example_goes_into_the_first_row_that_has_room() -> None:
    rows = {
        "input_ids": [[1] * 6, [2] * 6, [3] * 4, [4] * 3, [5]],
        "labels": [[0] * 6, [0] * 6, [0] * 4, [0] * 3, [0]],
    }
    columns, first = packed(rows, 10)
    assert [sorted(set(ids)) for ids in columns["input_ids"]] == [[1, 3], [2, 4, 5]]
    assert first.tolist() == [0, 1]
