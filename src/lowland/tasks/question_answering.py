"""Extractive question answering: a question, a context, and the part of it that answers; or no answer. SQuAD 2.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from lowland.ground.asked import Text, Whole
from lowland.ground.mistakes import Mistake, plural
from lowland.models.load import LoadedModel, load_span_model, load_tokenizer, outline_span_model
from lowland.tasks.base import (
    TRAIN,
    Batch,
    Encoded,
    Outputs,
    Purpose,
    Setup,
    Split,
    Task,
    TaskData,
    TaskFields,
)
from lowland.tasks.classification import FEW, FetchedTable, read_files
from lowland.tasks.readers.questions import read_questions
from lowland.tasks.readers.squad import Answers, NoAnswers, read_answers
from lowland.tasks.span_scores import NO_ANSWER, exact_match, f1
from lowland.tasks.spans import Candidate, best_span, best_threshold, candidate_of
from lowland.tasks.splits import Roles, make_splits
from lowland.tasks.windows import Window, null_token, windows_of

THRESHOLD = "no_answer_threshold"
LEAST_TITLES = 5
"""Number of different titles from which some can be held out."""


class QuestionFields(TaskFields):
    """Options of the search for answers in long contexts."""

    stride: Annotated[Whole, Field(ge=0)] = 64
    """number of tokens that two windows of one long context share"""
    max_answer_tokens: Annotated[Whole, Field(ge=1)] = 30
    """largest number of tokens of an answer"""


class OwnQuestionFields(QuestionFields):
    """A user's own file of questions about contexts."""

    question_column: Text = "question"
    """the column with the question"""
    context_column: Text = "context"
    """the column with the text that holds the answer"""
    answers_column: Text = "answers"
    """the column with the answers: texts, or texts with their places; nothing where there is no answer"""
    title_column: Text | None = None
    """a column with the document of each context, which stays in one split (default: title, if there is one)"""
    split_column: Text | None = None
    """a column that says train, validation or test; rows with another name form a further test set of that name"""


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
    damaged_columns: ClassVar[tuple[str, ...]] = (
        "question",
    )  # in a damaged context, answers would be damaged, too
    scores: ClassVar[tuple[str, ...]] = ("f1", "exact_match", "no_answer_accuracy")
    chosen_on_validation: ClassVar[tuple[str, ...]] = (THRESHOLD,)

    def peft_task_type(self, fields: TaskFields) -> str:
        """Return PEFT's name for models that mark answers."""
        return "QUESTION_ANS"

    def load(self, fields: TaskFields) -> TaskData:
        """Read questions and split them by title: all questions of a document are in one split.

        Where there are fewer than `LEAST_TITLES` titles, all questions about a context are in one split.
        """
        table, source = self._read(fields)
        table, remarks = _with_groups(table)
        answerable = table["answers"] != Answers().as_text()
        table = table.assign(category=answerable.map({True: "answerable", False: "unanswerable"}))
        if searched := int(table["searched"].sum()):
            remarks.append(
                f"{plural(searched, 'question')} have answers without a place that their context holds more than once;"
                " the first place is taken"
            )
        kept = [
            name for name in ("question", "context", "answers", "group", "category", "split") if name in table
        ]
        roles = Roles(self.input_columns, label=None, targets=("answers",), together=("group",))
        data = make_splits(table[kept], source, fields, roles=roles)
        return replace(data, remarks=(*data.remarks, *remarks))

    def _read(self, fields: TaskFields) -> tuple[pd.DataFrame, str]:
        """Return the table that the fields ask for, and its source."""
        if fields.data is not None:
            return read_files(_read_file, fields)
        if fields.test_data is not None:
            raise Mistake("test_data is given without data; name the file to train on with --data")
        if self.fetch is None:
            raise Mistake(
                f"task {self.name} needs a file of questions: --data FILE (SQuAD's .json, or a table)"
            )
        return self.fetch()

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
        fields = setup.fields
        assert isinstance(fields, QuestionFields)
        examples, truncation = windows_of(
            setup.tokenizer, columns["question"], columns["context"], setup.max_length, fields.stride
        )
        targets = [_Target() for _ in examples]
        if purpose != "predict":
            targets = [_Target.of(Answers.from_text(cell)) for cell in columns["answers"]]
        if purpose == "train":
            lost = [place for place, windows in enumerate(examples) if not targets[place].is_in(windows)]
            examples = [[] if place in set(lost) else windows for place, windows in enumerate(examples)]
            truncation = replace(truncation, cut=truncation.cut + len(lost))
        numbered = [(place, window) for place, windows in enumerate(examples) for window in windows]
        rows: dict[str, list[Any]] = {name: [] for _, window in numbered[:1] for name in window.inputs}
        for name, values in rows.items():
            values += [window.inputs[name] for _, window in numbered]
        if purpose != "predict":
            places = [targets[place].positions(window) for place, window in numbered]
            rows["start_positions"], rows["end_positions"] = map(list, zip(*places, strict=True))
        notes: dict[str, list[Any]] = {
            "window": [window for _, window in numbered],
            "context": [columns["context"][place] for place, _ in numbered],
        }
        return Encoded(rows, np.array([place for place, _ in numbered], dtype=np.int64), notes, truncation)

    def collator(self, setup: Setup) -> Callable[[list[dict[str, Any]]], Batch]:
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
        answers = []
        for row, (cell, context) in enumerate(zip(cells, columns["context"], strict=True), start=1):
            try:
                answers.append(read_answers(cell, context).as_text())
            except NoAnswers as error:
                raise Mistake(f"row {row}: {error.detail}") from None
        return {"answers": tuple(answers)}

    def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:
        """Warn if the model answers no question, although some have an answer."""
        if any(answers["predicted"]) or not any(_gold(split)) or len(split) < FEW:
            return ()
        return [
            "no question is answered: the model has not learned to find answers. Try a higher lr or more epochs"
        ]


