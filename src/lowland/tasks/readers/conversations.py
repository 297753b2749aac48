"""Reader of instructions: chats, Alpaca's instructions with inputs and outputs, or two columns."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake, plural
from lowland.tasks.readers.cells import MISSING, is_missing, problem_with_label, problem_with_text
from lowland.tasks.readers.forms import read_form
from lowland.tasks.readers.raw_table import RawTable
from lowland.tasks.readers.tables import pick_columns

CHATS = ("messages", "conversations")
"""Names of the columns that hold chats."""
ROLES = ("system", "developer", "user", "assistant", "tool")
OTHER_NAMES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}
"""Roles by the names that files of `from` and `value` give them, in place of `role` and `content`."""
NO_HISTORY = (
    'history is no list of pairs; it must be as [["prompt", "reply"], …], in a .json, .jsonl or .parquet file'
)
Turn = dict[str, str]
"""A message of a chat, as `{"role": "user", "content": "…"}`."""
Chat = tuple[Any, int]
"""The turns of a chat (or what a cell holds in their place), and how many of the first ones are not to be learned."""


def read_conversations(
    path: Path,
    prompt: str,
    completion: str,
    split: str | None,
    *,
    separator: str | None = None,
    header: bool = True,
) -> pd.DataFrame:
    """Read prompts with completions, in any form.

    A chat with k turns of the assistant is k examples, each with the turns before it. They form a group, together with
    those of chats that begin alike. Of a chat that is cut into prompt and completion, only the latter is learned.

    Args:
        path: the file.
        prompt: name of the column with the prompts: texts, or lists of messages.
        completion: name of the column with the completions, in the same form.
        split: name of the column that says the split; None for none.
        separator: character between the cells of a .csv file; None recognises it.
        header: whether the first line names the columns.

    Returns:
        The columns `history` (earlier turns as JSON, or ""), `prompt`, `completion`, perhaps `split`, and for chats
        `group`.

    Raises:
        Mistake: if the file cannot be read, a column is missing, or a chat has no turn of the assistant.
    """
    table = read_form(path, separator=separator, header=header)
    chats = _chats(table, prompt, completion)
    if chats is None:
        roles = {"prompt": prompt, "completion": completion, "split": split}
        return pick_columns(table, roles, header=header).assign(history="")
    return _examples(table, chats, split)


def chats_to_answer(table: RawTable, prompt: str, completion: str) -> pd.DataFrame | None:
    """Return the examples of a file of chats, to write their completions; None if it is a table of texts.

    A chat that ends with a turn of the user is one example. Of another chat, each turn of the assistant is one, as in
    training.

    Args:
        table: the file's cells.
        prompt: as for `read_conversations`.
        completion: name of the column with the completions, which the file may lack.

    Returns:
        The columns `history`, `prompt` and `completion`, which is None where the file has none.

    Raises:
        Mistake: if a chat cannot be read, or has no turn of the user.
    """
    chats = _chats(table, prompt, completion, to_learn=False)
    if chats is None:
        return None
    rows: list[dict[str, Any]] = []
    problems: dict[str, list[int]] = {}
    for number, (chat, known) in enumerate(chats):
        if problem := _problem_with_turns(chat):
            problems.setdefault(problem, []).append(number)
        elif chat[-1]["role"] == "user":
            rows.append({**_example(chat, len(chat) - 1), "completion": None})
        elif examples := _turns_to_learn(chat, known):
            rows += examples
        else:
            problems.setdefault("has no turn of the user to answer", []).append(number)
    _raise_for(table, problems)
    return pd.DataFrame(rows, dtype=object)


def turns_of(history: str, prompt: str) -> list[Turn]:
    """Return the turns that an example's completion follows: the earlier ones, and the prompt."""
    earlier: list[Turn] = json.loads(history) if history else []
    return [*earlier, {"role": "user", "content": prompt}]


def _chats(table: RawTable, prompt: str, completion: str, to_learn: bool = True) -> list[Chat] | None:
    """Return the chats of a file; None if it is a table of texts.

    Args:
        table: the file's cells.
        prompt: name of the column with the prompts.
        completion: name of the column with the completions.
        to_learn: whether a file whose prompts are lists of messages must have completions.
    """
    columns = table.rows.columns
    if prompt not in columns and (named := [name for name in CHATS if name in columns]):
        return [(_turns(cell), 0) for cell in table.rows[named[0]]]
    if prompt not in columns and "instruction" in columns:
        return [(chat, 0) for chat in _instructed_chats(table, to_learn)]
    if prompt not in columns or not any(map(_is_list, table.rows[prompt])):
        return None
    if completion in columns:
        replies = list(map(_turns, table.rows[completion]))
    elif to_learn:
        raise Mistake(f"{table.path} has no column {completion!r}; name it with --completion-column")
    else:
        replies = [[]] * len(table.rows)
    pairs = zip(map(_turns, table.rows[prompt]), replies, strict=True)
    return [
        ([*first, *second], len(first)) if _is_list(first) and _is_list(second) else (None, 0)
        for first, second in pairs
    ]


