"""Generation: the model writes a text, token by token. What text-to-text and instruction tasks share."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from lowland.ground.asked import Whole
from lowland.ground.mistakes import Mistake, plural
from lowland.models.language import generate
from lowland.tasks.base import Task
from lowland.tasks.examples import Batch, Encoded, Outputs, Setup, Split, TaskFields, Tokenizer
from lowland.tasks.readers.files import OwnTextFileFields

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""Target of a token that has no loss, and padding of outputs."""
MAX_WITHOUT_TARGET = 0.01
"""Largest share of examples whose target may be cut off entirely."""
FEW = 10
"""Number of examples below which equal predictions for all of them mean little."""


class GenerationFields(OwnTextFileFields):
    """A user's own file of texts to read and texts to write."""

    max_new_tokens: Annotated[Whole, Field(ge=1)] = 64
    """largest number of tokens to generate"""


@dataclass(frozen=True)
class Generation(Task):
    """A task whose model generates a text, greedily.

    A text is compared with its target after `written_alike`; exact match is the score that methods are compared by.

    Args:
        name: name of the data set.
        summary: one line for `lowland tasks`.
    """

    name: str
    summary: str

    fields: ClassVar[type[TaskFields]] = GenerationFields
    scores: ClassVar[tuple[str, ...]] = ("exact_match", "perplexity")
    mean_score: ClassVar[str] = "exact match"

    def infer(self, model: Any, batch: Batch, setup: Setup) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return the mean loss, and row by row: `tokens` that the model generates, `nll` and `count` of the target.

        `nll` (n,) is the target's negative log-likelihood in nats, summed over its `count` (n,) tokens; a batch without
        labels has neither.
        """
        import torch

        batch = dict(batch)
        prompt = self.prompt_of(batch)
        loss: Tensor | None = None
        outputs: dict[str, Tensor] = {}
        if "labels" in batch:
            outputs = _likelihood(*self.shifted(model(**batch).logits, batch["labels"]))
            count = outputs["count"].sum().clamp(min=1)  # a batch may have no target at all
            loss = outputs["nll"].sum() / count
        plain = model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model
        written = generate(plain, prompt, setup.tokenizer, _fields(setup).max_new_tokens)
        return loss, {"tokens": written, **outputs}

    def prompt_of(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what to generate from; take it out of the batch if it is not what the forward pass reads."""
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def shifted(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, tokens, vocabulary), and the token (n, tokens) that each is for."""
        return logits, labels

    def decode(self, outputs: Outputs, encoded: Encoded, setup: Setup) -> pd.DataFrame:
        """Turn tokens into `predicted`, with `nll` and `count` if the targets were known."""
        tokens = outputs["tokens"].astype(np.int64)
        tokens[tokens < 0] = setup.tokenizer.pad_token_id
        texts = setup.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        columns = {name: outputs[name] for name in ("nll", "count") if name in outputs}
        return pd.DataFrame({"predicted": [text.strip() for text in texts], **columns})

    def score_examples(self, split: Split, answers: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return 1 for a text that is the target, else 0."""
        pairs = zip(answers["predicted"], split[self.target_column], strict=True)
        return np.array([written_alike(text) == written_alike(target) for text, target in pairs], np.float64)

    def summarise(self, split: Split, answers: pd.DataFrame) -> dict[str, float]:
        """Return the share of exact matches, and the perplexity of a target's token: exp(Σ nll / Σ count).

        A lower perplexity is better; without `nll` there is none.
        """
        return self.likelihood(self.score_examples(split, answers), answers)

    def likelihood(self, exact: npt.NDArray[np.float64], answers: pd.DataFrame) -> dict[str, float]:
        """Return the scores of exact matches (n,) and of the targets' likelihood."""
        scores = {"exact_match": float(exact.mean())}
        if "nll" in answers:
            with np.errstate(over="ignore", invalid="ignore"):  # NaN where no target is left
                scores["perplexity"] = float(np.exp(answers["nll"].sum() / answers["count"].sum()))
        return scores

    def baseline(self, train: Split, split: Split) -> tuple[str, pd.DataFrame] | None:
        """Write the most frequent target of the training examples for every example."""
        text = Counter(train[self.target_column]).most_common(1)[0][0]
        return "most frequent", pd.DataFrame({"predicted": [text] * len(split)})

    def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:
        """Warn if the model writes nothing, or the same for all examples, although they have several targets."""
        texts = set(answers["predicted"])
        if len(texts) > 1 or len(set(split[self.target_column])) == 1 or len(split) < FEW:
            return ()
        (text,) = texts
        what = f"'{text[:60]}'" if text else "nothing"
        return [f"the model writes {what} for every example; try a higher lr or more epochs"]


def written_alike(text: str) -> str:
    """Return a text in Unicode's NFC, with single spaces and none at its ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def check_targets(cut: int, examples: int, what: str, max_length: int) -> None:
    """Check how many examples have no target, because nothing of it fits into `max_length` tokens.

    Raises:
        Mistake: if it is more than `MAX_WITHOUT_TARGET` of them.
    """
    if cut > MAX_WITHOUT_TARGET * examples:
        raise Mistake(
            f"{plural(cut, 'example')} of {examples:,} ({cut / examples:.0%}) have a {what} that is cut off entirely:"
            f" what comes before it has {max_length} tokens or more; give a larger max_length or shorter texts"
        )


def with_end(ids: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """Return a target's tokens with the token that ends a text, so that the model learns to stop.

    Raises:
        Mistake: if the tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise Mistake("the tokenizer has no token that ends a text; give it an eos_token and save it")
    return list(ids) if ids and ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]


def _fields(setup: Setup) -> GenerationFields:
    assert isinstance(setup.fields, GenerationFields)
    return setup.fields


def _likelihood(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return `nll` and `count` (n,) of logits (n, tokens, vocabulary) and targets (n, tokens)."""
    from torch.nn.functional import cross_entropy

    counted = targets != IGNORED
    losses = [  # row by row: a vocabulary may have 262,144 entries, and float32 twice the size of bf16
        cross_entropy(row[mask].float(), target[mask], reduction="sum")
        for row, target, mask in zip(logits, targets, counted, strict=True)
    ]
    import torch

    return {"nll": torch.stack(losses), "count": counted.sum(-1)}
