"""Reader of instructions: chats (`messages`), `prompt` and `completion`, or two columns of other names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.ground.mistakes import Mistake, plural
from lowland.tasks.readers.cells import problem_with_text
from lowland.tasks.readers.forms import RawTable, read_form
from lowland.tasks.readers.tables import read_table

MESSAGES = "messages"
ROLES = ("system", "developer", "user", "assistant", "tool")
Turn = dict[str, str]
"""A message of a chat, as `{"role": "user", "content": "…"}`."""


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

    A chat with k turns of the assistant is k examples, each with the turns before it, and they form a group.

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
    if MESSAGES in table.rows.columns and prompt not in table.rows.columns:
        chats = list(table.rows[MESSAGES])
    elif prompt in table.rows.columns and any(isinstance(cell, list) for cell in table.rows[prompt]):
        chats = _joined(table, prompt, completion)
    else:
        roles = {"prompt": prompt, "completion": completion, "split": split}
        return read_table(path, roles, separator=separator, header=header).assign(history="")
    return _examples(table, chats, split)


def turns_of(history: str, prompt: str) -> list[Turn]:
    """Return the turns that an example's completion follows: the earlier ones, and the prompt."""
    earlier: list[Turn] = json.loads(history) if history else []
    return [*earlier, {"role": "user", "content": prompt}]


def _joined(table: RawTable, prompt: str, completion: str) -> list[Any]:
    """Return chats that are cut into a list of messages to read and a list to write."""
    if completion not in table.rows.columns:
        raise Mistake(f"{table.path} has no column {completion!r}; name it with --completion-column")
    pairs = zip(table.rows[prompt], table.rows[completion], strict=True)
    return [[*first, *second] if _are_lists(first, second) else None for first, second in pairs]


def _are_lists(*cells: Any) -> bool:
    return all(isinstance(cell, list) for cell in cells)


def _examples(table: RawTable, chats: Sequence[Any], split: str | None) -> pd.DataFrame:
    """Return an example for each turn of the assistant."""
    if split is not None and split not in table.rows.columns:
        raise Mistake(f"{table.path} has no column {split!r}; name another with --split-column")
    rows: list[dict[str, str]] = []
    problems: dict[str, list[int]] = {}
    for number, chat in enumerate(chats):
        if problem := _problem_with_chat(chat):
            problems.setdefault(problem, []).append(number)
            continue
        shared = {"group": json.dumps(chat[0], ensure_ascii=False, sort_keys=True)}
        if chat[0]["role"] == "system":
            shared["group"] += json.dumps(chat[1], ensure_ascii=False, sort_keys=True)
        if split is not None:
            shared["split"] = str(table.rows[split].iloc[number])
        rows += [{**example, **shared} for example in _turns_to_learn(chat)]
    if problems:
        raise Mistake(
            *(
                f"{table.path}, {table.place(numbers[0])}: the chat {problem}"
                f" ({plural(len(numbers), 'row')} of the kind)"
                for problem, numbers in problems.items()
            )
        )
    return pd.DataFrame(rows)


def _turns_to_learn(chat: Sequence[Turn]) -> list[dict[str, str]]:
    """Return history, prompt and completion of each turn of the assistant that follows one of the user."""
    examples = []
    for place, turn in enumerate(chat):
        if turn["role"] != "assistant" or place == 0 or chat[place - 1]["role"] != "user":
            continue
        earlier = [{"role": each["role"], "content": each["content"]} for each in chat[: place - 1]]
        examples.append(
            {
                "history": json.dumps(earlier, ensure_ascii=False) if earlier else "",
                "prompt": chat[place - 1]["content"],
                "completion": turn["content"],
            }
        )
    return examples


def _problem_with_chat(chat: Any) -> str | None:
    """Return what is wrong with a chat, as the end of the sentence "the chat …"; None if it can be used."""
    if not isinstance(chat, list) or not chat:
        return 'is no list of messages; it must be as [{"role": "user", "content": "…"}, …]'
    if not all(isinstance(turn, Mapping) and {"role", "content"} <= set(turn) for turn in chat):
        return "has a message without role or content"
    if unknown := [turn["role"] for turn in chat if turn["role"] not in ROLES]:
        return f"has the role {unknown[0]!r}; it must be one of {', '.join(ROLES)}"
    problems = [(turn["role"], problem_with_text(turn["content"])) for turn in chat]
    if wrong := [(role, problem) for role, problem in problems if problem]:
        return f"has a message of the {wrong[0][0]} that {wrong[0][1]}"
    if not _turns_to_learn(chat):
        return "has no turn of the assistant after one of the user, so there is nothing to learn; remove it"
    return None