def _instructed_chats(table: RawTable, to_learn: bool) -> list[list[Turn]]:
    """Return the chats of a file in Alpaca's form: `instruction`, perhaps `input`, `output`, `system` and `history`.

    The user's turn is the instruction, with the input on the next line. `history` is a list of pairs of earlier turns.

    Raises:
        Mistake: if there is nothing to learn, or a history is of another form.
    """
    if to_learn and "output" not in table.rows.columns:
        raise Mistake(
            f"{table.path} has a column 'instruction' and no 'output'; add it, or name the columns with"
            " --prompt-column and --completion-column"
        )
    chats: list[list[Turn]] = []
    problems: dict[str, list[int]] = {}
    for number, row in enumerate(table.rows.to_dict("records")):
        earlier = [] if is_missing(row.get("history")) else row["history"]
        if not _is_list(earlier) or not all(_is_list(pair) and len(pair) == 2 for pair in earlier):
            problems.setdefault(NO_HISTORY, []).append(number)
        elif to_learn and is_missing(row["output"]):
            problems.setdefault(f"output {MISSING}", []).append(number)
        else:
            chats.append(_instructed(row, earlier))
    _raise_for(table, problems, what="")
    return chats


def _instructed(row: Mapping[Hashable, Any], earlier: Sequence[Sequence[Any]]) -> list[Turn]:
    """Return the chat of a row in Alpaca's form."""
    turns = [] if is_missing(row.get("system")) else [("system", row["system"])]
    for asked, reply in earlier:
        turns += [("user", asked), ("assistant", reply)]
    prompt = [row["instruction"], *([] if is_missing(row.get("input")) else [row["input"]])]
    no_text = [part for part in prompt if problem_with_text(part)]  # reported as the turn's text
    turns.append(("user", no_text[0] if no_text else "\n".join(prompt)))
    if not is_missing(row.get("output")):
        turns.append(("assistant", row["output"]))
    return [{"role": role, "content": text} for role, text in turns]


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | np.ndarray)  # parquet files have arrays


def _turns(cell: Any) -> Any:
    """Return a cell's messages with `role` and `content`; a cell that holds no list of messages as it is."""
    if not _is_list(cell):
        return cell
    return [
        {"role": OTHER_NAMES.get(turn["from"], turn["from"]), "content": turn["value"]}
        if isinstance(turn, Mapping) and {"from", "value"} <= set(turn) and isinstance(turn["from"], str)
        else turn
        for turn in cell
    ]


def _examples(table: RawTable, chats: Sequence[Chat], split: str | None) -> pd.DataFrame:
    """Return an example for each turn of the assistant."""
    if split is not None and split not in table.rows.columns:
        raise Mistake(f"{table.path} has no column {split!r}; name another with --split-column")
    rows: list[dict[str, str]] = []
    problems: dict[str, list[int]] = {}
    splits = [None] * len(chats) if split is None else list(table.rows[split])
    for number, ((chat, known), named) in enumerate(zip(chats, splits, strict=True)):
        problem = _problem_with_chat(chat, known)
        if split is not None and not problem and (of_split := problem_with_label(named)):
            problem = f"has a split that {of_split}"
        if problem:
            problems.setdefault(problem, []).append(number)
            continue
        shared = {"group": _opening(chat)} | ({} if split is None else {"split": str(named)})
        rows += [{**example, **shared} for example in _turns_to_learn(chat, known)]
    _raise_for(table, problems)
    return pd.DataFrame(rows)


def _raise_for(table: RawTable, problems: Mapping[str, Sequence[int]], what: str = "the chat ") -> None:
    """Raise `Mistake` if rows have problems: a sentence for each, with the first of its rows."""
    if problems:
        raise Mistake(
            *(
                f"{table.path}, {table.place(numbers[0])}: {what}{problem}"
                f" ({plural(len(numbers), 'row')} of the kind)"
                for problem, numbers in problems.items()
            )
        )


def _opening(chat: Sequence[Turn]) -> str:
    """Return what a chat begins with, up to the first turn of the user; chats that share it are alike."""
    first = [turn["role"] for turn in chat].index("user")
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in chat[: first + 1]]
    return json.dumps(turns, ensure_ascii=False)


def _turns_to_learn(chat: Sequence[Turn], known: int) -> list[dict[str, str]]:
    """Return history, prompt and completion of each turn of the assistant that follows one of the user.

    The first `known` turns are not to be learned.
    """
    examples = []
    for place, turn in enumerate(chat):
        if place < max(known, 1) or turn["role"] != "assistant" or chat[place - 1]["role"] != "user":
            continue
        examples.append({**_example(chat, place - 1), "completion": turn["content"]})
    return examples


def _example(chat: Sequence[Turn], place: int) -> dict[str, str]:
    """Return the turn at a place of a chat as the prompt, and the turns before it as the history."""
    earlier = [{"role": turn["role"], "content": turn["content"]} for turn in chat[:place]]
    history = json.dumps(earlier, ensure_ascii=False) if earlier else ""
    return {"history": history, "prompt": chat[place]["content"]}


def _problem_with_chat(chat: Any, known: int) -> str | None:
    """Return why nothing can be learned from a chat, as the end of the sentence "the chat …"; None if something can."""
    if (problem := _problem_with_turns(chat)) is None and not _turns_to_learn(chat, known):
        return "has no turn of the assistant after one of the user, so there is nothing to learn; remove it"
    return problem


def _problem_with_turns(chat: Any) -> str | None:
    """Return what is wrong with the turns of a chat, as `_problem_with_chat` does."""
    if not isinstance(chat, list) or not chat:
        return 'is no list of messages; it must be as [{"role": "user", "content": "…"}, …]'
    if not all(isinstance(turn, Mapping) and {"role", "content"} <= set(turn) for turn in chat):
        return "has a message without role or content"
    if unknown := [turn["role"] for turn in chat if turn["role"] not in ROLES]:
        return f"has the role {unknown[0]!r}; it must be one of {', '.join(ROLES)}"
    problems = [(turn["role"], problem_with_text(turn["content"])) for turn in chat]
    if wrong := [(role, problem) for role, problem in problems if problem]:
        return f"has a message of the {wrong[0][0]} that {wrong[0][1]}"
    return None
