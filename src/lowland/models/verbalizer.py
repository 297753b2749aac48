"""Classification by label words: a decoder's own logits for the words that name the labels.

Source: Schick & Schuetze, 2021, arXiv 2001.07676 (there "verbalizer", of a masked language model).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lowland.ground.mistakes import Mistake
from lowland.models.language import takes


@dataclass(frozen=True)
class LabelWords:
    """The tokens by which a decoder names the labels.

    Attributes:
        shared: tokens that all words begin with, such as that of a space; they belong to the text before the word.
        tokens: the token after these by which each label is told from the others, in the order of the labels.
    """

    shared: tuple[int, ...]
    tokens: tuple[int, ...]


def label_words(label_names: Sequence[str], before: str, tokenizer: Any) -> LabelWords:
    """Return the tokens of labels that stand as words, after a space, behind a text.

    Args:
        label_names: the labels, which are their own words.
        before: the end of the text that stands before the word.
        tokenizer: the model's tokenizer.

    Raises:
        Mistake: if two labels begin with the same token, where others differ.
    """
    space = "" if before[-1:].isspace() else " "
    plain = tokenizer(before, add_special_tokens=False)["input_ids"]
    words = []
    for name in label_names:
        whole = tokenizer(f"{before}{space}{name}", add_special_tokens=False)["input_ids"]
        alone = tokenizer(f"{space}{name}", add_special_tokens=False)["input_ids"]
        words.append(whole[len(plain) :] if whole[: len(plain)] == plain else alone)
    shared: list[int] = []
    while all(words) and len({word[0] for word in words}) == 1:
        shared.append(words[0][0])
        words = [word[1:] for word in words]
    firsts = [word[0] if word else None for word in words]
    if same := [name for name, token in zip(label_names, firsts, strict=True) if firsts.count(token) > 1]:
        raise Mistake(
            f"the labels {' and '.join(same)} begin with the same token of the model; give them other names, or use"
            " --head classifier"
        )
    if None in firsts:
        raise Mistake(
            f"the label {label_names[firsts.index(None)]!r} is the beginning of another one; give it another name, or"
            " use --head classifier"
        )
    return LabelWords(tuple(shared), tuple(token for token in firsts if token is not None))


def answer_with_words(model: Any, tokens: Sequence[int]) -> Any:
    """Make a decoder return the logits of label words after the last token, in place, by a change of its class.

    The model must read texts that are padded at the left. With `labels` (n,), the loss is the cross entropy among the
    words. Its parameters and their names stay, so adapters are those of a language model.

    Args:
        model: a decoder with its language-model head.
        tokens: the first token of each label's word, in the order of the labels.
    """
    kind: Any = type(model)
    model.__class__ = _classifier(kind, tuple(tokens))
    return model


def write_again(model: Any) -> Any:
    """Undo `answer_with_words`, in place: the decoder returns the logits of its whole vocabulary again."""
    if isinstance(model, _WithWords):
        model.__class__ = type(model).__bases__[1]
    return model


class _WithWords:
    """Mix-in for a decoder that classifies by label words; stands before the model's own class."""

    word_tokens: tuple[int, ...]
    accepts_loss_kwargs = False  # the Trainer divides the loss by the number of accumulated batches

    def forward(self, labels: Any = None, **inputs: Any) -> Any:
        """Return the logits (n, labels) of the label words after the last token, and the loss if there are labels."""
        from torch.nn.functional import cross_entropy
        from transformers.modeling_outputs import SequenceClassifierOutput

        if takes(self, "logits_to_keep"):
            inputs["logits_to_keep"] = 1
        answer = super().forward(**inputs)  # type: ignore[misc]
        logits = answer.logits[:, -1, list(self.word_tokens)].float()  # (n, labels)
        loss = None if labels is None else cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


@functools.cache
def _classifier(plain: Any, tokens: tuple[int, ...]) -> Any:
    """Return the class of decoders of type `plain` that classify by these words; it keeps the name."""
    return type(plain.__name__, (_WithWords, plain), {"word_tokens": tokens})
