"""Embedded model that needs neither a key nor a network: it answers with the nearest of its facts.

Nearness is the cosine of MiniLM sentence embeddings.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from lowland.ground.mistakes import Mistake, reason_of
from lowland.items import Fact, content_hash, facts
from lowland.models.find import find_model
from lowland.models.load import load_tokenizer
from lowland.models.packages import DEFAULT_MODEL
from lowland.models.positions import token_limit
from lowland.models.source import ModelSource
from lowland.stress.asking.settings import RETRIEVER

UNKNOWN = "I do not know."
MIN_SIMILARITY = 0.5
DEFAULT_MAX_LENGTH = 256
BATCH = 64


@dataclass(frozen=True)
class Reply:
    """Reply of the retriever to a text.

    Attributes:
        text: answer of the nearest fact, or `UNKNOWN`.
        fact_id: id of the nearest fact; None if the fact is not near enough.
        similarity: cosine of the text and the nearest fact, rounded to 4 places.
        tokens: number of tokens of the text that were read, including the special tokens at both ends.
    """

    text: str
    fact_id: str | None
    similarity: float
    tokens: int


class Retriever:
    """Answers a question with the answer of the fact whose question or sentence is nearest in meaning.

    Texts are embedded as all-MiniLM-L6-v2 was trained to (Reimers & Gurevych, 2019): the mean of the last layer over
    all tokens except padding, divided by its L2 norm. The retriever is not a language model: it cannot follow a
    prompt, and it answers nothing beyond its facts. It is deterministic. Replies are cached, so a text that is asked
    again, for example in another epoch, costs nothing.

    Attributes:
        source: folder and hash of the embedding model.
        facts: the facts.
        least: smallest cosine at which it answers.

    Raises:
        Mistake: if there are no facts.
    """

    def __init__(self, source: ModelSource, facts: Sequence[Fact], least: float = MIN_SIMILARITY) -> None:
        if not facts:
            raise Mistake("the retriever has no facts; give it at least one")
        self.source, self.facts, self.least = source, tuple(facts), least
        self.tokenizer = load_tokenizer(source.folder)
        self.model = _load_encoder(source)
        self.max_length = token_limit(self.tokenizer, self.model.config, DEFAULT_MAX_LENGTH)
        self._questions = self.embed([fact.question for fact in self.facts])  # (facts, width)
        self._sentences = self.embed([fact.fact for fact in self.facts])  # (facts, width)
        self._known: dict[str, Reply] = {}

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return sentence embeddings of L2 norm 1, float32, shape (texts, width)."""
        embeddings = torch.empty(len(texts), self.model.config.hidden_size)
        by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # needs little padding
        for start in range(0, len(texts), BATCH):
            rows = by_length[start : start + BATCH]
            embeddings[rows] = self._forward([texts[row] for row in rows])[0]
        return embeddings

    def answer(self, texts: Sequence[str]) -> list[Reply]:
        """Return one reply per text, in order."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            self._known.update(zip(batch, self._nearest(batch), strict=True))
        return [self._known[text] for text in texts]

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text, without special tokens."""
        return len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def describe(self) -> dict[str, Any]:
        """Return the description of the retriever for a record."""
        return {
            "name": RETRIEVER,
            "what": f"no language model: nearest neighbour over {len(self.facts)} facts",
            "facts": len(self.facts),
            "facts_sha256": content_hash(self.facts),
            "least_similarity": self.least,
            "embeddings": self.source.describe(),
        }

    @torch.inference_mode()
    def _nearest(self, texts: list[str]) -> list[Reply]:
        embeddings, tokens = self._forward(texts)  # (texts, width), (texts,)
        cosines = torch.maximum(
            embeddings @ self._questions.T, embeddings @ self._sentences.T
        )  # (texts, facts)
        best = cosines.max(dim=1)
        replies = []
        for cosine, row, count in zip(
            best.values.tolist(), best.indices.tolist(), tokens.tolist(), strict=True
        ):
            fact = self.facts[row] if cosine >= self.least else None
            text, fact_id = (fact.answer, fact.id) if fact else (UNKNOWN, None)
            replies.append(Reply(text, fact_id, round(cosine, 4), count))
        return replies

    @torch.inference_mode()
    def _forward(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return embeddings (texts, width), and the number of tokens read of each text (texts,)."""
        batch = self.tokenizer(
            texts, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
        )
        hidden = self.model(**batch).last_hidden_state  # (texts, tokens, width)
        mask = batch["attention_mask"]  # (texts, tokens)
        sums = (hidden * mask.unsqueeze(-1)).sum(dim=1)
        return normalize(sums / mask.sum(dim=1, keepdim=True), dim=1), mask.sum(dim=1)


@functools.cache
def load_retriever() -> Retriever:
    """Return the retriever over the packaged facts with the default model; it is loaded once per process.

    Raises:
        Mistake: if the model cannot be loaded.
    """
    return Retriever(find_model(DEFAULT_MODEL), facts())


def _load_encoder(source: ModelSource) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        return AutoModel.from_pretrained(source.folder, dtype=torch.float32).eval()
    except (OSError, ValueError, SafetensorError) as error:
        raise Mistake(f"{source.folder} holds no model that can embed texts ({reason_of(error)})") from None
