"""Reader of prompts with completions and of chats: every form gives the same examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.ground.mistakes import Mistake
from lowland.tasks.readers.conversations import chats_to_answer, read_conversations, turns_of
from lowland.tasks.readers.forms import read_form

Read = Callable[..., pd.DataFrame]


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def system(text: str, role: str = "system") -> dict[str, str]:
    return {"role": role, "content": text}


LONG = [system("Be brief."), user("Hi"), assistant("Hello"), user("Why?"), assistant("So.")]
SHORT = [user("Who?"), assistant("Me.")]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def call(
        rows: list[dict[str, Any]],
        prompt: str = "prompt",
        completion: str = "completion",
        split: str | None = None,
    ) -> pd.DataFrame:
        path = tmp_path / "chats.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_conversations(path, prompt, completion, split)

    return call


def test_a_chat_is_an_example_for_each_turn_of_the_assistant(read: Read) -> None:
    table = read([{"messages": LONG}, {"messages": SHORT}])
    assert list(table["prompt"]) == ["Hi", "Why?", "Who?"]
    assert list(table["completion"]) == ["Hello", "So.", "Me."]
    turns = [turns_of(*row) for row in zip(table["history"], table["prompt"], strict=True)]
    assert turns == [LONG[:2], LONG[:4], SHORT[:1]]
    assert table["group"].nunique() == 2
    assert table["group"][0] == table["group"][1]


def test_chats_that_begin_alike_are_one_group(read: Read) -> None:
    chats = [
        [system("Be brief."), user("Hi"), assistant("Hello")],
        [system("Be brief."), user("Hi"), assistant("Hey"), user("Why?"), assistant("So.")],
        [system("Be brief.", "developer"), user("Hi"), assistant("Hello")],
        [system("Be brief.", "developer"), user("Bye"), assistant("Bye")],
        [assistant("How can I help?"), user("Hi"), assistant("Hello")],
        [assistant("How can I help?"), user("Bye"), assistant("Bye")],
    ]
    groups = list(read([{"messages": chat} for chat in chats])["group"])
    first, *others = groups[0], *groups[3:]
    assert groups[:3] == [first] * 3
    assert len({first, *others}) == 5


def test_other_forms_of_a_chat(read: Read, tmp_path: Path) -> None:
    expected = read([{"messages": LONG}, {"messages": SHORT}])
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    shared = [
        [{"from": names[turn["role"]], "value": turn["content"]} for turn in chat] for chat in (LONG, SHORT)
    ]
    rows = [{"id": number, "conversations": chat} for number, chat in enumerate(shared)]
    pd.testing.assert_frame_equal(read(rows), expected)
    pd.testing.assert_frame_equal(read([{"conversations": LONG}, {"conversations": SHORT}]), expected)
    path = tmp_path / "chats.parquet"  # lists become arrays there
    pd.DataFrame({"messages": [LONG, SHORT]}).to_parquet(path)
    pd.testing.assert_frame_equal(read_conversations(path, "prompt", "completion", None), expected)
    path = tmp_path / "chats.json"
    path.write_text(json.dumps([{"messages": LONG}, {"messages": SHORT}]))
    pd.testing.assert_frame_equal(read_conversations(path, "prompt", "completion", None), expected)


def test_of_a_chat_cut_into_prompt_and_completion_only_the_completion_is_learned(
    read: Read, tmp_path: Path
) -> None:
    rows = [{"prompt": LONG[:4], "completion": LONG[4:]}, {"prompt": SHORT[:1], "completion": SHORT[1:]}]
    whole = read([{"messages": LONG}, {"messages": SHORT}])
    pd.testing.assert_frame_equal(read(rows), whole.drop(index=0).reset_index(drop=True))
    pd.DataFrame(rows).to_parquet(tmp_path / "cut.parquet")
    from_parquet = read_conversations(tmp_path / "cut.parquet", "prompt", "completion", None)
    pd.testing.assert_frame_equal(from_parquet, read(rows))
    two = read([{"prompt": LONG[:2], "completion": LONG[2:]}])
    assert list(two["completion"]) == ["Hello", "So."]


def test_texts_in_two_columns(read: Read) -> None:
    expected = {"prompt": ["a", "c"], "completion": ["b", "d"], "history": ["", ""]}
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]
    assert read(rows).to_dict("list") == expected
    other = [{"question": "a", "answer": "b"}, {"question": "c", "answer": "d"}]
    assert read(other, "question", "answer").to_dict("list") == expected
    named = read([{"messages": SHORT, "prompt": "a", "completion": "b"}])  # a column that is named goes first
    assert list(named["prompt"]) == ["a"]


def test_instructions_in_the_form_of_alpaca(read: Read, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "instruction": "Why?",
            "input": "",
            "output": "So.",
            "system": "Be brief.",
            "history": [["Hi", "Hello"]],
        },
        {"instruction": "Translate.", "input": "Hallo", "output": "Hello", "system": None, "history": None},
        {"instruction": "Who?", "output": "Me."},
    ]
    chats = [LONG, [user("Translate.\nHallo"), assistant("Hello")], SHORT]
    expected = read([{"messages": chat} for chat in chats])
    pd.testing.assert_frame_equal(read(rows), expected)
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(
        read_conversations(tmp_path / "rows.parquet", "prompt", "completion", None), expected
    )
    (tmp_path / "rows.csv").write_text("instruction,input,output\nTranslate.,Hallo,Hello\nWho?,,Me.\n")
    table = read_conversations(tmp_path / "rows.csv", "prompt", "completion", None)
    assert list(table["prompt"]) == ["Translate.\nHallo", "Who?"]
    assert list(read(rows[2:], "instruction", "output")["prompt"]) == [
        "Who?"
    ]  # columns that are named go first


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "Why?", "output": ""}, r"line 1: output is missing or empty \(1 row of the kind\)"),
        (
            {"instruction": "Why?", "response": "So."},
            "has a column 'instruction' and no 'output'; add it, or name",
        ),
        (
            {"instruction": "", "input": "Hi", "output": "So."},
            "has a message of the user that is missing or empty",
        ),
        ({"instruction": "Add.", "input": 3, "output": "So."}, "has a message of the user that is a number"),
        ({"instruction": "Why?", "output": ["So."]}, "has a message of the assistant that is a list"),
        ({"instruction": "Why?", "output": "So.", "history": ["Hi", "Hello"]}, "history is no list of pairs"),
        ({"instruction": "Why?", "output": "So.", "history": [["Hi"]]}, "history is no list of pairs"),
        (
            {"instruction": "Why?", "output": "So.", "history": '[["Hi", "Hello"]]'},
            "history is no list of pairs",
        ),
    ],
)
def test_instructions_that_cannot_be_read(read: Read, row: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        read([row])


def test_instructions_without_outputs_are_answered(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "Translate.", "input": "Hallo"}\n{"instruction": "Who?", "input": ""}\n')
    examples = chats_to_answer(read_form(path), "prompt", "completion")
    assert examples is not None
    assert list(examples["prompt"]) == ["Translate.\nHallo", "Who?"]
    assert set(examples["completion"]) == {None}


def test_the_split_of_a_chat_is_that_of_its_examples(read: Read) -> None:
    table = read([{"messages": LONG, "part": "train"}, {"messages": SHORT, "part": "test"}], split="part")
    assert list(table["split"]) == ["train", "train", "test"]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ([user("Hi")], "has no turn of the assistant after one of the user, so there is nothing to learn; remove it"),
        ([system("Be brief."), assistant("Hi")], "has no turn of the assistant after one of the user"),
        ([user("Hi"), {"role": "bot", "content": "Hello"}], "has the role 'bot'; it must be one of system, developer"),
        ([user("Hi"), {"role": "assistant"}], "has a message without role or content"),
        ([user("Hi"), "Hello"], "has a message without role or content"),
        ([user("Hi"), assistant("")], "has a message of the assistant that is missing or empty"),
        ([user(None), assistant("Hello")], "has a message of the user that is missing or empty"),
        ([user([{"type": "text", "text": "Hi"}]), assistant("Hello")], "has a message of the user that is a list"),
        ([user("cut \ud800"), assistant("Hello")], "has a message of the user that holds half of a character"),
        ([{"role": ["user"], "content": "Hi"}, assistant("Hello")], "has the role"),
        ([{"from": "narrator", "value": "Hi"}, assistant("Hello")], "has the role 'narrator'"),
        ([], "is no list of messages"),
        ("Hi", "is no list of messages; it must be as"),
        (None, "is no list of messages"),
        ({"role": "user"}, "is no list of messages"),
    ],
)  # fmt: skip
def test_a_chat_that_cannot_be_used_is_reported_with_its_line(read: Read, chat: Any, message: str) -> None:
    with pytest.raises(Mistake) as caught:
        read([{"messages": SHORT}, {"messages": chat}, {"messages": chat}])
    (problem,) = caught.value.problems
    assert "chats.jsonl, line 2: the chat " in problem
    assert message in problem
    assert problem.endswith("(2 rows of the kind)")


def test_all_kinds_of_problems_are_reported_at_once(read: Read) -> None:
    rows = [
        {"messages": chat, "part": part}
        for chat, part in (([user("Hi")], "train"), (SHORT, None), (None, "test"))
    ]
    with pytest.raises(Mistake) as caught:
        read(rows, split="part")
    assert [problem.split(": the chat ")[0].rpartition("line ")[2] for problem in caught.value.problems] == [
        "1",
        "2",
        "3",
    ]
    assert "has a split that is missing or empty" in caught.value.problems[1]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"prompt": [user("Hi")]}], {}, "has no column 'completion'; name it with --completion-column"),
        ([{"prompt": [user("Hi")], "completion": "Hello"}], {}, "is no list of messages"),
        ([{"messages": SHORT}], {"split": "part"}, "has no column 'part'; name another with --split-column"),
        ([{"prompt": "a", "completion": ""}], {}, "has 1 row without a completion"),
        ([{"prompt": None, "completion": "b"}], {}, "has 1 row without a prompt"),
        ([{"prompt": "a", "completion": 4}], {}, "the completion is a number; it must be text"),
        ([{"text": "a", "label": "b"}], {}, "its columns are those of single texts, read by --task classification"),
        ([{"source": "a", "target": "b"}], {}, "read by --task text-to-text"),
    ],
)  # fmt: skip
def test_a_file_that_lacks_what_is_needed(
    read: Read, rows: list[dict[str, Any]], options: dict[str, str], message: str
) -> None:
    with pytest.raises(Mistake, match=message):
        read(rows, **options)


@pytest.fixture
def to_answer(tmp_path: Path) -> Read:
    def call(rows: list[dict[str, Any]], prompt: str = "prompt", completion: str = "completion") -> Any:
        path = tmp_path / "chats.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return chats_to_answer(read_form(path), prompt, completion)

    return call


def test_the_examples_to_answer_are_those_of_training_and_open_chats(to_answer: Read, read: Read) -> None:
    rows = [{"messages": LONG}, {"messages": LONG[:4]}, {"messages": SHORT}]
    table = to_answer(rows)
    assert list(table["prompt"]) == ["Hi", "Why?", "Why?", "Who?"]
    assert list(table["completion"]) == ["Hello", "So.", None, "Me."]
    assert [turns_of(*row) for row in zip(table["history"], table["prompt"], strict=True)] == [
        LONG[:2], LONG[:4], LONG[:4], SHORT[:1]
    ]  # fmt: skip
    learned = read([rows[0], rows[2]])
    without_the_open = table.drop(index=2)[["history", "prompt", "completion"]]
    assert learned[list(without_the_open)].to_numpy().tolist() == without_the_open.to_numpy().tolist()


def test_prompts_that_are_lists_of_messages_need_no_completions_to_be_answered(to_answer: Read) -> None:
    assert list(to_answer([{"prompt": [user("Hi")]}])["completion"]) == [None]
    both = {"q": LONG[:4], "a": LONG[4:]}
    table = to_answer([both], "q", "a")
    assert list(table["prompt"]) == ["Why?"]  # the first turn of the assistant is not written anew
    assert list(table["completion"]) == ["So."]


def test_texts_are_no_chats(to_answer: Read) -> None:
    assert to_answer([{"prompt": "Hi", "completion": "Hello"}]) is None


@pytest.mark.parametrize(
    ("chat", "problem"),
    [
        ([system("Be brief.")], "line 1: the chat has no turn of the user to answer (1 row of the kind)"),
        ("Hi", "is no list of messages"),
        ([{"role": "user"}], "without role or content"),
    ],
)
def test_chats_that_cannot_be_answered_are_named(to_answer: Read, chat: Any, problem: str) -> None:
    with pytest.raises(Mistake) as mistake:
        to_answer([{"messages": chat}])
    assert problem in str(mistake.value)
