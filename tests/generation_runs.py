"""Studies of tasks that write text, on tiny models that can write: toys in which a letter is to be written twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.record_files import read_record
from lowland.study.recipe import Recipe
from lowland.study.run import run_study
from tests.language_models import language_model, save

LETTERS = "abcd"
TEMPLATE = "{% for turn in messages %}[{{ turn.role }}] {{ turn.content }} ##\n{% endfor %}"
FEW = {"validation_share": 0.05, "test_share": 0.1, "max_new_tokens": 8}


@dataclass(frozen=True)
class Toy:
    """A toy task.

    Attributes:
        name: name of the task.
        family: the model.
        rows: the rows of its file.
        fields: the task's other fields.
        full: settings with which the model learns it.
    """

    name: str
    family: str
    rows: Sequence[dict[str, Any]]
    fields: dict[str, Any]
    full: dict[str, Any]

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the file, and return the task of a recipe."""
        path = folder / "toy.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return {"name": self.name, "data": str(path), **FEW, **self.fields}


def _words(count: int) -> list[str]:
    return [a + b for a in "abcdefgh" for b in "abcdefgh"][:count]


def _chat(word: str, letter: str, other: str) -> dict[str, Any]:
    texts = (f"{word} {letter}", letter * 2, f"{other}", other * 2)
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]}


TOYS = {
    "source": Toy(
        "text-to-text", "t5",
        [{"id": word, "in": f"{letter}{word}", "out": letter * 2} for word in _words(40) for letter in LETTERS],
        {"source_column": "in", "target_column": "out"}, {"epochs": 40, "lr": 0.005, "batch_size": 16},
    ),
    "prompt": Toy(
        "instruction", "llama",
        [{"q": f"{word} {letter}", "a": letter * 2} for word in _words(48) for letter in LETTERS],
        {"prompt_column": "q", "completion_column": "a", "template": "Q: {prompt}\nA:"},
        {"epochs": 4, "lr": 0.01, "batch_size": 4},
    ),
    "chat": Toy(
        "instruction", "llama",
        [_chat(word, letter, LETTERS[n % 4]) for n, word in enumerate(_words(32)) for letter in LETTERS],
        {"template": TEMPLATE}, {"epochs": 10, "lr": 0.005, "batch_size": 8},
    ),
}  # fmt: skip


def first_run(toy: Toy, folder: Path) -> Path:
    """A run of full fine-tuning that learns a toy, from random weights on."""
    model = save(language_model(toy.family), folder / "random")
    own = {"full": {"lr": toy.full["lr"]}}
    changes = {name: value for name, value in toy.full.items() if name != "lr"}
    (run,) = trained(toy, folder / "first", model, [own], **changes)
    return run


def trained(toy: Toy, folder: Path, model: Path, methods: Sequence[Any], **changes: Any) -> list[Path]:
    """The runs of a study of a toy."""
    folder.mkdir(exist_ok=True)
    values = {"seeds": [1], "dtype": "fp32", "max_length": 64, "out": str(folder / "runs"), **changes}
    runs = run_study(Recipe(task=toy.write(folder), model=str(model), methods=methods, **values))
    for run in runs:
        record = read_record(run)
        assert record.status == "finished", record.failure
    return runs