class OwnQuestionAnswering(QuestionAnswering):
    """Question answering on a user's own file."""

    fields: ClassVar[type[TaskFields]] = OwnQuestionFields


@dataclass(frozen=True)
class _Target:
    """Place of the answer that a model is trained on, in characters; None for a question without an answer."""

    place: tuple[int, int] | None = None

    @classmethod
    def of(cls, answers: Answers) -> _Target:
        """Return the place of the most frequent of some accepted answers, without the spaces around it."""
        if not answers.texts:
            return cls()
        (text, start), _ = Counter(zip(answers.texts, answers.starts, strict=True)).most_common(1)[0]
        start += len(text) - len(text.lstrip())
        return cls((start, start + len(text.strip())))

    def positions(self, window: Window) -> tuple[int, int]:
        """Return the positions of its first and last token in a window: those of "no answer" if it is not there."""
        inside = None if self.place is None else window.positions_of(*self.place)
        return (window.null, window.null) if inside is None else inside

    def is_in(self, windows: Sequence[Window]) -> bool:
        """Return whether a window holds it; True for a question without an answer."""
        return self.place is None or any(window.positions_of(*self.place) for window in windows)


def _read_file(path: Path, fields: TaskFields) -> pd.DataFrame:
    """Read a file of questions with the columns that the fields name."""
    if not isinstance(fields, OwnQuestionFields):
        return read_questions(path)
    columns = {name: getattr(fields, f"{name}_column") for name in ("question", "context", "answers")}
    return read_questions(path, columns, title=fields.title_column, split=fields.split_column)


def _with_groups(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with a column `group`, and remarks: the title, or a number for each context."""
    trained = table[table["split"].str.casefold() == TRAIN] if "split" in table else table
    titles = trained["title"].nunique()
    if titles >= LEAST_TITLES and (table["title"] != "").all():
        return table.assign(group=table["title"]), []
    numbers = table.groupby("context", sort=False).ngroup() + 1
    remarks = []
    if titles > 1:
        remarks = [
            f"{plural(titles, 'title')} are too few to hold some of them out; contexts are held out instead, of"
            " documents that are also trained on"
        ]
    return table.assign(group=[f"context {number}" for number in numbers]), remarks


def _candidates(outputs: Outputs, encoded: Encoded, setup: Setup) -> list[Candidate]:
    """Return the best answer of each example."""
    fields = setup.fields
    assert isinstance(fields, QuestionFields)
    spans = [
        best_span(start, end, window, fields.max_answer_tokens)
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
