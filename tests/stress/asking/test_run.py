"""A run from the questions to the rows, on a fake server: what is sent, kept, found again and told."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from lowland.stress.progress import Progress

from lowland.ground.mistakes import Mistake
from lowland.ground.records import ROW_COLUMNS, read_rows, read_stress_record
from lowland.stress.asking.run import run_stress
from lowland.stress.asking.settings import AskingSettings, run_key
from lowland.stress.questions import items as items_module
from lowland.stress.questions.questionnaire import MessyQuestionnaire, MultilingualQuestionnaire
from tests.stress.asking.messages_api import MessagesAPI, text_of
from tests.stress.asking.support import CAPITALS, INSPECTS, KEY, own_machine, request_to

pytestmark = [pytest.mark.filterwarnings(one) for one in INSPECTS]

__all__ = ["own_machine"]


@pytest.fixture
def api() -> Iterator[MessagesAPI]:
    with MessagesAPI(answer=knows) as server:
        yield server


def knows(question: str) -> str:
    """Right about every capital whose country is spelt right."""
    return next((f"It is {city}." for country, city in CAPITALS.items() if country in question), "Atlantis")


def text_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, those in zip files too."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as file:
                    yield from ((f"{path}!{name}", file.read(name)) for name in file.namelist())


def test_every_question_becomes_a_row_and_what_was_sent_stands_in_the_record(api, tmp_path):
    told = io.StringIO()
    request = request_to(api, tmp_path, mitigations=("none", "prompt"), epochs=2)
    folder = run_stress(*request, progress=Progress(told))
    rows, record = read_rows(folder), read_stress_record(folder)
    assert tuple(rows.columns) == ROW_COLUMNS
    assert len(rows) == 4 * 2 * 2 * 2 == len(api.bodies)
    assert not rows.duplicated(["item", "condition", "level", "mitigation", "epoch"]).any()
    assert set(rows["epoch"]) == {1, 2}
    sent = Counter((text_of(body), body["system"][0]["text"]) for body in api.bodies)
    assert set(sent.values()) == {2}  # each question with each prompt, once an epoch
    assert Counter(api.questions) == Counter(rows["prompt"])
    clean = rows[rows["condition"] == "clean"]
    assert (clean["score"] == 1.0).all()
    assert (clean["category"] == "right").all()
    assert (clean["level"] == "").all()
    damaged = rows[rows["condition"] == "typos"]
    assert (damaged["score"] == [float(knows(one) != "Atlantis") for one in damaged["prompt"]]).all()
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
    assert "finished: 32 of 32 rows scored" in told.getvalue()
    assert [one.suffix for one in (folder / "logs").iterdir()] == [".eval"]
    assert not any((tmp_path / "home").glob("inspect_ai/samplebuffer/*"))
    assert not list((tmp_path / "runs" / ".unfinished").iterdir())

    api.bodies.clear()
    assert run_stress(*request) == folder
    assert api.bodies == []  # found


def test_extra_body_puts_the_temperature_on_the_wire(api, tmp_path):
    request = request_to(api, tmp_path, count=1, extra_body={"temperature": 0.2})
    record = read_stress_record(run_stress(*request))
    assert {body["temperature"] for body in api.bodies} == {0.2}
    assert record.model["sent"] == {"max_tokens": 512, "temperature": 0.2}
    assert record.model["dropped"] == []


def test_the_key_is_that_of_the_questions_and_settings_and_not_of_places(api, tmp_path):
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


def test_the_key_is_also_that_of_how_ones_own_languages_are_told(tmp_path):
    folder = shutil.copytree(items_module.HERE / "languages", tmp_path / "own" / "languages")
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


def test_a_key_that_the_server_repeats_stands_nowhere(tmp_path):
    told = io.StringIO()
    with MessagesAPI(fault=lambda number, question: "wrong key" if number >= 3 else None) as api:
        folder = run_stress(*request_to(api, tmp_path), progress=Progress(told))
    record = read_stress_record(folder)
    assert record.status == "incomplete"
    assert record.counts["scored"] == 3
    assert "does not accept the key (401)" in str(record.failure)
    assert any(KEY in json.dumps(one) for one in api.headers)  # it was sent
    assert KEY not in told.getvalue()
    found = list(text_in(tmp_path))
    assert len(found) > 20
    assert [name for name, data in found if KEY.encode() in data] == []


def test_a_refused_key_stops_the_asking_and_the_right_one_goes_on(tmp_path):
    with MessagesAPI(fault=lambda number, question: "wrong key") as api:
        request = request_to(api, tmp_path, count=20, max_connections=2)
        folder = run_stress(*request)
        assert len(api.bodies) <= 2 * 2  # those at a time, and Inspect asks a sample again
        assert read_stress_record(folder).counts == {"expected": 40, "scored": 0, "failed": 0}
        assert len(read_rows(folder)) == 0
        api.fault = lambda number, question: None
        assert run_stress(*request) == folder
        assert read_stress_record(folder).status == "finished"
        assert len(read_rows(folder)) == 40


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("anthropic/claude-sonnet-5", "ANTHROPIC_API_KEY"),
        ("nobody/model", "nobody"),
        ("lowland/retreiver", "did you mean 'retriever'"),
        ("claude", "provider/name"),
    ],
)
def test_a_model_that_cannot_be_asked_is_one_sentence(model, words, api, tmp_path, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(Mistake, match=words) as caught:
        run_stress(*request_to(api, tmp_path, model=model, base_url=None))
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    assert api.bodies == []


@pytest.mark.parametrize(
    ("change", "words"),
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
def test_what_cannot_be_asked_is_told_before_anything_is(change, words, api, tmp_path):
    with pytest.raises(Mistake, match=words) as caught:
        run_stress(*request_to(api, tmp_path, **change))
    assert KEY not in str(caught.value)
    assert api.bodies == []
    assert not (tmp_path / "runs").exists()


def test_a_model_that_returns_nothing_at_all_is_told_and_its_rows_are_kept(tmp_path):
    with MessagesAPI(answer=lambda question: " ") as api:
        folder = run_stress(*request_to(api, tmp_path))
    record, rows = read_stress_record(folder), read_rows(folder)
    assert record.status == "failed"
    assert record.failure == "all 8 replies of the model are empty; the rows are kept"
    assert list(rows["category"].unique()) == ["refusal/empty"]
    assert (rows["score"] == 0).all()


def test_the_retriever_needs_no_key_and_the_multilingual_rows_tell_the_language(tmp_path, monkeypatch):
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
    assert record.model["dropped"] is None  # it shows no request


def test_a_finished_run_stays_until_a_fresh_one_is_finished_too(api, tmp_path):
    request = request_to(api, tmp_path)
    place = run_stress(*request)
    first = read_stress_record(place)
    beside = run_stress(*request.with_settings(fresh=True, max_requests=3))
    assert beside.name == f"{place.name}-unfinished"
    assert read_stress_record(beside).status == "incomplete"
    assert len(read_rows(beside)) == 3
    assert read_stress_record(place) == first
    assert run_stress(*request.with_settings(fresh=True)) == place  # goes on
    assert len(api.bodies) == 8 + 8
    assert not beside.exists()
    assert read_stress_record(place).status == "finished"


def test_a_run_that_told_nothing_is_asked_anew(tmp_path):
    said = [" "]
    with MessagesAPI(answer=lambda question: said[0]) as api:
        request = request_to(api, tmp_path)
        assert read_stress_record(run_stress(*request)).status == "failed"
        said[0] = "Paris"
        assert read_stress_record(run_stress(*request)).status == "finished"
        assert len(api.bodies) == 16


def test_a_model_that_does_not_exist_is_told_before_anybody_is_asked_to_pay(tmp_path):
    with pytest.raises(Mistake, match="nosuch/model cannot be asked"):
        run_stress(
            MessyQuestionnaire(),
            AskingSettings(model="nosuch/model", out=tmp_path / "runs"),
            confirm=pytest.fail,
        )
