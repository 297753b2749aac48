"""Examples of damaged texts: those that are answered right when clean, and wrong when damaged, come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lowland.evidence.readers.stress_rows import CELL, Cell, cell_of, rates_of

PER_CELL = 2
"""Number of examples of each cell."""
MOST = 24
"""Largest number of examples: with more cells, one of each, and of these the first."""
RIGHT = 0.5
"""Least score of an answer that counts as right."""


@dataclass(frozen=True)
class AnswersTo:
    """Answers of one model, or of the runs of one method, to a clean text and to the same text damaged.

    Attributes:
        model: name of the model, or label of the method.
        asked: number of answers to the clean text, and to the damaged one: runs, times epochs.
        right: number of right ones of each; a question without an answer counts as wrong.
        reply_clean: most frequent answer to the clean text; of equally frequent ones the first.
        reply: most frequent answer to the damaged text, of the wrong ones if there are any.
    """

    model: str
    asked: tuple[int, int]
    right: tuple[int, int]
    reply_clean: str
    reply: str


@dataclass(frozen=True)
class DamagedExample:
    """A text, clean and damaged, with the answers to both.

    Attributes:
        cell: how it is damaged.
        item: id of the question, or number of the test example.
        clean: the clean text.
        damaged: the damaged text.
        gold: the accepted answers, joined by " | "; "" if the rows do not hold them.
        answers: answers of each model.
    """

    cell: Cell
    item: str
    clean: str
    damaged: str
    gold: str
    answers: tuple[AnswersTo, ...]


def damaged_examples(
    rows: pd.DataFrame, *, clean: str = "clean", per_cell: int = PER_CELL, most: int = MOST
) -> list[DamagedExample]:
    """Choose a few examples of each way in which texts were damaged; equal rows give equal examples.

    Of a cell, those come first that the most models answer right when clean and wrong when damaged, then those that no
    other cell shows, then those that come first in the rows. Rows with mitigations are left out, and so are texts that
    the damage leaves as they are.

    Args:
        rows: rows of a stress test: of several models, or of the runs of several methods.
        clean: name of the undamaged condition.
        per_cell: number of examples of each cell.
        most: largest number of examples.
    """
    if not {"prompt", "reply", *CELL} <= set(rows.columns):
        return []
    rows = rows[rows["mitigation"] == "none"].assign(
        item=rows["item"].astype(str),
        level=rows["level"].fillna("").astype(str),
        protected=rows["protected"].eq(True) & (rows["condition"] != clean),
        score=rows["score"].astype(float).fillna(0.0),
    )
    undamaged, damaged = rows[rows["condition"] == clean], rows[rows["condition"] != clean]
    texts = undamaged.drop_duplicates("item").set_index("item")["prompt"]
    before = undamaged.groupby(["item", "model"])["score"].mean()
    changed = damaged[damaged["prompt"] != damaged["item"].map(texts)]
    changed = changed[changed["item"].isin(texts.index)]
    rates = rates_of(changed) if len(changed) else {}
    cells = sorted(rates, key=lambda cell: (cell.condition, rates[cell], cell.level, cell.protected))
    per_cell = per_cell if per_cell * len(cells) <= most else 1
    by_cell = {cell_of(key): block for key, block in changed.groupby(CELL)}
    used: set[str] = set()
    examples = []
    for cell in cells[:most]:
        block = by_cell[cell]
        after = block.groupby(["item", "model"], sort=False)["score"].mean()
        lost = (
            (before.reindex(after.index).fillna(0.0) - after)
            .clip(lower=0.0)
            .groupby(level="item", sort=False)
            .sum()
        )
        order = sorted(lost.index, key=lambda item: (-round(lost[item], 9), item in used))
        for item in order[:per_cell]:
            used.add(item)
            own = block[block["item"] == item]
            examples.append(_example(cell, undamaged[undamaged["item"] == item], own))
    return examples


def _example(cell: Cell, clean: pd.DataFrame, damaged: pd.DataFrame) -> DamagedExample:
    first = damaged.iloc[0]
    models = [str(model) for model in dict.fromkeys(damaged["model"])]
    return DamagedExample(
        cell=cell,
        item=str(first["item"]),
        clean=str(clean.iloc[0]["prompt"]),
        damaged=str(first["prompt"]),
        gold=str(first["gold"]) if isinstance(first.get("gold"), str) else "",
        answers=tuple(
            _answers(model, clean[clean["model"] == model], damaged[damaged["model"] == model])
            for model in models
        ),
    )


def _answers(model: str, clean: pd.DataFrame, damaged: pd.DataFrame) -> AnswersTo:
    is_right = [each["score"] >= RIGHT for each in (clean, damaged)]
    wrong = damaged[~is_right[1]]
    return AnswersTo(
        model=model,
        asked=(len(clean), len(damaged)),
        right=(int(is_right[0].sum()), int(is_right[1].sum())),
        reply_clean=_most_frequent(list(clean["reply"])),
        reply=_most_frequent(list((wrong if len(wrong) else damaged)["reply"])),
    )


def _most_frequent(replies: Sequence[object]) -> str:
    texts = [str(reply) for reply in replies if isinstance(reply, str)]
    return max(texts, key=texts.count, default="")
