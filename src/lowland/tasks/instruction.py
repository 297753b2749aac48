"""Instructions: a decoder reads a prompt and writes the completion. The loss is that of the completions' tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import AfterValidator

from lowland.ground.asked import Text, Truth
from lowland.ground.mistakes import Mistake
from lowland.models.language import keeps_examples_apart, load_language_model, outline_language_model
from lowland.models.load import LoadedModel
from lowland.tasks.decoder_batches import DecoderCollator, packed
from lowland.tasks.examples import Batch, Encoded, Outputs, Purpose, Setup, Split, TaskData, TaskFields
from lowland.tasks.generation import IGNORED, Generation, GenerationFields, check_targets, with_end
from lowland.tasks.readers.conversations import chats_to_answer, read_conversations, turns_of
from lowland.tasks.readers.files import FetchedTable, TablesOfFiles, read_tables
from lowland.tasks.readers.raw_table import RawTable
from lowland.tasks.splits import Roles, make_splits
from lowland.tasks.template import Written, check_template, write
from lowland.tasks.truncation import count_truncated

if TYPE_CHECKING:
    from torch import Tensor


class InstructionFields(GenerationFields):
    """A user's own prompts and completions, or chats."""

    prompt_column: Text = "prompt"
    """the column with the prompt; a file with `messages`, or with `instruction` and `output`, is read without it"""
    completion_column: Text = "completion"
    """the column with the completion"""
    template: Annotated[Text, AfterValidator(check_template)] | None = None
    """how a decoder reads an example: a text with the input columns in braces, such as "{text} Sentiment:" for --head
    verbalizer and "Q: {prompt} A:" for instructions, which also take a chat template in Jinja (docs/tasks.md says what
    is the default)"""
    packing: Truth = False
    """train on rows that hold several examples, which do not see each other"""


