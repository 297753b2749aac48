"""Templates: how a prompt is written for a decoder, and where its completion begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowland.ground.mistakes import Mistake
from lowland.tasks.base import Tokenizer
from lowland.tasks.readers.conversations import Turn

PLACE = "{prompt}"


@dataclass(frozen=True)
class Written:
    """A prompt and its completion as the model reads them.

    Attributes:
        prompt: everything before the completion.
        completion: the completion, with the space before it, and with what the template puts behind it.
        is_whole: whether the template has added the special tokens, such as the first one.
    """

    prompt: str
    completion: str
    is_whole: bool


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
    chat_template = template if template and PLACE not in template else None
    if chat_template is None and template is None:
        chat_template = getattr(tokenizer, "chat_template", None)
    if chat_template is not None:
        return _as_chat(turns, completion, chat_template, tokenizer)
    if len(turns) > 1:
        raise Mistake(
            "a chat has turns before the prompt, and the tokenizer has no chat template; give one (Jinja, as"
            " transformers reads it) with --template, or chats of one prompt"
        )
    prompt = (template or PLACE).replace(PLACE, turns[-1]["content"])
    space = "" if not prompt or prompt[-1].isspace() or completion[:1].isspace() else " "
    return Written(prompt, space + completion, is_whole=False)


def check_template(template: str) -> str:
    """Check that a template is a text with `{prompt}`, or Jinja.

    Raises:
        ValueError: if it is neither.
    """
    if PLACE not in template and "{%" not in template and "{{" not in template:
        raise ValueError(f'be a text with {PLACE}, such as "Q: {PLACE}\\nA:", or a chat template in Jinja')
    return template.replace("\\n", "\n")


def _as_chat(turns: Sequence[Turn], completion: str, chat_template: str, tokenizer: Tokenizer) -> Written:
    """Write turns by a chat template."""
    from jinja2 import TemplateError

    whole = [*turns, {"role": "assistant", "content": completion}]
    try:
        prompt = tokenizer.apply_chat_template(
            list(turns), chat_template=chat_template, tokenize=False, add_generation_prompt=True
        )
        full = tokenizer.apply_chat_template(whole, chat_template=chat_template, tokenize=False)
    except (TemplateError, ValueError, TypeError) as error:
        raise Mistake(
            f"the chat template cannot write a chat ({error}); give another with --template"
        ) from None
    rest = full[len(prompt) :] if full.startswith(prompt) else completion
    return Written(prompt, rest.rstrip(), is_whole=True)
