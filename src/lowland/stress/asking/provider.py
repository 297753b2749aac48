"""Lowland's provider of Inspect: `lowland/retriever`, and language models on this machine, `lowland/gemma-3-270m`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo
from rich.markup import escape

from lowland.ground.mistakes import Mistake
from lowland.ground.names import nearest
from lowland.stress.asking.inspect_internals import PrerequisiteError
from lowland.stress.asking.replying import Prompt, Reply, Replying
from lowland.stress.asking.settings import GEMMA, PROVIDER, RETRIEVER, USUAL_OF_LOWLAND

if TYPE_CHECKING:
    from lowland.stress.asking.retriever import Retriever

CONNECTIONS = USUAL_OF_LOWLAND.max_connections


class ModelUnavailable(Mistake, PrerequisiteError):
    """Mistake that Inspect's command line, too, shows as a sentence instead of a traceback."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.message = escape(str(self))  # Inspect prints it with rich, which takes "[demo]" for a style


class RetrieverModel:
    """The retriever as a model of this provider; it reads the user's text alone."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return the nearest fact's answer to each prompt."""
        return [
            Reply(
                reply.text,
                reply.tokens,
                self.retriever.count_tokens(reply.text),
                {"fact": reply.fact_id, "similarity": reply.similarity},
            )
            for reply in self.retriever.answer([prompt.text for prompt in prompts])
        ]

    def describe(self) -> dict[str, Any]:
        """Return what a record should know of the retriever."""
        return self.retriever.describe()


@dataclass(eq=False)
class _Pending:
    """A prompt that waits for its reply."""

    prompt: Prompt
    reply: Reply | None = field(default=None)


@modelapi(name="lowland")
class LowlandAPI(ModelAPI):
    """Inspect provider whose models answer in this process: the retriever, or a decoder.

    A model gets the last message of the user and the system prompt; other messages, tools and settings are ignored.
    Batches are computed one at a time. While one is computed, new questions queue up and form the next batch, of at
    most `CONNECTIONS`.

    The argument `adapter` is the folder of a run of an instruction task: the decoder as that run has trained it.

    Raises:
        ModelUnavailable: if the model cannot be loaded, or an argument is unknown.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own signature
        **model_args: Any,
    ) -> None:
        try:
            self.model = _load(model_name, model_args)
        except Mistake as mistake:
            raise ModelUnavailable(*mistake.problems) from None
        super().__init__(model_name, base_url, api_key, [], config)
        self._turn = anyio.Lock()
        self._waiting: list[_Pending] = []

    def max_connections(self) -> int:
        """Return the number of questions in a good batch."""
        return CONNECTIONS

    def describe(self) -> dict[str, Any]:
        """Return the description of the model for a record."""
        return self.model.describe()

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Return the reply to the last user message, with the tokens of both as usage."""
        text = next((message.text for message in reversed(input) if message.role == "user"), "")
        system = "\n".join(message.text for message in input if message.role == "system")
        reply = await self._reply(Prompt(text, system))
        output = ModelOutput.from_content(f"lowland/{self.model_name}", reply.text)
        output.usage = ModelUsage(
            input_tokens=reply.tokens,
            output_tokens=reply.new_tokens,
            total_tokens=reply.tokens + reply.new_tokens,
        )
        output.metadata = dict(reply.notes)
        return output

    async def _reply(self, prompt: Prompt) -> Reply:
        mine = _Pending(prompt)
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
        replies = self.model.answer([pending.prompt for pending in batch])
        for pending, reply in zip(batch, replies, strict=True):
            pending.reply = reply


def _load(name: str, arguments: dict[str, Any]) -> Replying:
    """Load the model of a name, with the provider's arguments."""
    is_retriever = name == RETRIEVER.partition("/")[2]
    allowed = () if is_retriever else ("adapter",)
    if unknown := sorted(set(arguments) - set(allowed)):
        takes = f"only {', '.join(allowed)}" if allowed else "no arguments"
        raise Mistake(f"lowland/{name} takes {takes}; leave out {', '.join(unknown)}")
    if is_retriever:
        from lowland.stress.asking.retriever import load_retriever  # imports torch

        return RetrieverModel(load_retriever())
    from lowland.stress.asking.generator import load_generator  # imports torch

    adapter = arguments.get("adapter")
    try:
        return load_generator(name, None if adapter is None else Path(adapter))
    except Mistake as mistake:
        meant = nearest(name, [model.partition("/")[2] for model in (RETRIEVER, GEMMA)])
        hint = f"; did you mean '{PROVIDER}/{meant}'?" if meant not in (None, name) else ""
        raise Mistake(*(f"{problem}{hint}" for problem in mistake.problems)) from None