@dataclass(frozen=True)
class Instruction(Generation):
    """Prompts with completions, by decoders such as Gemma, Llama and GPT-2.

    Args:
        name: name of the data set.
        summary: one line for `lowland tasks`.
        read: function that reads a file into a table with the columns `history`, `prompt` and `completion`; None if it
            takes no file.
        fetch: function that returns the table and its source if no file is named; None if a file is needed.
    """

    read: TablesOfFiles | None = None
    fetch: FetchedTable | None = None

    fields: ClassVar[type[TaskFields]] = InstructionFields
    input_columns: ClassVar[tuple[str, ...]] = ("prompt",)
    context_columns: ClassVar[tuple[str, ...]] = ("history",)
    target_column: ClassVar[str] = "completion"

    def peft_task_type(self, fields: TaskFields) -> str:
        """Return PEFT's name for decoders."""
        return "CAUSAL_LM"

    def load(self, fields: TaskFields) -> TaskData:
        """Read a table and split it; the turns of a chat, and copies of a prompt, stay in one split."""
        table, source = read_tables(self.read, self.fetch, fields, "instruction")
        together = ("group",) if "group" in table.columns else None
        roles = Roles(("prompt",), label=None, targets=("history", "completion"), together=together)
        return make_splits(table, source, fields, roles=roles)

    def chats_in(self, table: RawTable, names: Mapping[str, str]) -> pd.DataFrame | None:
        """Return the columns `history`, `prompt` and `completion` of a file of chats; None for a table of texts."""
        return chats_to_answer(table, names["prompt"], names.get("completion", "completion"))

    def load_model(self, folder: Path, setup: Setup) -> LoadedModel:
        """Load a decoder with its language-model head.

        Raises:
            Mistake: if the folder holds none, or the rows should hold several examples and it does not separate them.
        """
        loaded = load_language_model(folder, "CAUSAL_LM")
        if _fields(setup).packing and not keeps_examples_apart(loaded.model):
            raise Mistake(
                f"packing is asked for, and the examples of a row would see each other in {folder}: a"
                f" {type(loaded.model).__name__} does not separate them by their positions; leave packing out"
            )
        return loaded

    def outline(self, folder: Path, fields: TaskFields) -> LoadedModel:
        """Build a decoder on the meta device, without weights."""
        return outline_language_model(folder, "CAUSAL_LM")

    def encode(self, columns: Mapping[str, Sequence[str]], setup: Setup, purpose: Purpose) -> Encoded:
        """Tokenize prompts and completions.

        Each completion ends with the tokenizer's end of text. To train, examples without any token of the completion
        within `max_length` are left out; to predict, the end of a long prompt is kept.
        """
        pairs, notes = _pairs(columns, setup, purpose)
        length = setup.max_length
        sizes = [len(prompt) + len(completion) for prompt, completion in pairs]
        truncation = count_truncated(
            [min(size, length) for size in sizes], length, lambda places: [sizes[place] for place in places]
        )
        examples = np.arange(len(pairs))
        if purpose == "predict":
            rows: dict[str, list[Any]] = {"input_ids": [prompt[-length:] for prompt, _ in pairs]}
            return Encoded(rows, examples, notes, truncation)
        rows = {
            "input_ids": [(prompt + completion)[:length] for prompt, completion in pairs],
            "labels": [([IGNORED] * len(prompt) + completion)[:length] for prompt, completion in pairs],
        }
        without = [number for number, (prompt, _) in enumerate(pairs) if len(prompt) >= length]
        if (
            purpose == "train"
        ):  # a test set is read after training; a long example in it must not cost the run
            check_targets(len(without), len(pairs), "completion", length)
        truncation = replace(truncation, without_target=len(without))
        if purpose == "evaluate":
            rows["prompt_ids"] = [prompt[-length:] for prompt, _ in pairs]
            return Encoded(rows, examples, notes, truncation)
        kept = np.setdiff1d(examples, without)
        rows = {name: [values[number] for number in kept] for name, values in rows.items()}
        if _fields(setup).packing:
            rows, places = packed(rows, length)
            kept = kept[places]
        return Encoded(rows, kept, truncation=truncation)

    def collator(self, setup: Setup, model: Any = None) -> Callable[[list[dict[str, Any]]], Batch]:
        """Pad at the left, so that all completions end in the last column."""
        return DecoderCollator(setup.tokenizer.pad_token_id, model)

    def prompt_of(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the prompts to generate from."""
        if "labels" not in batch:
            return super().prompt_of(batch)
        return {name: batch.pop(f"prompt_{name}") for name in ("input_ids", "attention_mask")}

    def shifted(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of each position and the token that follows."""
        return logits[:, :-1], labels[:, 1:]

    def decode(self, outputs: Outputs, encoded: Encoded, setup: Setup) -> pd.DataFrame:
        """Turn tokens into `predicted`, without what the template puts behind a completion."""
        answers = super().decode(outputs, encoded, setup)
        pairs = zip(answers["predicted"], encoded.notes["behind"], strict=True)
        return answers.assign(
            predicted=[text.split(behind)[0].strip() if behind else text for text, behind in pairs]
        )


class ShortAnswers(Instruction):
    """Questions with short answers, scored by the matcher of the stress tests.

    It forgives differences in writing, but not another answer; see `lowland.replies.answers`.
    """

    scores: ClassVar[tuple[str, ...]] = ("accuracy", "exact_match", "perplexity")
    mean_score: ClassVar[str] = "accuracy"

    def score_examples(self, split: Split, answers: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return 1 for a reply that gives the answer, else 0."""
        from lowland.replies.answers import is_right

        rows = zip(answers["predicted"], split["completion"], split["prompt"], strict=True)
        return np.array([is_right(reply, answer, question) for reply, answer, question in rows], np.float64)

    def summarise(self, split: Split, answers: pd.DataFrame) -> dict[str, float]:
        """Return the share of right replies, then the scores of every generation."""
        exact = super().score_examples(split, answers)
        return {
            "accuracy": float(self.score_examples(split, answers).mean()),
            **self.likelihood(exact, answers),
        }


def read_own_instructions(path: Path, fields: TaskFields) -> pd.DataFrame:
    """Read a user's prompts and completions, or chats."""
    assert isinstance(fields, InstructionFields)
    return read_conversations(
        path,
        fields.prompt_column,
        fields.completion_column,
        fields.split_column,
        separator=fields.separator,
        header=not fields.no_header,
    )


def packaged_facts() -> tuple[pd.DataFrame, str]:
    """Return the embedded retriever's facts as questions with answers, without those behind a stress test's items."""
    from lowland.items import facts

    known = [fact for fact in facts() if not fact.item]
    rows = [{"history": "", "prompt": fact.question, "completion": fact.answer} for fact in known]
    return pd.DataFrame(rows), "lowland, facts.jsonl"


Tokens = tuple[list[int], list[int]]
"""Tokens of a prompt, and of its completion."""


def _pairs(
    columns: Mapping[str, Sequence[str]], setup: Setup, purpose: Purpose
) -> tuple[list[Tokens], dict[str, list[str]]]:
    """Return the tokens of each prompt and of its completion (none to predict), and notes for decoding."""
    prompts = columns["prompt"]
    histories = columns.get("history", [""] * len(prompts))
    template, tokenizer = _fields(setup).template, setup.tokenizer
    completions = [""] * len(prompts) if purpose == "predict" else columns["completion"]
    texts = [
        write(turns_of(history, prompt), completion, template, tokenizer)
        for history, prompt, completion in zip(histories, prompts, completions, strict=True)
    ]
    notes = {"behind": [text.behind for text in texts]}
    special = not texts[0].is_whole if texts else True
    start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    before = [ids or [start] for ids in _tokens([text.prompt for text in texts], tokenizer, special)]
    if purpose == "predict":
        return [(prompt, []) for prompt in before], notes
    whole = _tokens([text.prompt + text.completion for text in texts], tokenizer, special)
    pairs = zip(texts, before, whole, strict=True)
    return [
        (prompt, with_end(_completion(text, prompt, ids, tokenizer), tokenizer))
        for text, prompt, ids in pairs
    ], notes


def _completion(text: Written, prompt: list[int], whole: list[int], tokenizer: Any) -> list[int]:
    """Return the tokens of a completion: what follows the prompt's, where these begin the whole text's."""
    if whole[: len(prompt)] == prompt:
        return whole[len(prompt) :]
    return _tokens([text.completion], tokenizer, special=False)[0]


def _tokens(texts: list[str], tokenizer: Any, special: bool) -> list[list[int]]:
    """Return the tokens of texts, without an end of text."""
    if not texts:
        return []
    end = tokenizer.eos_token_id
    rows = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
    return [list(ids[:-1]) if special and len(ids) > 1 and ids[-1] == end else list(ids) for ids in rows]


def _fields(setup: Setup) -> InstructionFields:
    assert isinstance(setup.fields, InstructionFields)
    return setup.fields
