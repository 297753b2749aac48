"""Templates: how a prompt is written for a decoder, and where its completion begins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lowland.ground.mistakes import Mistake, reason_of
from lowland.tasks.examples import Tokenizer
from lowland.tasks.readers.conversations import Turn

PLACE = "{prompt}"
MARK = "\ue000completion\ue000"
"""Stands for a completion, to find its place in a chat; no chat holds these characters."""


@dataclass(frozen=True)
class Written:
    """A prompt and its completion as the model reads them.

    Attributes:
        prompt: everything before the completion.
        completion: the completion, with the space before it, and with what the template puts behind it.
        behind: what the template puts behind the completion, without white space at its ends.
        is_whole: whether the template has added the special tokens, such as the first one.
    """

    prompt: str
    completion: str
    behind: str = ""
    is_whole: bool = False


def write(turns: Sequence[Turn], completion: str, template: str | None, tokenizer: Tokenizer) -> Written:
    """Write a prompt and its completion by a template.

    A space is put between them unless the prompt ends, or the completion begins, with white space.

    Args:
        turns: the turns before the completion; the last is the prompt.
        completion: the completion.
        template: a text with `{prompt}`, or a chat template in Jinja; None for the tokenizer's chat template, or for
            the prompt as it is if the tokenizer has none.
        tokenizer: the model's tokenizer.

    Raises:
        Mistake: if turns before the prompt have no place in the template.
    """
    chat_template = template if template and is_jinja(template) else None
    if template is None:
        chat_template = getattr(tokenizer, "chat_template", None)
    if chat_template is not None:
        return _as_chat(turns, completion, chat_template, tokenizer)
    if len(turns) > 1:
        reason = (
            "the tokenizer has no chat template" if template is None else f"the template has only {PLACE}"
        )
        raise Mistake(
            f"a chat has turns before the prompt, and {reason}; give chats of one prompt, or train with a chat template"
            " (--template, in Jinja as transformers reads it)"
        )
    prompt = (template or PLACE).replace(PLACE, turns[-1]["content"])
    space = "" if not prompt or prompt[-1].isspace() or completion[:1].isspace() else " "
    return Written(prompt, space + completion)


def check_template(template: str) -> str:
    """Check that a template is a text with `{prompt}`, or Jinja that writes `messages`; `\\n` becomes a new line.

    Raises:
        ValueError: if it is neither, or its Jinja has a mistake.
    """
    if is_jinja(template):
        _check_jinja(template)
    if ("messages" if is_jinja(template) else PLACE) not in template:
        raise ValueError(
            f'be a text with {PLACE} (in single braces), such as "Q: {PLACE}\\nA:", or a chat template in Jinja, which'
            " writes the list `messages`"
        )
    return with_line_breaks(template)


def _check_jinja(template: str) -> None:
    """Check the syntax of a chat template; raise `ValueError` if it is wrong."""
    from jinja2 import Environment, TemplateSyntaxError

    known = re.sub(r"{%-?\s*(end)?generation\s*-?%}", "", template)  # a tag of transformers' own
    try:
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(known)
    except TemplateSyntaxError as error:
        raise ValueError(
            f"be a chat template in Jinja without mistakes (line {error.lineno}: {error.message})"
        ) from None


def with_line_breaks(template: str) -> str:
    """Return a template of a command line with real line breaks for those written as \\n."""
    return template.replace("\\n", "\n")


def is_jinja(template: str) -> bool:
    """Return whether a template is a chat template in Jinja, not a text."""
    return "{%" in template or "{{" in template


def _as_chat(turns: Sequence[Turn], completion: str, chat_template: str, tokenizer: Tokenizer) -> Written:
    """Write turns by a chat template.

    The prompt is all that the template writes before a completion, in training and in prediction alike.
    """
    from jinja2 import TemplateError

    def written(text: str) -> str:
        turn = {"role": "assistant", "content": text}
        return str(tokenizer.apply_chat_template([*turns, turn], chat_template=chat_template, tokenize=False))

    try:
        prompt, mark, behind = written(MARK).partition(MARK)
        whole = written(completion)
    except (TemplateError, ValueError, TypeError) as error:
        raise Mistake(
            f"the chat template cannot write a chat ({reason_of(error)}); give another with --template"
        ) from None
    if not mark:
        raise Mistake("the chat template leaves out what the assistant says; give another with --template")
    if whole.startswith(prompt) and whole.endswith(behind):  # a template may trim a completion
        completion = whole[len(prompt) : len(whole) - len(behind)]
    return Written(prompt, completion + behind.rstrip(), behind.strip(), is_whole=True)
