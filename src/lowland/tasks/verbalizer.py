"""Classification by label words: how a decoder reads an example before it names the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowland.ground.mistakes import Mistake
from lowland.models.verbalizer import LabelWords, label_words
from lowland.tasks.examples import Setup, TaskFields
from lowland.tasks.truncation import Truncation, count_truncated


def by_words(fields: TaskFields) -> bool:
    """Return whether a classification's fields ask for label words."""
    return getattr(fields, "head", "classifier") == "verbalizer"


def template_of(fields: TaskFields, input_columns: Sequence[str]) -> str:
    """Return how an example is written: the fields' template, or each input on a line, and "Label:".

    Raises:
        Mistake: if a template lacks an input column.
    """
    template: str | None = getattr(fields, "template", None)
    places = [f"{{{name}}}" for name in input_columns]
    if template is None:
        return "\n".join([*places, "Label:"])
    if missing := [place for place in places if place not in template]:
        raise Mistake(
            f"the template {template!r} lacks {' and '.join(missing)}; put"
            f" {'it' if len(missing) == 1 else 'them'} where the text belongs, whatever the file's column is called"
        )
    return template


def words_of(setup: Setup, input_columns: Sequence[str]) -> LabelWords:
    """Return the tokens by which the decoder names the labels, behind the template's end."""
    return label_words(setup.label_names, _end_of(template_of(setup.fields, input_columns)), setup.tokenizer)


def _end_of(template: str) -> str:
    """Return what follows the last text in a template."""
    return template.rpartition("}")[2]


def encode_for_words(
    texts: Sequence[Sequence[str]], input_columns: Sequence[str], setup: Setup
) -> tuple[dict[str, list[Any]], Truncation]:
    """Return the tokens of examples as the template writes them, and how many were cut.

    A long example loses the end of its text, and not the template's end, after which the label word follows.
    """
    template, length = template_of(setup.fields, input_columns), setup.max_length
    shared = words_of(setup, input_columns).shared
    end = [*setup.tokenizer(_end_of(template), add_special_tokens=False)["input_ids"], *shared]
    written = []
    for row in zip(*texts, strict=True):
        text = template
        for name, value in zip(input_columns, row, strict=True):
            text = text.replace(f"{{{name}}}", value)
        written.append(text)
    whole = [
        [*_without_end(ids, setup), *shared] for ids in setup.tokenizer(written, verbose=False)["input_ids"]
    ]
    kept = [ids if len(ids) <= length else [*ids[: length - len(end)], *end][-length:] for ids in whole]
    sizes = [len(ids) for ids in whole]
    cut = count_truncated(
        [len(ids) for ids in kept], length, lambda places: [sizes[place] for place in places]
    )
    return {"input_ids": kept}, cut


def _without_end(ids: list[int], setup: Setup) -> list[int]:
    return ids[:-1] if len(ids) > 1 and ids[-1] == setup.tokenizer.eos_token_id else ids
