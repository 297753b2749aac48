"""Every `lowland` command of every page has options that exist, and values that they take.

The commands of the README and the first guides are run, too (tests/test_readme.py).
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from lowland.cli.main import _read, _verb_in
from lowland.cli.verbs import VERBS
from lowland.ground.mistakes import Mistake
from tests.stress.asking.support import INSPECTS

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]

ROOT = Path(__file__).parents[1]
PAGES = {str(path.relative_to(ROOT)): path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))}
PLACEHOLDERS = {"TASK": "sst2", "N": "100", "E": "2", "s3://bucket/runs": "runs"}
"""Words that stand for what a reader puts in; and a bucket that is not asked."""


def blocks(path: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", path.read_text("utf-8"), flags=re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    """The words behind `lowland` of each command, also of those that torchrun starts."""
    lines = "\n".join(blocks(path, "sh")).replace("\\\n", " ").splitlines()
    split = [shlex.split(line.strip(), comments=True) for line in lines]
    return [words[words.index("lowland") + 1 :] for words in split if "lowland" in words]


def write_files_of_docs() -> None:
    """Write the files that commands name and that a page shows."""
    docs = ROOT / "docs"
    Path("recipe.yaml").write_text(blocks(docs / "searches.md", "yaml")[0])
    Path("squad.yaml").write_text(blocks(docs / "results" / "tasks.md", "yaml")[0])
    own = docs / "stress.md"
    Path("questions.csv").write_text(blocks(own, "csv")[0])
    Path("own.yaml").write_text(blocks(own, "yaml")[0])
    Path("german.json").write_text(blocks(own, "json")[1])
    Path("capitals/languages").mkdir(parents=True)
    Path("capitals/languages/english.json").write_text(blocks(own, "json")[1].replace("german", "english"))
    Path("capitals/items.jsonl").write_text(blocks(own, "json")[2])
    shutil.copytree(ROOT / "recipes", "recipes")


@pytest.mark.parametrize("page", [page for page, path in PAGES.items() if commands(path)])
def test_options_of_commands_exist_and_take_their_values(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files_of_docs()
    problems = []
    for command in commands(PAGES[page]):
        words = [PLACEHOLDERS.get(word, word).replace("s3://bucket/runs/", "runs/") for word in command]
        name, rest = _verb_in(words)
        assert name is not None, command
        try:
            _read(rest, VERBS[name].load(), f"lowland {name}")
        except Mistake as mistake:
            problems.append((" ".join(command), mistake.problems))
    assert not problems


def test_commands_are_found() -> None:
    assert sum(len(commands(path)) for path in PAGES.values()) > 120
    assert ["train", "--task", "rte"] in [
        words[:3] for words in commands(PAGES["docs/studies-on-many-machines.md"])
    ]
