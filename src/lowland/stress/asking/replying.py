"""Prompts and replies of the provider `lowland`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Prompt:
    """A question as a model gets it.

    Attributes:
        text: the last message of the user.
        system: the system prompt, "" for none.
    """

    text: str
    system: str = ""


@dataclass(frozen=True)
class Reply:
    """Reply of a model.

    Attributes:
        text: the reply.
        tokens: number of tokens that were read, padding not counted.
        new_tokens: number of tokens of the reply.
        notes: what the log should know of the reply.
    """

    text: str
    tokens: int
    new_tokens: int
    notes: Mapping[str, Any] = field(default_factory=dict)


class Replying(Protocol):
    """A model in this process that answers in batches."""

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return the reply to each prompt."""

    def describe(self) -> dict[str, Any]:
        """Return what a record should know of the model."""
