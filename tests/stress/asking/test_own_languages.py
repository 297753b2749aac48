"""Languages of the user's own: files outside the package are asked, recognised, recorded, and part of the key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai._eval.registry import task_create

import lowland.stress.asking.inspect_entry  # noqa: F401 - registers the tasks
from lowland.cli.main import main
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_rows, read_stress_record
from lowland.items import ITEMS_FOLDER
from lowland.stress.asking.settings import AskingSettings, run_key
from lowland.stress.questions.questionnaire import MultilingualQuestionnaire
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import INSPECTS, own_machine  # noqa: F401 - a fixture

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]

ENGLISH = {
    "condition": "english",
    "name": "English",
    "target": "English",
    "accepts": ["english"],
    "profile": {"label": "english", "script": "Latin", "function_words": ["the", "is", "of", "what"]},
    "questions": {"capital-japan": "What is the capital of Japan?"},
}


@pytest.fixture
def german() -> dict[str, Any]:
    """The language of the example in the docs."""
    return json.loads(blocks()[0])


@pytest.fixture
def capitals(tmp_path: Path) -> Path:
    """The folder of items of the example in the docs, with its languages/english.json."""
    folder = tmp_path / "capitals"
    (folder / "languages").mkdir(parents=True)
    (folder / "multilingual.jsonl").write_text(blocks()[1], "utf-8")
    (folder / "languages" / "english.json").write_text(json.dumps(ENGLISH), "utf-8")
    return folder


def blocks() -> list[str]:
    page = (Path(__file__).parents[3] / "docs" / "stress.md").read_text(encoding="utf-8")
    section = page.partition("### A language of your own")[2]
    return re.findall(r"```json\n(.*?)```", section, flags=re.DOTALL)


def write(path: Path, language: dict[str, Any], **changes: object) -> Path:
    path.write_text(json.dumps({**language, **changes}), "utf-8")
    return path


def in_german(question: str) -> str:
    return "Die Hauptstadt ist Tokio." if "Hauptstadt" in question else "The capital of it is Kyoto."


def test_own_items_are_asked_in_a_language_of_a_file(
    german: dict[str, Any], capitals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "german.json", german)
    command = ["stress", "multilingual", "--items", str(capitals), "--languages", str(path)]
    command += ["--mitigations", "pin", "--epochs", "1", "--out", str(tmp_path / "runs")]
    with MessagesAPI(answer=in_german) as api:
        command += ["--model", "anthropic/claude-sonnet-5", "--base-url", api.url]
        assert main(command) == 0
        assert main(command) == 0
        assert len(api.bodies) == 2 * 2  # two languages, with and without pin; found again
        assert any("Respond only in German" in json.dumps(body["system"]) for body in api.bodies)
        (run,) = (tmp_path / "runs").glob("multilingual-*")
        rows, record = read_rows(run), read_stress_record(run)
        assert set(rows["condition"]) == {"english", "german"}
        of_german = rows[rows["condition"] == "german"]
        assert set(of_german["language"]) == {"german"}
        assert of_german["kept"].all()
        assert (of_german["score"] == 1).all()
        assert (rows.loc[rows["condition"] == "english", "score"] == 0).all()
        assert record.asked["questionnaire"]["languages"] == ["english", str(path)]
        assert record.items["accepts"] == {"english": ["english"], "german": ["german"]}
        assert "heißt" in record.items["profiles"]["german"][2]
        assert "german" in capsys.readouterr().out

        write(path, german, questions={"capital-japan": "Was ist die Hauptstadt von Japan?"})
        assert main(command) == 0
        assert len(api.bodies) == 8  # a new run
    assert len(list((tmp_path / "runs").glob("multilingual-*"))) == 2


def test_the_key_depends_on_the_content_of_the_file_and_not_on_its_place(
    german: dict[str, Any], capitals: Path, tmp_path: Path
) -> None:
    def key(path: Path) -> str:
        questionnaire = MultilingualQuestionnaire(items=capitals, languages=str(path))
        return run_key(questionnaire, questionnaire.questions(), AskingSettings())

    path = tmp_path / "german.json"
    first = key(write(path, german))
    (tmp_path / "other").mkdir()
    assert key(write(tmp_path / "other" / "deutsch.json", german)) == first
    changes: list[dict[str, Any]] = [
        {"questions": {"capital-japan": "Hauptstadt von Japan?"}},
        {"answers": {}},
        {"target": "simple German"},
        {"accepts": ["german", "english"]},
        {"profile": {**german["profile"], "function_words": ["ist"]}},
    ]
    keys = {first, *(key(write(path, german, **change)) for change in changes)}
    assert len(keys) == 6


def test_inspect_takes_a_folder_of_languages_as_an_argument(
    german: dict[str, Any], capitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "german.json", german)
    monkeypatch.chdir(tmp_path)
    task = task_create("lowland/multilingual", items=str(capitals), languages="mine")
    conditions = [(sample.metadata or {})["condition"] for sample in task.dataset]
    assert sorted(conditions) == ["english"] * 2 + ["german"] * 2  # with and without pin


def test_a_file_is_asked_beside_packaged_languages(german: dict[str, Any], tmp_path: Path) -> None:
    english = json.loads((ITEMS_FOLDER / "languages" / "english.json").read_text("utf-8"))
    (tmp_path / "mine").mkdir()
    path = write(tmp_path / "mine" / "a.json", german, questions=english["questions"], answers={})

    def conditions(*languages: str) -> list[str]:
        questions = MultilingualQuestionnaire(languages=languages, limit=2).questions()
        return list(dict.fromkeys(question.condition for question in questions))

    assert conditions(str(path)) == ["english", "german"]
    assert conditions(str(path), "hindi") == ["english", "hindi", "german"]
    assert conditions(str(tmp_path / "mine")) == ["english", "german"]
    assert conditions("all", str(path)) == ["english", "code-switched", "hindi", "hinglish", "german"]
    questionnaire = MultilingualQuestionnaire(languages=(str(path), "hindi"))
    assert questionnaire.replace() == questionnaire
    assert set(questionnaire.languages_to_check()) > {"german", "hinglish"}  # all are recognised


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "language 'german' lacks 63 of 64 questions"),
        ({"condition": "hindi"}, "condition 'hindi' is also that of hindi.json; rename one of them"),
        ({"accepts": ["germn"]}, "unknown label 'germn'; did you mean 'german'?"),
        ({"nam": "German"}, "unknown field 'nam'; did you mean 'name'?"),
        (
            {
                "profile": {"label": "hindi", "script": "Latin", "function_words": ["ist"]},
                "accepts": ["hindi"],
            },
            "another language has another profile with the label 'hindi'; rename one of them",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(
    change: dict[str, Any], message: str, german: dict[str, Any], tmp_path: Path
) -> None:
    path = write(tmp_path / "german.json", german, **change)
    with pytest.raises(Mistake) as caught:
        MultilingualQuestionnaire(languages=str(path)).questions()
    assert any(message in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.json", "nowhere.json does not exist; name a .json file, or a folder"),
        ("./nowhere", "nowhere does not exist"),
        (".", "holds no language; name a .json file, or a folder with a .json file for each"),
        ("./notes.txt", "is not a .json file"),
        ("klingon", "unknown language 'klingon'"),
    ],
)
def test_a_path_without_a_language_is_a_sentence(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Mistake) as caught:
        MultilingualQuestionnaire(languages=name)
    assert message in str(caught.value)


def test_a_file_in_place_of_a_folder_of_items_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").touch()
    with pytest.raises(Mistake, match="which is a file; the multilingual test takes a folder of items"):
        MultilingualQuestionnaire(items=tmp_path / "items.jsonl")
