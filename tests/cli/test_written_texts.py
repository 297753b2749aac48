"""Mistakes with tasks that write text, on the command line: one sentence, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.language_models import language_model, save

Run = Callable[..., tuple[int, str, str]]
PAIRS = [{"prompt": f"say {n}", "completion": f"it {n}"} for n in range(40)]
TEXTS = [{"source": f"say {n}", "target": f"it {n}"} for n in range(40)]
ROLES = ("user", "assistant", "user", "assistant")
CHATS = [
    {"messages": [{"role": role, "content": f"{role} {n} {place}"} for place, role in enumerate(ROLES)]}
    for n in range(40)
]
NO_REPLY = [{"messages": chat["messages"][:1]} for chat in CHATS]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each family."""
    root = tmp_path_factory.mktemp("models")
    for family in ("llama", "t5", "bert", "opt"):
        save(language_model(family), root / family)
    return root


@pytest.mark.parametrize(
    ("task", "family", "rows", "options", "message"),
    [
        ("instruction", "bert", PAIRS, [], "bert holds an encoder, whose tokens see those that follow"),
        ("instruction", "t5", PAIRS, [], "t5 holds an encoder-decoder; this task needs a decoder"),
        ("short-answers", "t5", PAIRS, [], "t5 holds an encoder-decoder; this task needs a decoder"),
        ("text-to-text", "llama", TEXTS, [], "another kind of model; this task needs an encoder-decoder"),
        ("text-to-text", "bert", TEXTS, [], "another kind of model; this task needs an encoder-decoder"),
        ("instruction", "opt", PAIRS, ["--packing"], "packing is asked for, and the examples of a row would see each"),
        ("instruction", "llama", PAIRS, ["--template", "Q:"], "template is 'Q:'; it must be a text with {prompt}"),
        ("instruction", "llama", PAIRS, ["--template", "{{prompt}}"], "(in single braces)"),
        ("instruction", "llama", PAIRS, ["--template", "{{ messages | x }}"], "the chat template cannot write a chat"),
        ("instruction", "llama", PAIRS, ["--max-length", "5"], "have a completion that is cut off entirely"),
        ("instruction", "llama", PAIRS, ["--max-new-tokens", "0"], "max_new_tokens is 0; it must be at least 1"),
        ("instruction", "llama", CHATS, [], "turns before the prompt, and the tokenizer has no chat template"),
        ("instruction", "llama", NO_REPLY, [], "line 1: the chat has no turn of the assistant after one of the user"),
        ("instruction", "llama", TEXTS, [], "read by --task text-to-text"),
        ("text-to-text", "t5", PAIRS, [], "read by --task instruction"),
        ("text-to-text", "t5", CHATS, [], "its columns are those of chats, read by --task instruction"),
        ("classification", "bert", CHATS, [], "its columns are those of chats, read by --task instruction"),
        ("text-to-text", "t5", [{**TEXTS[0], "target": ""}, *TEXTS], [], "has 1 row without a target"),
        ("instruction", "llama", [{**PAIRS[0], "completion": None}, *PAIRS], [], "has 1 row without a completion"),
        ("text-to-text", "t5", TEXTS, ["--packing"], "text-to-text has no field packing; it belongs to"),
        ("instruction", "llama", PAIRS, ["--prompt-column", "completion"], "are both 'completion'; they must differ"),
        ("instruction", "llama", PAIRS, ["--targets", "q_prj"], "q_prj"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_leaves_no_run(
    models: Path, tmp_path: Path, lowland: Run,
    task: str, family: str, rows: list[dict[str, Any]], options: list[str], message: str,
) -> None:  # fmt: skip
    data = tmp_path / "given.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = lowland(
        "train", "--method", "lora", "--task", task, "--data", str(data), "--model", str(models / family),
        "--seed", "1", *options,
    )  # fmt: skip
    assert (code, out) == (2, ""), err
    assert message in err, err
    assert "Traceback" not in err
    problems = [line for line in err.splitlines() if line.startswith("lowland: ")]
    columns = {"TEXTS": TEXTS, "PAIRS": PAIRS, "CHATS": CHATS}
    of_another_task = "read by --task" in message and rows in columns.values()
    assert len(problems) == 1 or of_another_task  # there, a sentence for each missing column
    assert not list(tmp_path.glob("runs/*/record.json"))
