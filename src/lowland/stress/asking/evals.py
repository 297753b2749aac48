"""The stress tests as Inspect tasks: one sample per question of all conditions, scored by its correct answers.

    inspect eval lowland/messy --model anthropic/claude-… -T levels=heavy -T protect=both
    inspect eval lowland/multilingual --model ollama/llama3.2 --limit 100

The arguments (`-T name=value`) are the fields of `MessyQuestionnaire` and `MultilingualQuestionnaire`. The argument
`data_sha256` pins the questions: the task refuses to start if they have another hash. The samples are in a mixed order,
so that Inspect's `--limit` takes a fair sample of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
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
from lowland.items import Language
from lowland.replies.answers import match
from lowland.replies.language import keeps, language_of, profiles_of
from lowland.replies.unsure import is_unsure
from lowland.stress.asking.budget import Budget, tokens_of
from lowland.stress.asking.inspect_internals import PrerequisiteError, active_model
from lowland.stress.asking.repetitions import counting_repetitions
from lowland.stress.asking.settings import MAX_FAILED, USUAL, AskingSettings
from lowland.stress.questions.order import mixed
from lowland.stress.questions.questionnaire import (
    MessyQuestionnaire,
    MultilingualQuestionnaire,
    Question,
    Questionnaire,
    content_sha256,
)

REFUSED = {
    401: "the provider does not accept the key (401); set the right one in the environment",
    402: "the provider demands payment first (402)",
    403: "the provider denies access (403)",
    404: "the provider does not have this model (404)",
}
"""HTTP statuses after which further requests are pointless."""


@task
def messy(**arguments: Any) -> Task:
    """Build the task of short questions with typing errors, odd spacing, look-alike letters, emoji and the like."""
    return _task_for_inspect(MessyQuestionnaire, arguments)


@task
def multilingual(**arguments: Any) -> Task:
    """Build the task of short questions in English, Hindi, Hinglish and code-switched."""
    return _task_for_inspect(MultilingualQuestionnaire, arguments)


def stress_task(
    questionnaire: Questionnaire,
    questions: Sequence[Question],
    settings: AskingSettings | None = None,
    *,
    budget: Budget | None = None,
    step: Callable[[], None] | None = None,
    mix: bool = False,
) -> Task:
    """Build the Inspect task of a questionnaire.

    Args:
        questionnaire: the questionnaire.
        questions: its questions.
        settings: epochs, temperature and length of the replies; None for the defaults.
        budget: stops the task at its limits; None for no limits.
        step: called after every question.
        mix: put the samples into the order of `mixed`; otherwise those of an item are together.
    """
    settings = settings or AskingSettings(epochs=USUAL.epochs)
    tokens = {question.id: tokens_of(question) for question in questions}
    return Task(
        name=questionnaire.eval,
        dataset=MemoryDataset(
            [sample_of(question) for question in (mixed(questions) if mix else questions)],
            name=f"lowland-{questionnaire.eval}",
        ),
        solver=_asking(budget or Budget(), step or (lambda: None), tokens),
        scorer=_scoring(
            {question.id: question for question in questions}, questionnaire.languages_to_check()
        ),
        config=GenerateConfig(temperature=settings.temperature, max_tokens=settings.max_tokens),
        epochs=settings.epoch_count,
        fail_on_error=MAX_FAILED,
        metadata={"data_sha256": content_sha256(questions)},
    )


def sample_of(question: Question) -> Sample:
    """Return the question as an Inspect sample: the system prompt, then the text as it is sent."""
    messages: list[ChatMessage] = []
    if question.system is not None:
        messages.append(ChatMessageSystem(content=question.system))
    return Sample(
        id=question.id,
        input=[*messages, ChatMessageUser(content=question.text)],
        target=list(question.item.answers),
        metadata=question.metadata,
    )


def refusal_of(error: BaseException) -> str | None:
    """Return why further requests are pointless, or None if they are not.

    The reason is the first HTTP status of `REFUSED` in the chain of errors.
    """
    for cause in _chain(error):
        status = getattr(cause, "status_code", None)
        if status in REFUSED:
            return REFUSED[status]
    return None


def has_no_reply(output: ModelOutput) -> bool:
    """Return whether an output contains no reply of the model.

    Such an output is empty or contains an error as its text: Inspect returns HTTP 413 and prompts beyond the model's
    length as a success whose content is the error's text.
    """
    return output.empty or (output.stop_reason == "model_length" and output.error is not None)


def usage_of(usage: ModelUsage | None) -> tuple[int, int] | None:
    """Return the numbers of tokens sent (cached tokens included) and received."""
    if usage is None:
        return None
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return usage.input_tokens + cached, usage.output_tokens


def _task_for_inspect(kind: type[Questionnaire], arguments: Mapping[str, Any]) -> Task:
    """Build a task from arguments of Inspect's command line, which shows a `PrerequisiteError` as a sentence."""
    fields = {name: value for name, value in arguments.items() if value is not None}
    pinned = fields.pop("data_sha256", None)
    try:
        questionnaire = kind(**fields)
        questions = questionnaire.questions()
        sha256 = content_sha256(questions)
        if pinned not in (None, sha256):
            raise Mistake(
                f"the questions have the hash {sha256}, not data_sha256={pinned}; leave data_sha256 out, or use the"
                " questions that it belongs to"
            )
        return stress_task(questionnaire, questions, _settings_in_inspect(), mix=True)
    except Mistake as mistake:
        raise PrerequisiteError(str(mistake)) from None


def _settings_in_inspect() -> AskingSettings:
    """Return the default settings for the model that Inspect is about to ask; Inspect's own options replace them."""
    model = active_model()
    return AskingSettings(epochs=USUAL.epochs) if model is None else AskingSettings(model=str(model))


def _asking(budget: Budget, step: Callable[[], None], tokens: Mapping[str, int]) -> Solver:
    """Return the solver. It is defined anew for each run, as Inspect's log cannot store the budget as an argument."""

    @solver(name="ask")
    def ask() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            estimated = tokens[str(state.sample_id)]
            budget.reserve(estimated)
            try:
                with counting_repetitions(budget):
                    state = await generate(state)
            except Exception as error:
                if reason := refusal_of(error):
                    budget.stop(reason)
                raise
            finally:
                step()
            budget.settle(estimated, usage_of(state.output.usage), replied=not has_no_reply(state.output))
            return state

        return solve

    return ask()


def _scoring(questions: Mapping[str, Question], languages: Mapping[str, Language]) -> Scorer:
    """Return the scorer: 1 for a right answer, else 0; near misses, UNSURE and the language go into the metadata.

    The standard error is clustered by item: the forms and epochs of an item are not independent.
    """
    profiles = profiles_of(languages.values())

    @scorer(metrics=[accuracy(), stderr(cluster="item")], name="answer")
    def answer() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            if has_no_reply(state.output):
                raise RuntimeError(f"no reply: {state.output.error or 'the output is empty'}")
            question, reply = questions[str(state.sample_id)], state.output.completion
            item = question.item
            matched = match(reply, item.answers, item.kind, item.question)
            unsure = is_unsure(reply)
            metadata: dict[str, Any] = {
                "near": matched.near,
                "unsure": unsure,
                "language": "",
                "kept": None,
            }
            if question.condition in languages:
                metadata["language"] = language_of(reply, profiles)
                metadata["kept"] = keeps(reply, languages[question.condition], profiles)
            right = matched.right and not unsure
            return Score(value=1.0 if right else 0.0, answer=matched.said, metadata=metadata)

        return score

    return answer()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
