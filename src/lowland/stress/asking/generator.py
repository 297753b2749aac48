"""A language model on this machine that answers questions: batched and greedy, with or without a trained adapter.

A base model is shown a few examples first, because it continues texts and does not follow instructions. What all
questions share (the examples, and a system prompt before them) is computed once, and its keys and values are reused.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowland.deploy.find import find_adapted
from lowland.deploy.predict import Predictor, load
from lowland.deploy.runs import finished_record
from lowland.ground.mistakes import Mistake
from lowland.models.find import find_model
from lowland.models.language import end_tokens, load_language_model
from lowland.models.load import load_tokenizer
from lowland.models.positions import token_limit
from lowland.models.source import ModelSource
from lowland.stress.asking.replying import Prompt, Reply
from lowland.tasks.instruction import Instruction, InstructionFields
from lowland.tasks.template import write

QUESTION = "Q: {prompt}\nA:"
EXAMPLES = (
    ("What do silkworms eat?", "Mulberry leaves"),
    ("How many degrees does a right angle measure?", "90"),
    ("Who wrote the novel Don Quixote?", "Miguel de Cervantes"),
    ("नींबू का स्वाद कैसा होता है?", "खट्टा"),
    ("Chini ka swad kaisa hota hai?", "Meetha"),
    ("In which sport is a shuttlecock used?", "Badminton"),
)
"""Questions with answers that a base model is shown; none is near an item of the stress tests."""
MAX_NEW_TOKENS = 16
"""Largest number of tokens of a reply; the answers are short, and a reply ends with its line."""
LONGEST_QUESTION = 64
"""Number of tokens that a model must have room for besides the examples and the reply."""


class Generator:
    """A decoder that answers questions by `generate`.

    A model with a chat template is asked by it. A base model gets `EXAMPLES` and the question as `QUESTION`; a trained
    run gets the question by the template that it was trained with, and no examples.

    Args:
        model: the decoder, in evaluation mode.
        tokenizer: its tokenizer.
        source: folder and hashes of the base model.
        template: how a question is written; None for the tokenizer's chat template.
        examples: questions with answers that are shown first.
        trained: what a record should know of a trained run; empty for a base model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        source: ModelSource,
        template: str | None = QUESTION,
        examples: Sequence[tuple[str, str]] = EXAMPLES,
        trained: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.tokenizer, self.source = model, tokenizer, source
        self.template, self.examples, self.trained = template, tuple(examples), trained or {}
        self.ends = sorted({*end_tokens(model, tokenizer), *_line_ends(tokenizer)})
        self._shared: dict[str, tuple[list[int], Any]] = {}

    def describe(self) -> dict[str, Any]:
        """Return what a record should know of the model and its prompt."""
        return {
            **self.source.describe(),
            "template": self.template or "the tokenizer's chat template",
            "examples": [list(pair) for pair in self.examples],
            "decoding": f"greedy, first line, at most {MAX_NEW_TOKENS} tokens, float32",
            **({"trained": self.trained} if self.trained else {}),
        }

    @torch.inference_mode()
    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return the reply to each question: the first line of what the model writes.

        Questions with one system prompt form a batch.
        """
        replies: dict[int, Reply] = {}
        for system in dict.fromkeys(prompt.system for prompt in prompts):
            places = [place for place, prompt in enumerate(prompts) if prompt.system == system]
            answers = self._answer([prompts[place].text for place in places], system)
            replies |= dict(zip(places, answers, strict=True))
        return [replies[place] for place in range(len(prompts))]

    def _answer(self, texts: Sequence[str], system: str) -> list[Reply]:
        shared, cache = self._shared_part(system)
        rows = [self._tokens(self._question(text, system), first=not len(shared)) for text in texts]
        longest = max(map(len, rows))
        if len(rows) > 1 and not self._fits_window(len(shared) + longest):
            return [self._answer([text], system)[0] for text in texts]
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[*shared, *[pad] * (longest - len(row)), *row] for row in rows])
        mask = torch.tensor([[1] * len(shared) + [0] * (longest - len(row)) + [1] * len(row) for row in rows])
        options: dict[str, Any] = {}
        if cache is not None and self._fits_window(ids.shape[1]):
            options["past_key_values"] = _repeated(cache, len(rows))
        written = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=MAX_NEW_TOKENS,
            max_length=None,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=self.ends,
            **options,
        )[:, ids.shape[1] :]
        return [
            Reply(self._first_line(new), len(shared) + len(row), int((new != pad).sum()))
            for new, row in zip(written, rows, strict=True)
        ]

    def check_context(self) -> None:
        """Check that the model can read the examples, a question of `LONGEST_QUESTION` tokens, and a reply.

        Raises:
            Mistake: if it reads fewer tokens.
        """
        examples = len(self._tokens(self._shown(), first=True))
        limit = token_limit(self.tokenizer, self.model.config, sys.maxsize)
        if (needed := examples + LONGEST_QUESTION + MAX_NEW_TOKENS) > limit:
            raise Mistake(
                f"{self.source.name} reads {limit} tokens, and a question with {len(self.examples)} examples and the"
                f" reply may take {needed}; name a model with a longer context"
            )

    def _shown(self) -> str:
        """Return the examples, as they stand before each question."""
        template = self.template or "{prompt}"
        return "".join(
            f"{template.replace('{prompt}', question)} {answer}\n\n" for question, answer in self.examples
        )

    def _fits_window(self, tokens: int) -> bool:
        """Return whether texts of so many tokens, with their replies, are within a sliding window's reach.

        Beyond it, padding and a cache would push tokens out of the window.
        """
        window = getattr(self.model.config.get_text_config(decoder=True), "sliding_window", None)
        return window is None or tokens + MAX_NEW_TOKENS <= window

    def _first_line(self, tokens: Tensor) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text.strip().partition("\n")[0].strip()

    def _question(self, text: str, system: str) -> str:
        """Return what is written for one question, after the shared part."""
        if self.template is not None:
            return write([{"role": "user", "content": text}], "", self.template, self.tokenizer).prompt
        turns = [{"role": "system", "content": system}] if system else []
        return write([*turns, {"role": "user", "content": text}], "", None, self.tokenizer).prompt

    def _shared_part(self, system: str) -> tuple[list[int], Any]:
        """Return the tokens that all questions with a system prompt begin with, and their keys and values."""
        if self.template is None:
            return [], None
        if system not in self._shared:
            text = (f"{system}\n\n" if system else "") + self._shown()
            ids = self._tokens(text, first=True) if text else []
            cache = self.model(input_ids=torch.tensor([ids]), use_cache=True).past_key_values if ids else None
            self._shared[system] = ids, cache
        return self._shared[system]

    def _tokens(self, text: str, *, first: bool) -> list[int]:
        """Return tokens, with the special ones at the beginning of a text only if it is the first part."""
        special = first and self.template is not None
        ids: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids[:-1] if ids and ids[-1] == self.tokenizer.eos_token_id else ids


def load_generator(name: str, run: Path | None = None) -> Generator:
    """Load a decoder, or a run that was trained on top of it.

    Args:
        name: name, folder or .gguf file of the base model.
        run: folder of a finished run of an instruction task; None for the base model.

    Raises:
        Mistake: if the model cannot be found or is no decoder, or the run is of another task or another base model.
    """
    source = find_model(name)
    if run is not None:
        return _of_run(source, run)
    tokenizer = load_tokenizer(source.folder)
    model = load_language_model(source.folder, "CAUSAL_LM").model.eval()
    is_chat = getattr(tokenizer, "chat_template", None) is not None
    if is_chat:
        return Generator(model, tokenizer, source, template=None, examples=())
    generator = Generator(model, tokenizer, source)
    generator.check_context()
    return generator


def _of_run(source: ModelSource, run: Path) -> Generator:
    record = finished_record(run)
    predictor = _merged(run)
    if not isinstance(predictor.task, Instruction):
        raise Mistake(
            f"{run} is a run of task {record.task}, whose model does not write answers; name a run of instruction or"
            " short-answers"
        )
    if record.model.get("sha256") != source.sha256:
        raise Mistake(
            f"{run} was trained on {record.model.get('name')}, not on {source.name}; name its base model"
        )
    fields = predictor.setup.fields
    assert isinstance(fields, InstructionFields)
    tokenizer = predictor.setup.tokenizer
    is_chat = fields.template is None and getattr(tokenizer, "chat_template", None) is not None
    template = None if is_chat else fields.template or "{prompt}"
    trained = {"run": run.name, "key": record.key, "method": record.method, "seed": record.seed}
    return Generator(predictor.model.eval(), tokenizer, source, template, (), trained)


def _merged(run: Path) -> Predictor:
    """Load a run in float32, with its adapter merged, which answers faster."""
    is_mergeable = (run / "adapter").is_dir() and find_adapted(run).is_lowland_lora
    return replace(load(run, merge=is_mergeable), dtype="fp32")


def _repeated(cache: Any, rows: int) -> Any:
    """Return a copy of keys and values for a batch of as many rows."""
    repeated = copy.deepcopy(cache)
    repeated.batch_repeat_interleave(rows)
    return repeated


def _line_ends(tokenizer: Any) -> list[int]:
    """Return the tokens that begin with a line break, which end a reply."""
    breaks = ("\n", "Ċ", "<0x0A>")  # as SentencePiece, byte-level BPE and byte fallback write it
    return [number for token, number in tokenizer.get_vocab().items() if token.startswith(breaks)]
