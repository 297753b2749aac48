"""The retriever as a model of Inspect: `lowland/retriever`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo
from rich.markup import escape

from lowland.ground.mistakes import Mistake, one_of
from lowland.stress.asking.inspect_internals import PrerequisiteError
from lowland.stress.asking.settings import RETRIEVER, USUAL_OF_RETRIEVER

if TYPE_CHECKING:
    from lowland.stress.asking.retriever import Reply

MODELS = (RETRIEVER.partition("/")[2],)
CONNECTIONS = USUAL_OF_RETRIEVER.max_connections


class ModelUnavailable(Mistake, PrerequisiteError):
    """Mistake that Inspect's command line, too, shows as a sentence instead of a traceback."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.message = escape(str(self))  # Inspect prints it with rich, which takes "[demo]" for a style


@dataclass(eq=False)
class _Pending:
    """A question that waits for its reply."""

    text: str
    reply: Reply | None = field(default=None)


@modelapi(name="lowland")
class LowlandAPI(ModelAPI):
    """Inspect provider whose model answers the last user message with the nearest fact.

    It ignores the other messages, tools and settings. Batches are computed one at a time. While one is computed, new
    questions queue up and form the next batch, of at most `CONNECTIONS`.

    Raises:
        ModelUnavailable: if the name is not `lowland/retriever`, an argument is given, or the embedding model cannot
            be loaded.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own signature
        **model_args: Any,
    ) -> None:
        if model_name not in MODELS:
            raise ModelUnavailable(one_of("model of the provider lowland", model_name, MODELS))
        if model_args:
            names = ", ".join(sorted(model_args))
            raise ModelUnavailable(f"lowland/{model_name} takes no arguments; leave out {names}")
        super().__init__(model_name, base_url, api_key, [], config)
        from lowland.stress.asking.retriever import load_retriever  # imports torch

        try:
            self.retriever = load_retriever()
        except Mistake as mistake:
            raise ModelUnavailable(*mistake.problems) from None
        self._turn = anyio.Lock()
        self._waiting: list[_Pending] = []

    def max_connections(self) -> int:
        """Return the number of questions in a good batch."""
        return CONNECTIONS

    def describe(self) -> dict[str, Any]:
        """Return the description of the model for a record."""
        return self.retriever.describe()

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Return the reply to the last user message, with the tokens of both as usage."""
        text = next((message.text for message in reversed(input) if message.role == "user"), "")
        reply = await self._reply(text)
        output = ModelOutput.from_content(f"lowland/{self.model_name}", reply.text)
        output_tokens = self.retriever.count_tokens(reply.text)
        output.usage = ModelUsage(
            input_tokens=reply.tokens,
            output_tokens=output_tokens,
            total_tokens=reply.tokens + output_tokens,
        )
        output.metadata = {"fact": reply.fact_id, "similarity": reply.similarity}
        return output

    async def _reply(self, text: str) -> Reply:
        mine = _Pending(text)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if mine.reply is None:
                    others = [
                        pending for pending in self._waiting if pending.reply is None and pending is not mine
                    ]
                    await anyio.to_thread.run_sync(self._answer, [mine, *others][:CONNECTIONS])
        finally:
            self._waiting.remove(mine)
        assert mine.reply is not None
        return mine.reply

    def _answer(self, batch: list[_Pending]) -> None:
        replies = self.retriever.answer([pending.text for pending in batch])
        for pending, reply in zip(batch, replies, strict=True):
            pending.reply = reply
