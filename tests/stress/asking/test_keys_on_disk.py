"""Keys: a server that repeats them in replies, errors and headers, in many forms, puts them nowhere on the disk."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pandas as pd
import pytest
import tenacity

from lowland.cli.main import main
from lowland.ground.asked import plain
from lowland.ground.record_files import read_rows
from lowland.stress.asking.keys import forms_of, remove_keys, without_keys
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import INSPECTS, items_file, own_machine, request_to  # noqa: F401 - a fixture
from tests.stress.asking.test_reliability import PROGRAM, ROOT

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]

KEY = 'sk-not+a/real"key=0123456789&xyz'
"""A key of characters that are written differently in JSON, addresses, HTML and CSV."""
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "bearer": lambda key: f"Bearer {key}",
    "quoted": quote,
    "quoted whole": lambda key: quote(key, safe=""),
    "quoted in lower case": lambda key: re.sub("%..", lambda code: code[0].lower(), quote(key)),
    "form": quote_plus,
    "JSON": lambda key: json.dumps({"authorization": key}),
    "JSON with slashes": lambda key: json.dumps(key).replace("/", "\\/"),
    "JSON in JSON": lambda key: json.dumps(json.dumps(key)),
    "HTML": html.escape,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "basic": lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
}


def traces(key: str) -> list[bytes]:
    """Pieces by which a key is recognised, also in a form that is not known: its letters, and those of base64."""
    pieces = [key[:9], key[-12:-4], key[10:20]]
    pieces += [quote(key, safe="")[:12], html.escape(key)[-14:]]
    for before in range(3):
        pieces.append(base64.b64encode(bytes(before) + key.encode())[4:20].decode())
    return [piece.encode() for piece in (*pieces, key.encode().hex()[:20])]


def all_bytes(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every file, the files in zip files, and the texts in tables."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        yield str(path), path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                yield from ((f"{path}!{name}", file.read(name)) for name in file.namelist())
        if path.suffix == ".parquet":
            yield f"{path}!", "\n".join(map(str, pd.read_parquet(path).to_numpy().ravel())).encode()


def leaks(folder: Path) -> list[tuple[str, bytes]]:
    files = list(all_bytes(folder))
    assert len(files) > 10
    return [(name, piece) for name, data in files for piece in traces(KEY) if piece in data]


def echo(headers: dict[str, str]) -> str:
    """Repeat the key in all forms, on one line, as a header needs."""
    sent = {name.lower(): value for name, value in headers.items()}
    key = sent.get("x-api-key") or sent["authorization"].removeprefix("Bearer ")
    return " ".join(form(key) for form in FORMS.values())


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "TOGETHER_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setattr(
        "inspect_ai.model._retry.wait_exponential_jitter", lambda **_: tenacity.wait_fixed(0.01)
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_found_in_every_form(form: str) -> None:
    text = without_keys(f"before {FORMS[form](KEY)} after")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert [piece for piece in traces(KEY) if piece in text.encode()] == []
    assert without_keys("nothing of the sort") == "nothing of the sort"


def test_the_forms_are_long_enough_not_to_occur_by_chance() -> None:
    assert min(map(len, forms_of("12345678"))) >= 8


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-5", "openai/gpt-test", "together/llama"])
def test_a_key_that_a_server_repeats_is_written_nowhere(
    model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kinds = ("server error", "malformed", "too large", None, "rate limit", None, "dropped", None, None, None)
    command = ["stress", "messy", "--items", str(items_file(tmp_path, 5)), "--out", str(tmp_path / "runs")]
    command += ["--corruptions", "typos", "--levels", "heavy", "--mitigations", "none", "--epochs", "2"]
    command += ["--model", model, "--max-retries", "2", "--report", str(tmp_path / "report.md"), "--replace"]
    with MessagesAPI(fault=lambda number, question: kinds[number % len(kinds)], echo=echo) as api:
        main([*command, "--base-url", api.url])
        (run,) = (tmp_path / "runs").glob("messy-*")
        rows = read_rows(run)
        assert len(rows) == 20
        assert rows["reply"].str.contains("[a key]", regex=False).any()  # the server did repeat it
        assert (rows["status"] == "scored").sum() > 10
        api.fault = lambda number, question: "wrong key"
        assert main([*command, "--base-url", api.url, "--fresh"]) == 1
    assert leaks(tmp_path) == []
    printed = "".join(capfd.readouterr())
    assert "does not accept the key (401)" in printed
    assert [piece for piece in traces(KEY) if piece.decode() in printed] == []


def test_a_run_that_is_killed_leaves_no_key(tmp_path: Path) -> None:
    kinds = ("too large", None, None)
    with MessagesAPI(fault=lambda number, question: kinds[number % 3], echo=echo, delay=0.05) as api:
        request = request_to(api, tmp_path, count=40, max_connections=4, max_retries=0)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(plain(request))],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/src"},
        )
        while len(api.bodies) < 40:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list((tmp_path / "runs" / ".unfinished").rglob("*.eval"))
    assert leaks(tmp_path) == []


def test_a_finished_log_is_searched_once_more(tmp_path: Path) -> None:
    log = tmp_path / "a.eval"
    with zipfile.ZipFile(log, "w") as file:
        file.writestr("header.json", json.dumps({"text": " ".join(form(KEY) for form in FORMS.values())}))
        file.writestr("other.json", json.dumps({"text": "Paris"}))
    assert remove_keys(log)
    assert not remove_keys(log)
    with zipfile.ZipFile(log) as file:
        assert json.loads(file.read("other.json")) == {"text": "Paris"}
        text = json.loads(file.read("header.json"))["text"]
    assert [piece for piece in traces(KEY) if piece in text.encode()] == []
