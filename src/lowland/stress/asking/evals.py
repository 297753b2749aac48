"""The stress tests as Inspect tasks: all conditions in one, a sample a question, scored by the answer.

    inspect eval lowland/messy --model anthropic/claude-… -T levels=heavy -T protect=both
    inspect eval lowland/multilingual --model ollama/llama3.2 -T limit=20

The arguments (`-T name=value`) are the fields of `Questionnaire`, and `data_sha256`, which pins what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log._samples import sample_active
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from lowland.ground.mistakes import Mistake
from lowland.stress.asking.budget import Gate, tokens_of
from lowland.stress.questions.items import Language, languages
from lowland.stress.questions.mitigations import is_unsure
from lowland.stress.questions.questionnaire import (
    Question,
    Questionnaire,
    content_sha256,
    questions,
    read_questionnaire,
)
from lowland.stress.replies.answers import match
from lowland.stress.replies.language import keeps, language_of, profiles_of

EPOCHS, TEMPERATURE, MAX_TOKENS = 3, 0.2, 512
REFUSED = {
    401: "the provider does not accept the key (401); set the right one in the environment",
    402: "the provider wants to be paid first (402)",
    403: "the provider does not allow it (403)",
    404: "the provider has no such model (404)",
}
"""HTTP answers after which asking on is pointless."""


@task
def messy(**given: Any) -> Task:
    """Questions with typing errors, odd spacing, look-alike letters, emoji and their like."""
    return _from_inspect("messy", given)


@task
def multilingual(**given: Any) -> Task:
    """The same short questions in English, Hindi, Hinglish and code-switched."""
    return _from_inspect("multilingual", given)


def stress_task(
    asked: Questionnaire,
    put: Sequence[Question],
    *,
    epochs: int = EPOCHS,
    gate: Gate | None = None,
    step: Callable[[], None] | None = None,
) -> Task:
    """The task of a questionnaire.

    Args:
        asked: the questionnaire.
        put: its questions.
        epochs: how often each is asked.
        gate: lets questions through; None lets all.
        step: is called whenever a question is done with.
    """
    return Task(
        name=asked.eval,
        dataset=MemoryDataset([sample_of(one) for one in put], name=f"lowland-{asked.eval}"),
        solver=_asking(gate or Gate(), step or (lambda: None), {one.id: tokens_of(one) for one in put}),
        scorer=_scoring({one.id: one for one in put}, spoken_in(asked)),
        config=GenerateConfig(temperature=TEMPERATURE, max_tokens=MAX_TOKENS),
        epochs=epochs,
        fail_on_error=0.05,
        metadata={"data_sha256": content_sha256(put)},
    )


def sample_of(one: Question) -> Sample:
    """A question as a sample: the text as it is sent, behind the system prompt."""
    messages: list[ChatMessage] = [] if one.system is None else [ChatMessageSystem(content=one.system)]
    return Sample(
        id=one.id,
        input=[*messages, ChatMessageUser(content=one.text)],
        target=list(one.item.answers),
        metadata=one.about,
    )


def refusal_of(error: BaseException) -> str | None:
    """Why asking on is pointless, if it is: the first error in the chain that a server gave for good."""
    for one in _chain(error):
        status = getattr(one, "status_code", None)
        if status in REFUSED:
            return REFUSED[status]
    return None


def is_no_reply(output: ModelOutput) -> bool:
    """Whether an output holds no reply of the model's: none at all, or an error dressed as one.

    Inspect returns HTTP 413 and prompts that are too long as a success with the error's text as content.
    """
    return output.empty or (output.stop_reason == "model_length" and output.error is not None)


def usage_of(usage: ModelUsage | None) -> tuple[int, int] | None:
    """Tokens sent, whether from a cache or not, and received."""
    if usage is None:
        return None
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return usage.input_tokens + cached, usage.output_tokens


def _from_inspect(name: str, given: dict[str, Any]) -> Task:
    pinned = given.pop("data_sha256", None)
    try:
        asked = read_questionnaire(name, given)
        put = questions(asked)
        found = content_sha256(put)
        if pinned not in (None, found):
            raise Mistake(
                f"the questions have the hash {found} and not data_sha256={pinned}; leave it out, or ask those"
            )
        return stress_task(asked, put)
    except Mistake as mistake:
        raise PrerequisiteError(str(mistake)) from None


def _asking(gate: Gate, step: Callable[[], None], tokens: dict[str, int]) -> Solver:
    """The solver; it is made anew for each run, with the run's gate, which no log can hold."""

    @solver(name="ask")
    def ask() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            estimated = tokens[str(state.sample_id)]
            gate.ask(estimated)
            before = _repeated()
            try:
                state = await generate(state)
            except Exception as error:
                if reason := refusal_of(error):
                    gate.stop(reason)
                raise
            finally:
                gate.repeated(_repeated() - before)
                step()
            gate.answered(estimated, usage_of(state.output.usage), told=not is_no_reply(state.output))
            return state

        return solve

    return ask()


def _scoring(put: dict[str, Question], spoken: dict[str, Language]) -> Scorer:
    profiles = profiles_of(spoken.values())

    @scorer(metrics=[accuracy(), stderr()], name="answer")
    def answer() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            if is_no_reply(state.output):
                raise RuntimeError(f"no reply: {state.output.error or 'the output is empty'}")
            one, reply = put[str(state.sample_id)], state.output.completion
            found = match(reply, one.item.answers, one.item.kind, one.item.question)
            unsure = is_unsure(reply)
            about: dict[str, Any] = {"near": found.near, "unsure": unsure, "language": "", "kept": None}
            if one.condition in spoken:
                about["language"] = language_of(reply, profiles)
                about["kept"] = keeps(reply, spoken[one.condition], profiles)
            right = found.right and not unsure
            return Score(value=1.0 if right else 0.0, answer=found.said, metadata=about)

        return score

    return answer()


def _repeated() -> int:
    """How often the connection has repeated requests of this sample by itself."""
    active = sample_active()
    return 0 if active is None else active.http_retries


def spoken_in(asked: Questionnaire) -> dict[str, Language]:
    """The languages of a questionnaire; none of the messy one, which is English."""
    if asked.eval != "multilingual":
        return {}
    return languages(None if asked.items is None else Path(asked.items))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
