"""Language models on this machine: greedy, batched, with what questions share computed once; with a run's training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rapidfuzz import fuzz

from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_rows, read_stress_record
from lowland.items import messy_items, multilingual_items
from lowland.lora import lora_layers
from lowland.models.source import ModelSource
from lowland.stress.asking.generator import EXAMPLES, MAX_NEW_TOKENS, Generator, load_generator
from lowland.stress.asking.replying import Prompt
from tests.language_models import SHAPES, VOCABULARY, characters, language_model, long_decoder, save
from tests.stress.asking.support import INSPECTS

SOURCE = ModelSource("tiny", Path("tiny"), "folder", None, "0" * 64, "1" * 64, title="tiny")
QUESTIONS = ("What?", "Who wrote the longer book of the two?", "")


pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]


def generator(shape: str = "llama", **changes: Any) -> Generator:
    return Generator(long_decoder(shape), characters(), SOURCE, **changes)


def plainly(model: Any, tokenizer: Any, text: str, ends: list[int]) -> str:
    """Return the first line of a greedy continuation, each token from the whole text."""
    ids = tokenizer(text)["input_ids"]
    start = len(ids)
    for _ in range(MAX_NEW_TOKENS):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in ends:
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip().partition("\n")[0].strip()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [64, 1024])
@pytest.mark.parametrize("system", ["", "Answer in one word."])
def test_replies_are_those_of_a_plain_greedy_loop(shape: str, system: str, window: int) -> None:
    """A sliding window (Gemma's) that is smaller than the texts neither loses tokens to padding nor to a cache."""
    ours = Generator(long_decoder(shape, window), characters(), SOURCE, examples=EXAMPLES[:2])
    before = f"{system}\n\n" if system else ""
    for question, answer in EXAMPLES[:2]:
        before += f"Q: {question}\nA: {answer}\n\n"
    replies = ours.answer([Prompt(question, system) for question in QUESTIONS])
    expected = [
        plainly(ours.model, ours.tokenizer, f"{before}Q: {question}\nA:", ours.ends) for question in QUESTIONS
    ]
    assert [reply.text for reply in replies] == expected
    assert replies[0].tokens == len(ours.tokenizer(f"{before}Q: What?\nA:")["input_ids"])


def test_questions_with_different_system_prompts_keep_their_order() -> None:
    ours = generator(examples=EXAMPLES[:1])
    prompts = [Prompt(question, system) for question in QUESTIONS for system in ("", "Be brief.")]
    assert ours.answer(prompts) == [ours.answer([prompt])[0] for prompt in prompts]


def test_a_line_break_ends_a_reply() -> None:
    assert VOCABULARY["\n"] in generator().ends


def test_a_reply_is_the_first_line_also_where_a_token_holds_a_line_break() -> None:
    ours = generator()
    tokens = torch.tensor(ours.tokenizer(" Paris\nQ: And Rome?")["input_ids"])
    assert ours._first_line(tokens) == "Paris"


def test_the_examples_are_near_no_item_of_the_stress_tests() -> None:
    items = [*messy_items(), *multilingual_items()]
    gold = {answer.casefold() for item in items for answer in item.answers}
    for question, answer in EXAMPLES:
        assert answer.casefold() not in gold
        for item in items:
            texts = question.casefold(), item.question.casefold()
            assert max(fuzz.token_set_ratio(*texts), fuzz.token_sort_ratio(*texts)) < 75, item.question


def test_the_description_names_model_prompt_and_decoding() -> None:
    described = generator(trained={"run": "r", "method": "lora"}).describe()
    assert described["sha256"] == "0" * 64
    assert described["template"] == "Q: {prompt}\nA:"
    assert described["examples"] == [list(pair) for pair in EXAMPLES]
    assert described["decoding"].startswith("greedy")
    assert described["trained"] == {"run": "r", "method": "lora"}


def test_a_model_with_a_chat_template_is_asked_by_it(tmp_path: Path) -> None:
    folder = save(long_decoder("llama"), tmp_path / "chat")
    tokenizer = characters()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    ours = load_generator(str(folder))
    assert (ours.template, ours.examples) == (None, ())
    expected = plainly(ours.model, ours.tokenizer, "<system>Brief.\n<user>Why?\n<assistant>", ours.ends)
    assert ours.answer([Prompt("Why?", "Brief.")])[0].text == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny decoder, and a run of short answers on top of it."""
    from lowland.study.recipe import Recipe
    from lowland.study.run import run_study

    folder = tmp_path_factory.mktemp("trained")
    base = save(long_decoder("llama"), folder / "base")
    words = [first + second for first in "bcdfghjk" for second in "aeiou"]
    rows = [{"prompt": f"Say {word}!", "completion": word} for word in words]
    pd.DataFrame(rows).to_csv(folder / "words.csv", index=False)
    task = {
        "name": "short-answers",
        "data": str(folder / "words.csv"),
        "max_new_tokens": 4,
        "template": "{prompt} >",
    }
    recipe = Recipe(
        task=task,
        model=str(base),
        methods=["lora"],
        seeds=[7],
        epochs=1,
        dtype="fp32",
        out=str(folder / "runs"),
    )
    return base, run_study(recipe)[0]


def test_a_trained_run_is_asked_by_its_own_template(trained: tuple[Path, Path]) -> None:
    base, run = trained
    ours = load_generator(str(base), run)
    assert (ours.template, ours.examples) == ("{prompt} >", ())
    assert not any(True for _ in lora_layers(ours.model))  # merged, which is faster
    assert ours.trained["method"] == "lora"
    assert ours.trained["seed"] == 7
    expected = plainly(ours.model, ours.tokenizer, "Say ba! >", ours.ends)
    assert ours.answer([Prompt("Say ba!")])[0].text == expected
    untrained = load_generator(str(base))
    ids = torch.tensor([ours.tokenizer("Say ba! >")["input_ids"]])
    with torch.no_grad():
        assert not torch.allclose(ours.model(ids).logits, untrained.model(ids).logits, atol=1e-4)


def test_a_model_of_short_context_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    base = save(language_model("gpt2"), tmp_path / "gpt2")
    with pytest.raises(Mistake, match=r"reads \d+ tokens, and a question with 6 examples .* may take \d+"):
        load_generator(str(base))


def test_a_run_on_another_base_or_of_another_task_is_a_mistake(
    trained: tuple[Path, Path], tmp_path: Path, lowland: Callable[..., tuple[int, str, str]]
) -> None:
    other = save(long_decoder("gpt2"), tmp_path / "gpt2")
    with pytest.raises(Mistake, match="was trained on"):
        load_generator(str(other), trained[1])
    assert lowland("compare", "--methods", "lora", "--seeds", "1", "--epochs", "1")[0] == 0
    run = next((tmp_path / "runs").glob("classification-*"))
    with pytest.raises(Mistake, match="a run of task classification"):
        load_generator(str(trained[0]), run)


def test_the_stress_test_of_a_run_names_it_and_describes_the_model(
    trained: tuple[Path, Path], tmp_path: Path, lowland: Callable[..., tuple[int, str, str]]
) -> None:
    base, run = trained
    options = ("--limit", "3", "--corruptions", "typos", "--levels", "light", "--out", str(tmp_path / "s"))
    for adapter in ((), ("--adapter", str(run))):
        code, _, err = lowland("stress", "messy", "--model", f"lowland/{base}", *adapter, *options)
        assert code in (0, 1), err  # replies of an untrained model may all be empty
    folders = [path for path in (tmp_path / "s").glob("messy-*") if path.is_dir()]
    records = {folder: read_stress_record(folder) for folder in folders}
    names = {record.model["name"] for record in records.values()}
    assert names == {f"lowland/{base}", f"lowland/{base} lora-s7"}
    described = next(
        record.model["described"] for record in records.values() if record.model["name"].endswith("lora-s7")
    )
    assert described["trained"]["run"] == run.name
    assert len({record.key for record in records.values()}) == 2
    for folder, record in records.items():
        assert set(read_rows(folder)["model"]) == {record.model["name"]}


@pytest.mark.parametrize("model", ["lowland/retriever", "anthropic/claude-x"])
def test_an_adapter_for_another_model_is_a_mistake(
    model: str, tmp_path: Path, lowland: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = lowland("stress", "messy", "--model", model, "--adapter", str(tmp_path))
    assert code == 2
    assert f"adapter is given, and {model} cannot have one; name a decoder" in err
