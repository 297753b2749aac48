"""Templates: what is written before and behind a completion, and by which rules."""

from __future__ import annotations

from typing import Any

import pytest

from lowland.ground.mistakes import Mistake
from lowland.tasks.table import task_fields
from lowland.tasks.template import Written, check_template, write
from tests.language_models import characters

CHAT = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
WITHOUT_PROMPT = "{% for turn in messages %}[{{ turn.role }}] {{ turn.content }} ###\n{% endfor %}"
"""A template that writes the same whether a reply is to follow or not, and marks the end by letters."""
THINKING = (
    "{% for turn in messages %}<{{ turn.role }}>{% if loop.last %}<think></think>{% endif %}"
    "{{ turn.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
QUESTION = [{"role": "user", "content": "Why?"}]
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, *QUESTION]


def tokenizer_with(chat_template: str | None) -> Any:
    tokenizer = characters()
    tokenizer.chat_template = chat_template
    return tokenizer


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        ("2+2=", "4", ("2+2=", " 4")),
        ("Q: why?\nA:", "so", ("Q: why?\nA:", " so")),
        ("answer: ", "so", ("answer: ", "so")),
        ("answer\n", "so", ("answer\n", "so")),
        ("answer", " so", ("answer", " so")),
        ("answer", "\nso", ("answer", "\nso")),
        ("answer", "", ("answer", " ")),
    ],
)
def test_a_space_stands_between_prompt_and_completion_unless_there_is_one(
    prompt: str, completion: str, expected: tuple[str, str]
) -> None:
    turns = [{"role": "user", "content": prompt}]
    assert write(turns, completion, None, tokenizer_with(None)) == Written(*expected)


def test_a_text_with_a_place_for_the_prompt() -> None:
    turns = [{"role": "user", "content": "why {prompt}?"}]
    written = write(
        turns, "so", "Q: {prompt}\nA:", tokenizer_with(CHAT)
    )  # before the tokenizer's own template
    assert written == Written("Q: why {prompt}?\nA:", " so")


def test_a_new_line_may_be_written_as_on_a_command_line() -> None:
    fields = task_fields("instruction", template=r"Q: {prompt}\nA:")
    assert fields.template == "Q: {prompt}\nA:"
    assert task_fields("instruction", template=fields.template).template == fields.template


@pytest.mark.parametrize(
    "template",
    ["Question:", "{ prompt }", "Q: {{prompt}}", "Q: {{ prompt }}", "{% if x %}{prompt}{% endif %}", "{0}"],
)
def test_a_template_without_a_place_for_the_prompt_is_refused(template: str) -> None:
    with pytest.raises(
        Mistake, match=r"template .* be a text with \{prompt\} \(in single braces\)"
    ) as caught:
        task_fields("instruction", template=template)
    assert len(caught.value.problems) == 1
    with pytest.raises(ValueError, match="or a chat template in Jinja"):
        check_template(template)


@pytest.mark.parametrize("own", [False, True])
def test_a_chat_template_of_the_tokenizer_or_of_the_user(own: bool) -> None:
    template, tokenizer = (CHAT, tokenizer_with(None)) if own else (None, tokenizer_with(CHAT))
    written = write(TALK, " So. ", template, tokenizer)
    assert written.prompt == "<user>Hi</s>\n<assistant>Hello</s>\n<user>Why?</s>\n<assistant>"
    assert written.completion == "So.</s>"  # the template trims; it ends with what the template puts behind
    assert written.behind == "</s>"
    assert written.is_whole
    expected = tokenizer.apply_chat_template(
        TALK, chat_template=CHAT, tokenize=False, add_generation_prompt=True
    )
    assert written.prompt == expected


@pytest.mark.parametrize("template", [CHAT, WITHOUT_PROMPT, THINKING])
@pytest.mark.parametrize("completion", ["So.", "So </s> and ### so", "", "two\nlines"])
def test_prompt_and_completion_are_the_whole_chat_and_the_prompt_is_known_without_the_completion(
    template: str, completion: str
) -> None:
    tokenizer = tokenizer_with(template)
    whole = [*TALK, {"role": "assistant", "content": completion}]
    written = write(TALK, completion, None, tokenizer)
    assert (
        written.prompt + written.completion == tokenizer.apply_chat_template(whole, tokenize=False).rstrip()
    )
    assert written.prompt == write(TALK, "", None, tokenizer).prompt
    assert written.completion.startswith(completion)
    assert written.completion.endswith(written.behind)


def test_the_turns_of_the_system_are_written() -> None:
    turns = [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert write(turns, "So.", CHAT, tokenizer_with(None)).prompt.startswith(
        "<system>Be brief.</s>\n<user>Why?"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ raise_exception('no system, please') }}{{ messages }}",
            r"cannot write a chat \(no system, please\)",
        ),
        ("{% for turn in messages %}", "the chat template cannot write a chat"),
        ("{{ messages[0].content.missing() }}", "the chat template cannot write a chat"),
        ("{{ messages[0].content }}", "leaves out what the assistant says"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_reported_in_one_sentence(template: str, message: str) -> None:
    with pytest.raises(Mistake, match=message) as caught:
        write(QUESTION, "So.", template, tokenizer_with(None))
    assert len(caught.value.problems) == 1
    assert "--template" in str(caught.value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [(None, "the tokenizer has no chat template"), ("Q: {prompt}", "the template has only {prompt}")],
)
def test_earlier_turns_need_a_chat_template(template: str | None, reason: str) -> None:
    with pytest.raises(Mistake) as caught:
        write(TALK, "So.", template, tokenizer_with(None if template is None else CHAT))
    assert f"a chat has turns before the prompt, and {reason}; give chats of one prompt" in str(caught.value)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (
            "{% for turn in messages %}{{ turn.content }}",
            "must be a chat template in Jinja without mistakes (line 1:",
        ),
        ("{{ messages }", "must be a chat template in Jinja without mistakes (line 1:"),
    ],
)
def test_a_mistake_in_jinja_is_found_before_anything_is_loaded(template: str, problem: str) -> None:
    with pytest.raises(Mistake) as mistake:
        task_fields("instruction", data="x.jsonl", template=template)
    assert problem in str(mistake.value)


def test_the_tags_of_transformers_are_jinja() -> None:
    template = (
        "{% for turn in messages %}{% if turn.role == 'assistant' %}{% generation %}{{ turn.content }}"
        "{%- endgeneration -%}{% else %}{{ turn.content }}{% continue %}{% endif %}{% endfor %}"
    )
    assert check_template(template) == template
