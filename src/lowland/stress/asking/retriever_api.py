"""The retriever as a model of Inspect's: `lowland/retriever`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo
from rich.markup import escape

from lowland.ground.mistakes import Mistake, one_of

if TYPE_CHECKING:
    from lowland.stress.asking.retriever import Reply

MODELS = ("retriever",)
CONNECTIONS = 64


class NotToBeHad(Mistake, PrerequisiteError):
    """A mistake that Inspect's command line, too, shows as a sentence and not as a traceback."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.message = escape(str(self))  # Inspect prints it with rich, which takes "[demo]" for a style


@dataclass(eq=False)
class _Asked:
    """A question that waits for its reply."""

    text: str
    reply: Reply | None = field(default=None)


@modelapi(name="lowland")
class LowlandAPI(ModelAPI):
    """Answers the last user message with the nearest fact; all else that it is given, it cannot use.

    One thread computes. Whoever gets its turn there takes along all questions that came while the one before was
    computing: batches form by themselves, and a single question waits for nobody.

    Raises:
        NotToBeHad: for another name than `lowland/retriever`, an argument that it does not know, or where its
            embeddings cannot be had.
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
            raise NotToBeHad(one_of("model of the provider lowland", model_name, MODELS))
        if given := sorted(model_args):
            raise NotToBeHad(f"lowland/{model_name} takes no arguments; leave out {', '.join(given)}")
        super().__init__(model_name, base_url, api_key, [], config)
        from lowland.stress.asking.retriever import load_retriever  # torch, only where it is wanted

        try:
            self.retriever = load_retriever()
        except Mistake as mistake:
            raise NotToBeHad(*mistake.problems) from None
        self._turn = anyio.Lock()
        self._waiting: list[_Asked] = []

    def max_connections(self) -> int:
        """As many as make a good batch."""
        return CONNECTIONS

    def describe(self) -> dict[str, Any]:
        """What it is, without flattery."""
        return self.retriever.describe()

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The reply to the last user message, with the tokens of both as usage."""
        text = next((message.text for message in reversed(input) if message.role == "user"), "")
        reply = await self._reply(text)
        output = ModelOutput.from_content(f"lowland/{self.model_name}", reply.text)
        said = self.retriever.count_tokens(reply.text)
        output.usage = ModelUsage(
            input_tokens=reply.tokens, output_tokens=said, total_tokens=reply.tokens + said
        )
        output.metadata = {"fact": reply.fact_id, "similarity": reply.similarity}
        return output

    async def _reply(self, text: str) -> Reply:
        mine = _Asked(text)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if mine.reply is None:
                    others = [one for one in self._waiting if one.reply is None and one is not mine]
                    await anyio.to_thread.run_sync(self._answer, [mine, *others][:CONNECTIONS])
        finally:
            self._waiting.remove(mine)
        assert mine.reply is not None
        return mine.reply

    def _answer(self, asked: list[_Asked]) -> None:
        for one, reply in zip(asked, self.retriever.answer([one.text for one in asked]), strict=True):
            one.reply = reply
