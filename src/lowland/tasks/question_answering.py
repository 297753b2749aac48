"""Extractive question answering: a question, a context, and the part of it that answers; or no answer. SQuAD 2.0."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.models.load import LoadedModel, load_tokenizer
from lowland.models.spans import load_span_model, outline_span_model
from lowland.tasks.base import Task
from lowland.tasks.examples import Batch, Encoded, Outputs, Purpose, Setup, Split, TaskData, TaskFields
from lowland.tasks.question_data import OwnQuestionFields, QuestionFields, read_question_file, split_questions
from lowland.tasks.readers.files import FetchedTable, read_tables
from lowland.tasks.readers.questions import answers_of
from lowland.tasks.readers.squad import Answers
from lowland.tasks.span_scores import NO_ANSWER, exact_match, f1
from lowland.tasks.spans import Candidate, best_span, best_threshold, candidate_of
from lowland.tasks.truncation import Truncation
from lowland.tasks.windows import Window, null_token, windows_of

FEW = 10
"""Number of examples below which no answer for all of them means little."""
THRESHOLD = "no_answer_threshold"
"""Name of the threshold: an example is answered if "no answer" scores at most this much above the best span."""


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """Extractive question answering, with F1 and exact match by SQuAD's rules.

    The model marks the start and the end of an answer among the tokens, or the token that stands for "no answer". A
    threshold, which is chosen on the validation set, decides whether it answers.

    Args:
        name: name of the data set.
        summary: one line for `lowland tasks`.
        fetch: function that returns the table of questions and its source if no file is given; None if one is needed.
    """

    name: str
    summary: str
    fetch: FetchedTable | None = None

    fields: ClassVar[type[TaskFields]] = QuestionFields
    input_columns: ClassVar[tuple[str, ...]] = ("question", "context")
    # An answer from a damaged context would be damaged, too.
    damaged_columns: ClassVar[tuple[str, ...]] = ("question",)
    scores: ClassVar[tuple[str, ...]] = ("f1", "exact_match", "no_answer_accuracy")
    chosen_on_validation: ClassVar[tuple[str, ...]] = (THRESHOLD,)
    target_column: ClassVar[str] = "answers"
    mean_score: ClassVar[str] = "F1"
    targets_are_texts: ClassVar[bool] = False
    usual_length: ClassVar[int] = 384  # as BERT was trained on SQuAD

    def peft_task_type(self, fields: TaskFields) -> str:
        """Return PEFT's name for models that mark answers."""
        return "QUESTION_ANS"

    def load(self, fields: TaskFields) -> TaskData:
        """Read questions, and split them by title (`split_questions`)."""
        table, source = read_tables(read_question_file, self.fetch, fields, "question-answering")
        return split_questions(table, source, fields)

    def load_model(self, folder: Path, setup: Setup) -> LoadedModel:
        """Load a model that marks answers."""
        null_token(setup.tokenizer)
        return load_span_model(folder, setup.tokenizer)

    def outline(self, folder: Path, fields: TaskFields) -> LoadedModel:
        """Build a model that marks answers on the meta device, without weights."""
        null_token(load_tokenizer(folder))
        return outline_span_model(folder)

    def encode(self, columns: Mapping[str, Sequence[str]], setup: Setup, purpose: Purpose) -> Encoded:
        """Tokenize questions with their contexts: a row for each window (`windows_of`).

        The targets `start_positions` and `end_positions` are those of the most frequent accepted answer if the window
        holds it whole, else the token of "no answer". In training, an example is left out if no window has its answer.
        """
        questions, contexts, fields = columns["question"], columns["context"], _fields(setup)
        examples = windows_of(setup.tokenizer, questions, contexts, setup.max_length, fields.stride)
        places: list[tuple[int, int] | None] = [None] * len(examples)
        if purpose != "predict":
            places = [Answers.from_text(cell).place for cell in columns["answers"]]
        lost = {
            number
            for number, (example, place) in enumerate(zip(examples, places, strict=True))
            if purpose == "train" and not example.hold(place)
        }
        cut = [example.length for number, example in enumerate(examples) if example.is_cut or number in lost]
        truncation = Truncation(
            len(examples), len(cut), sum(cut) - len(cut) * setup.max_length, max(cut, default=0)
        )
        numbered = [
            (number, window)
            for number, example in enumerate(examples)
            if number not in lost
            for window in example.windows
        ]
        if not numbered:
            raise Mistake(
                f"no window of {setup.max_length} tokens holds an answer whole; give a larger max_length, or"
                " shorter answers"
            )
        rows = {name: [window.inputs[name] for _, window in numbered] for name in numbered[0][1].inputs}
        if purpose != "predict":
            targets = [_positions(window, places[number]) for number, window in numbered]
            rows["start_positions"], rows["end_positions"] = map(list, zip(*targets, strict=True))
        notes: dict[str, list[Any]] = {
            "window": [window for _, window in numbered],
            "context": [contexts[number] for number, _ in numbered],
        }
        return Encoded(rows, np.array([number for number, _ in numbered], np.int64), notes, truncation)

    def collator(self, setup: Setup, model: Any = None) -> Callable[[list[dict[str, Any]]], Batch]:
        """Pad on the right, to the longest window of the batch: places are counted from the left."""
        return partial(_pad, setup.tokenizer)

    def infer(self, model: Any, batch: Batch, setup: Setup) -> tuple[Any, dict[str, Any]]:
        """Run a model on a batch; its outputs are the logits `start` and `end` (rows, tokens)."""
        answer = model(**batch)
        return answer.get("loss"), {"start": answer.start_logits, "end": answer.end_logits}

    def choose(self, split: Split, outputs: Outputs, encoded: Encoded, setup: Setup) -> dict[str, float]:
        """Choose the threshold with the highest mean F1 on the validation set (`best_threshold`)."""
        candidates = _candidates(outputs, encoded, setup)
        gold = _gold(split)
        answered = np.array(
            [f1(candidate.text, texts) for candidate, texts in zip(candidates, gold, strict=True)]
        )
        unanswered = np.array([f1(NO_ANSWER, texts) for texts in gold])
        margins = np.array([candidate.margin for candidate in candidates])
        return {THRESHOLD: best_threshold(margins, answered, unanswered)}

    def decode(self, outputs: Outputs, encoded: Encoded, setup: Setup) -> pd.DataFrame:
        """Turn logits into answers.

        Returns:
            `predicted`, "" where there is no answer; `start` and `end`, its place in the context in characters (-1
            without one); and `p_no_answer`, the sigmoid of how far "no answer" is above the threshold: over 0.5 where
            there is no answer.
        """
        from scipy.special import expit

        candidates = _candidates(outputs, encoded, setup)
        margins = np.array([candidate.margin for candidate in candidates]) - setup.chosen.get(THRESHOLD, 0.0)
        kept = margins <= 0
        return pd.DataFrame(
            {
                "predicted": [
                    c.text if keep else NO_ANSWER for c, keep in zip(candidates, kept, strict=True)
                ],
                "start": [c.start if keep else -1 for c, keep in zip(candidates, kept, strict=True)],
                "end": [c.end if keep else -1 for c, keep in zip(candidates, kept, strict=True)],
                "p_no_answer": expit(margins),
            }
        )

    def score_examples(self, split: Split, answers: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the F1 of each answer."""
        pairs = zip(answers["predicted"], _gold(split), strict=True)
        return np.array([f1(predicted, texts) for predicted, texts in pairs], dtype=np.float64)

    def summarise(self, split: Split, answers: pd.DataFrame) -> dict[str, float]:
        """Return mean F1 and exact match by SQuAD's rules, each in [0, 1], and `no_answer_accuracy`.

        The last one is the share of questions for which it is right whether they have an answer.
        """
        gold, predicted = _gold(split), list(answers["predicted"])
        matches = [exact_match(answer, texts) for answer, texts in zip(predicted, gold, strict=True)]
        decided = [
            (answer == NO_ANSWER) == (not texts) for answer, texts in zip(predicted, gold, strict=True)
        ]
        return {
            "f1": float(self.score_examples(split, answers).mean()),
            "exact_match": float(np.mean(matches)),
            "no_answer_accuracy": float(np.mean(decided)),
        }

    def baseline(self, train: Split, split: Split) -> tuple[str, pd.DataFrame] | None:
        """Answer no question."""
        return "no answer", pd.DataFrame({"predicted": [NO_ANSWER] * len(split)})

    def summarise_classes(self, split: Split, answers: pd.DataFrame) -> dict[str, dict[str, float]]:
        """Return mean F1 and number (`support`) of the questions with and without an answer."""
        scores, kinds = self.score_examples(split, answers), np.array(split.categories, dtype=object)
        return {
            kind: {"f1": float(scores[kinds == kind].mean()), "support": float((kinds == kind).sum())}
            for kind in sorted(set(split.categories))
        }

    def gold(self, split: Split) -> list[str]:
        """Return the different accepted answers of each question as one text."""
        return [" | ".join(dict.fromkeys(texts)) for texts in _gold(split)]

    def targets(
        self, cells: Sequence[Any], columns: Mapping[str, Sequence[str]], setup: Setup
    ) -> dict[str, tuple[str, ...]]:
        """Return the answers in the cells of a user's file.

        Raises:
            Mistake: if a cell holds something else, or an answer does not stand at its place.
        """
        places = [f"row {row}" for row in range(1, len(cells) + 1)]
        answers, problems = answers_of(cells, columns["context"], [None] * len(cells), places)
        if problems:
            raise Mistake(*problems)
        return {"answers": tuple(answer.as_text() for answer in answers)}

    def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:
        """Warn if the model answers no question, although some have an answer."""
        if any(answers["predicted"]) or not any(_gold(split)) or len(split) < FEW:
            return ()
        return [
            "the model answers no question, so it has not learned to find answers. Try a higher lr or more epochs"
        ]


class OwnQuestionAnswering(QuestionAnswering):
    """Question answering on a user's own file."""

    fields: ClassVar[type[TaskFields]] = OwnQuestionFields


def _fields(setup: Setup) -> QuestionFields:
    assert isinstance(setup.fields, QuestionFields)
    return setup.fields


def _positions(window: Window, place: tuple[int, int] | None) -> tuple[int, int]:
    """Return the positions of an answer's first and last token in a window: those of "no answer" if it is not there."""
    inside = None if place is None else window.positions_of(*place)
    return (window.null, window.null) if inside is None else inside


def _candidates(outputs: Outputs, encoded: Encoded, setup: Setup) -> list[Candidate]:
    """Return the best answer of each example."""
    most = _fields(setup).max_answer_tokens
    spans = [
        best_span(start, end, window, most)
        for start, end, window in zip(outputs["start"], outputs["end"], encoded.notes["window"], strict=True)
    ]
    firsts = np.flatnonzero(np.diff(encoded.examples, prepend=-1)).tolist()
    ends = [*firsts[1:], len(spans)]
    return [
        candidate_of(spans[first:end], encoded.notes["context"][first])
        for first, end in zip(firsts, ends, strict=True)
    ]


def _gold(split: Split) -> list[tuple[str, ...]]:
    """Return the accepted answers of each question."""
    return [Answers.from_text(cell).texts for cell in split["answers"]]


def _pad(tokenizer: Any, rows: list[dict[str, Any]]) -> Batch:
    from transformers.data.data_collator import pad_without_fast_tokenizer_warning

    batch: Batch = pad_without_fast_tokenizer_warning(
        tokenizer, rows, padding_side="right", return_tensors="pt"
    )
    return batch
