"""The commands and programs of the README and of the first guides work as written, in their order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lowland.study.recipe import Recipe
from tests.conftest import table_of
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import INSPECTS, own_machine

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]
__all__ = ["own_machine"]

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/first-steps.md", "docs/methods.md", "docs/searches.md")
TEXT = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)

PAGES_OF_DOCS = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]

MODELS = ("bert-base-uncased", "gemma-3-270m", "model.gguf")
"""Models in its commands, for which a tiny one stands in."""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, flags=re.DOTALL)


def small_stress(command: list[str], url: str) -> list[str]:
    """A stress test of a few questions; a paid model is a fake one on loopback."""
    if command[1] == "adapter":
        folders = sorted(str(path) for path in Path("runs").glob(command[2].removeprefix("runs/")))
        return ["stress", "adapter", *folders, "--limit", "2", "--corruptions", "ocr", "--levels", "heavy"]
    arguments = [*command, "--limit", "1"]
    if "--model" in arguments:
        arguments[arguments.index("--model") + 1] = "anthropic/claude-sonnet-5"
        arguments += ["--base-url", url]
    return arguments


def small_study(command: list[str], tiny_model: Path) -> list[str]:
    """A study of the tiny model, of one epoch; a table of pairs stands in for public data sets of pairs."""
    arguments = [*command, "--model", str(tiny_model), "--epochs", "1"]
    arguments += [] if command[0] in ("ablate", "sweep") else ["--rank", "2"]
    for name in ("rte", "mrpc"):
        if name in arguments:
            arguments[arguments.index(name)] = "pairs"
            arguments += ["--data", "pairs.csv"]
    for option, value in (("--tune", "1"), ("--trials", "1")):
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
    return arguments if "--methods" in arguments or command[0] == "train" else [*arguments, "--seeds", "1"]


def test_its_commands_run_in_their_order(
    lowland: Callable[..., tuple], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with MessagesAPI() as api:
        run_commands(lowland, tiny_model, api.url)
    assert len(api.bodies) == 4 * 2 * 3  # one item in four languages, with and without pinning, three epochs
    assert Path("answers.csv").is_file()


def flat_run() -> Path:
    """The run that the README's `lowland train` wrote."""
    (folder,) = Path("runs").glob("classification-flat-lora-s1-*")
    return folder


def run_commands(lowland: Callable[..., tuple], tiny_model: Path, url: str) -> None:
    table = table_of().rename(columns={"text": "review", "label": "stars"})
    table.to_csv("reviews.csv", index=False)
    table.to_csv("more.csv", index=False)
    table_of(3).to_csv("other.csv", index=False)
    pairs = table_of().rename(columns={"text": "first"})
    pairs.assign(second=pairs["first"]).to_csv("pairs.csv", index=False)
    Path("recipe.yaml").write_text(blocks("yaml")[0].replace("rank: 32", "rank: 3"))
    lines = [line.split("  #")[0] for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("lowland ")]
    verbs = {
        "compare",
        "ablate",
        "sweep",
        "train",
        "predict",
        "merge",
        "check",
        "retention",
        "rewind",
        "measure",
        "tasks",
        "methods",
        "stress",
        "study",
        "report",
        "verdict",
        "errors",
        "doctor",
    }
    for name, step in (("old", 2), ("new", 3)):
        rows = [f"{number},{int(number % step > 0)}" for number in range(100)]
        Path(f"{name}.csv").write_text("\n".join(["example,score", *rows]) + "\n")
    assert {command[0] for command in commands} == verbs
    for command in commands:
        arguments = [str(tiny_model) if word in MODELS else word for word in command]
        if command[0] in ("predict", "merge", "errors", "retention", "rewind", "measure", "check", "report"):
            arguments = [str(flat_run()) if word.startswith("runs/") else word for word in arguments]
        if command[:2] == ["measure", "adapters"]:
            arguments = [
                "measure",
                "adapters",
                str(flat_run()),
                "--limit",
                "8",
            ]  # not of all the studies in runs
        if command[0] in ("compare", "train", "ablate", "sweep"):
            arguments = small_study(command, tiny_model)
        if command[0] == "stress":
            arguments = small_stress(command, url)
        code, out, err = lowland(*arguments, small=False)
        assert code == 0, err
        assert out or "--out" in command
    run_python(tiny_model)


def run_python(tiny_model: Path) -> None:
    """The README's program that loads a run and runs a study, on the files of the commands."""
    (program,) = [block for block in blocks("python") if "lowland.load" in block]
    changes = {
        "runs/classification-flat-lora-s1-…": str(flat_run()),
        'task="financial-demo"': 'task="classification", data="reviews.csv", text_column="review",'
        f' label_column="stars", epochs=1, seeds=[1], model="{tiny_model}"',
        '"rank": 32': '"rank": 3',
    }
    for before, after in changes.items():
        assert before in program
        program = program.replace(before, after)
    exec(program, {})


def test_its_recipe_and_those_of_the_project_can_be_read() -> None:
    files = [*(ROOT / "recipes").glob("*.yaml"), ROOT / "src/lowland/study/demo.yaml"]
    texts = [*blocks("yaml"), *(path.read_text() for path in files)]
    assert len(texts) >= 2
    for text in texts:
        Recipe(**yaml.safe_load(text))


def test_its_python_runs(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = [block for block in blocks("python") if "add_lora" in block]
    names: dict[str, object] = {}
    exec(program.replace("bert-base-uncased", str(tiny_model)), names)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *sorted(map(str, PAGES_OF_DOCS))])
def test_pages_name_only_files_that_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target


def test_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") < 150
