"""Runs on a fake server, from the questions to the rows, the record and the messages."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lowland import items as items_module
from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_rows, read_stress_record
from lowland.ground.records import ROW_COLUMNS
from lowland.stress.asking.run import run_stress
from lowland.stress.asking.settings import AskingSettings, run_key
from lowland.stress.questions.questionnaire import MessyQuestionnaire, MultilingualQuestionnaire
from tests.stress.asking.messages_api import MessagesAPI, text_of
from tests.stress.asking.support import CAPITALS, INSPECTS, KEY, own_machine, request_to

pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]

__all__ = ["own_machine"]


@pytest.fixture
def api() -> Iterator[MessagesAPI]:
    with MessagesAPI(answer=answer_capital) as server:
        yield server


def answer_capital(question: str) -> str:
    """Return the right capital if the country is spelt right, and "Atlantis" otherwise."""
    return next((f"It is {city}." for country, city in CAPITALS.items() if country in question), "Atlantis")


def text_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every file below a folder, and of the files in its zip files."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as file:
                    yield from ((f"{path}!{name}", file.read(name)) for name in file.namelist())


def test_every_question_becomes_a_row_and_the_record_holds_the_settings_sent(api, tmp_path):
    output = io.StringIO()
    request = request_to(api, tmp_path, mitigations=("none", "prompt"), epochs=2)
    folder = run_stress(*request, progress=Progress(output))
    rows, record = read_rows(folder), read_stress_record(folder)
    assert tuple(rows.columns) == ROW_COLUMNS
    assert len(rows) == 4 * 2 * 2 * 2 == len(api.bodies)
    assert not rows.duplicated(["item", "condition", "level", "mitigation", "epoch"]).any()
    assert set(rows["epoch"]) == {1, 2}
    sent = Counter((text_of(body), body["system"][0]["text"]) for body in api.bodies)
    assert set(sent.values()) == {2}  # each question with each prompt, once in each epoch
    assert Counter(api.questions) == Counter(rows["prompt"])
    clean = rows[rows["condition"] == "clean"]
    assert (clean["score"] == 1.0).all()
    assert (clean["category"] == "right").all()
    assert (clean["level"] == "").all()
    damaged = rows[rows["condition"] == "typos"]
    assert (
        damaged["score"] == [float(answer_capital(prompt) != "Atlantis") for prompt in damaged["prompt"]]
    ).all()
    assert (damaged["edits"] > 0).all()
    assert set(damaged["rate"]) == {0.2}
    assert record.status == "finished"
    assert record.counts == {"expected": 32, "scored": 32, "failed": 0}
    assert record.cost["requests"] == 32
    assert record.cost["input_tokens"] == 32 * 20
    assert record.model["requested"] == {"temperature": 0.2, "max_tokens": 512}
    assert record.model["sent"] == {"max_tokens": 512}
    assert record.model["dropped"] == ["temperature"]
    assert all("temperature" not in body for body in api.bodies)
    assert "finished: 32 of 32 rows scored" in output.getvalue()
    assert [path.suffix for path in (folder / "logs").iterdir()] == [".eval"]
    assert not any((tmp_path / "home").glob("inspect_ai/samplebuffer/*"))
    assert not list((tmp_path / "runs" / ".unfinished").iterdir())

    api.bodies.clear()
    assert run_stress(*request) == folder
    assert api.bodies == []  # the finished run was found


def test_extra_body_sends_the_temperature(api, tmp_path):
    request = request_to(api, tmp_path, count=1, extra_body={"temperature": 0.2})
    record = read_stress_record(run_stress(*request))
    assert {body["temperature"] for body in api.bodies} == {0.2}
    assert record.model["sent"] == {"max_tokens": 512, "temperature": 0.2}
    assert record.model["dropped"] == []


def test_the_key_depends_on_questions_and_settings_and_not_on_folders(api, tmp_path):
    request = request_to(api, tmp_path)
    questions = request.questionnaire.questions()
    key = run_key(request.questionnaire, questions, request.settings)
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    moved = request_to(api, elsewhere, max_connections=3, max_requests=7, yes=True)
    assert run_key(moved.questionnaire, moved.questionnaire.questions(), moved.settings) == key
    for change in (
        {"epochs": 2},
        {"temperature": 0.3},
        {"model": "anthropic/claude-opus-4-5"},
        {"max_tokens": 9},
    ):
        changed = request.settings.replace(**change)
        assert run_key(request.questionnaire, questions, changed) != key
    other = [dataclasses.replace(questions[0], text="Who?"), *questions[1:]]
    assert run_key(request.questionnaire, other, request.settings) != key


def test_the_key_depends_on_how_own_languages_are_recognised(tmp_path):
    folder = shutil.copytree(items_module.ITEMS_FOLDER / "languages", tmp_path / "own" / "languages")
    questionnaire, settings = MultilingualQuestionnaire(items=tmp_path / "own", limit=1), AskingSettings()
    questions = questionnaire.questions()
    key = run_key(questionnaire, questions, settings)
    assert run_key(questionnaire, questions, settings) == key
    hinglish = json.loads((folder / "hinglish.json").read_text(encoding="utf-8"))
    changed = [
        {"accepts": ["hindi"]},
        {"profile": hinglish["profile"] | {"function_words": ["hai"]}},
        {"profile": hinglish["profile"] | {"script": "DEVANAGARI"}},
    ]
    keys = {key}
    for change in changed:
        (folder / "hinglish.json").write_text(json.dumps(hinglish | change), encoding="utf-8")
        keys.add(run_key(questionnaire, questions, settings))
    assert len(keys) == 4


def test_an_api_key_that_the_server_repeats_is_written_nowhere(tmp_path):
    output = io.StringIO()
    with MessagesAPI(fault=lambda number, question: "wrong key" if number >= 3 else None) as api:
        folder = run_stress(*request_to(api, tmp_path), progress=Progress(output))
    record = read_stress_record(folder)
    assert record.status == "incomplete"
    assert record.counts["scored"] == 3
    assert "does not accept the key (401)" in str(record.failure)
    assert any(KEY in json.dumps(headers) for headers in api.headers)  # it was sent
    assert KEY not in output.getvalue()
    files = list(text_in(tmp_path))
    assert len(files) > 20
    assert [name for name, data in files if KEY.encode() in data] == []


def test_a_refused_key_stops_the_run_and_the_right_key_continues_it(tmp_path):
    with MessagesAPI(fault=lambda number, question: "wrong key") as api:
        request = request_to(api, tmp_path, count=20, max_connections=2)
        folder = run_stress(*request)
        assert len(api.bodies) <= 2 * 2  # two connections, and Inspect repeats a sample
        assert read_stress_record(folder).counts == {"expected": 40, "scored": 0, "failed": 0}
        assert len(read_rows(folder)) == 0
        api.fault = lambda number, question: None
        assert run_stress(*request) == folder
        assert read_stress_record(folder).status == "finished"
        assert len(read_rows(folder)) == 40


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("anthropic/claude-sonnet-5", "ANTHROPIC_API_KEY"),
        ("nobody/model", "nobody"),
        ("lowland/retreiver", "did you mean 'lowland/retriever'"),
        ("claude", "provider/name"),
    ],
)
def test_a_model_that_cannot_be_asked_is_a_mistake_of_one_sentence(
    model, message, api, tmp_path, monkeypatch
):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(Mistake, match=message) as caught:
        run_stress(*request_to(api, tmp_path, model=model, base_url=None))
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    assert api.bodies == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_args": {"api_key": KEY}}, "model_args contains api_key.* keys are read from environment"),
        ({"extra_body": {"secret": KEY}}, "extra_body contains secret.* keys are read from environment"),
        ({"base_url": f"http://me:{KEY}@127.0.0.1"}, "base_url contains more than an address"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"temperature": 3.0}, r"temperature is 3.0; it must be in \[0, 2\]"),
        ({"max_cost": 1.0}, "max_cost needs a table of prices"),
        ({"levels": ("hevy",)}, "unknown level 'hevy'; did you mean 'heavy'"),
        ({"corruptions": ("typo",)}, "unknown corruption 'typo'; did you mean 'typos'"),
        ({"mitigations": ("promt",)}, "unknown mitigation 'promt'; did you mean 'prompt'"),
        ({"protect": "maybe"}, "unknown protect 'maybe'"),
    ],
)
def test_mistakes_are_reported_before_anything_is_sent(change, message, api, tmp_path):
    with pytest.raises(Mistake, match=message) as caught:
        run_stress(*request_to(api, tmp_path, **change))
    assert KEY not in str(caught.value)
    assert api.bodies == []
    assert not (tmp_path / "runs").exists()


def test_a_run_of_empty_replies_fails_and_keeps_its_rows(tmp_path):
    with MessagesAPI(answer=lambda question: " ") as api:
        folder = run_stress(*request_to(api, tmp_path))
    record, rows = read_stress_record(folder), read_rows(folder)
    assert record.status == "failed"
    assert record.failure == "all 8 replies of the model are empty; the rows are kept"
    assert list(rows["category"].unique()) == ["refusal/empty"]
    assert (rows["score"] == 0).all()


def test_the_retriever_needs_no_key_and_multilingual_rows_hold_the_language(tmp_path, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    questionnaire = MultilingualQuestionnaire(limit=2, mitigations="none")
    folder = run_stress(questionnaire, AskingSettings(epochs=1, out=tmp_path / "runs"))
    record, rows = read_stress_record(folder), read_rows(folder)
    assert record.status == "finished"
    assert set(rows["condition"]) == {"english", "hindi", "hinglish", "code-switched"}
    assert len(rows) == 8
    assert set(rows["language"]) <= {"english", "hindi", "hinglish", "code-switched", "other", "undecided"}
    assert (rows.loc[rows["language"] == "undecided", "kept"].isna()).all()
    assert record.model["described"]["name"] == "lowland/retriever"
    assert record.model["dropped"] is None  # no request is logged


def test_a_finished_run_is_kept_until_a_fresh_one_is_finished(api, tmp_path):
    request = request_to(api, tmp_path)
    place = run_stress(*request)
    first = read_stress_record(place)
    beside = run_stress(*request.with_settings(fresh=True, max_requests=3))
    assert beside.name == f"{place.name}-unfinished"
    assert read_stress_record(beside).status == "incomplete"
    assert len(read_rows(beside)) == 3
    assert read_stress_record(place) == first
    assert run_stress(*request.with_settings(fresh=True)) == place  # continued
    assert len(api.bodies) == 8 + 8
    assert not beside.exists()
    assert read_stress_record(place).status == "finished"


def test_a_run_of_empty_replies_is_asked_again(tmp_path):
    reply = [" "]
    with MessagesAPI(answer=lambda question: reply[0]) as api:
        request = request_to(api, tmp_path)
        assert read_stress_record(run_stress(*request)).status == "failed"
        reply[0] = "Paris"
        assert read_stress_record(run_stress(*request)).status == "finished"
        assert len(api.bodies) == 16


def test_a_model_that_does_not_exist_is_reported_before_consent_is_asked_for(tmp_path):
    with pytest.raises(Mistake, match="nosuch/model cannot be used"):
        run_stress(
            MessyQuestionnaire(),
            AskingSettings(model="nosuch/model", out=tmp_path / "runs"),
            confirm=pytest.fail,
        )


def test_the_example_in_the_docs_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "stress.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(example.replace("ollama/llama3.2", "lowland/retriever").replace("limit=20", "limit=1"), names)
    assert read_stress_record(tmp_path / str(names["folder"])).status == "finished"
