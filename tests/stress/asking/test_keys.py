"""A key that a server repeats, as it is or encoded, comes to rest in no file."""

from __future__ import annotations

import asyncio
import base64
import json
import traceback
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from lowland.stress.asking.keys import (
    MIN_KEY_LENGTH,
    REPLACEMENT,
    forms_of,
    known_keys,
    remove_keys_of_replies,
    without_keys,
)
from lowland.stress.asking.run import run_stress
from tests.stress.asking.messages_api import MessagesAPI
from tests.stress.asking.support import INSPECTS, own_machine, request_to

pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]
__all__ = ["own_machine"]
SECRET = "sk-ant/0+9 äé-secret"


def encoded(key: str) -> dict[str, str]:
    """Return texts with a key as servers may repeat it."""
    text = {
        "plain": f"your key is {key}.",
        "address": f"?key={urllib.parse.quote(key, safe='')}",
        "json": json.dumps(key),
    }
    for before in ("", "x", "xy", "Bearer "):
        whole = (before + key + "!").encode()
        text[f"base64 after {before!r}"] = base64.b64encode(whole).decode()
        text[f"safe base64 after {before!r}"] = base64.urlsafe_b64encode(whole).decode()
    return text


@pytest.mark.parametrize("form", encoded(SECRET))
def test_each_form_is_removed(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    clean = without_keys(encoded(SECRET)[form])
    assert REPLACEMENT in clean
    assert not any(part in clean for part in forms_of(SECRET))


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), min_size=MIN_KEY_LENGTH),
    st.text(max_size=5),
)
def test_base64_of_any_key_behind_any_text_holds_a_form(key: str, before: str) -> None:
    whole = base64.b64encode((before + key).encode()).decode()
    assert any(form in whole for form in forms_of(key))


@pytest.mark.parametrize("where", ["reply", "error"])
def test_no_file_holds_a_key_that_the_server_repeats(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "sk-ant-0+9/secret-of-this-test"
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    words = " ".join(encoded(key).values())
    seen: list[bytes] = []
    with MessagesAPI(answer=lambda question: seen.append(files_in(tmp_path)) or words) as api:
        if where == "error":
            faults = dict(enumerate(("too large", "malformed", "dropped", "half a reply")))
            api.fault = lambda number, question: faults.get(number)
            api.echo = lambda headers: words
        folder = run_stress(*request_to(api, tmp_path, count=2, max_connections=1, max_retries=0))
    assert key in str(api.headers[0])
    on_disk = b"".join([*seen, files_in(tmp_path)])
    assert REPLACEMENT.encode() in files_in(folder)
    captured = capfd.readouterr()
    for part in forms_of(key):
        assert part.encode() not in on_disk
        assert part not in captured.out + captured.err


class Usage(BaseModel):
    """What a server may fill with anything, as here with a key."""

    tokens: int


class SayingWhatItHolds(Exception):
    """An error whose text is made of something that cannot be changed in place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.held = frozenset({text})

    def __str__(self) -> str:
        return f"refused: {set(self.held)}"


def nested(key: str) -> None:
    raise ExceptionGroup("two", [ValueError(key), OSError(key)])


def chained(key: str) -> None:
    try:
        raise ValueError(key)
    except ValueError as error:
        raise RuntimeError("no reply") from error


def noted(key: str) -> None:
    error = ValueError("no reply")
    error.add_note(f"the server said {key}")
    raise error


def raised(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "fail",
    [
        lambda key: Usage(tokens=key),
        lambda key: json.loads(f'{{"key": {key}'),
        lambda key: raised(SayingWhatItHolds(key)),
        lambda key: raised(KeyError((key, {key: [key]}))),
        nested,
        chained,
        noted,
    ],
)
@pytest.mark.parametrize("returned", [False, True])
def test_no_error_prints_a_key(
    fail: Callable[[str], Any], returned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)

    async def generate() -> tuple[Exception]:
        try:
            fail(SECRET)
        except Exception as error:
            if returned:
                return (error,)
            raise
        raise AssertionError("nothing failed")

    model: Any = SimpleNamespace(api=SimpleNamespace(generate=generate))
    remove_keys_of_replies(model)
    try:
        (error,) = asyncio.run(model.api.generate())
    except Exception as raised_error:
        error = raised_error
    printed = "".join(traceback.format_exception(error)) + repr(error)
    assert not any(part in printed for part in forms_of(SECRET))


def test_keys_are_known_by_the_names_of_their_variables() -> None:
    names = ["OPENAI_API_KEY", "WATSONX_APIKEY", "LITELLM_MASTER_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"]
    names += ["ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "client_secret", "PROXY_PASSWORD"]
    environment = {name: f" value-of-{name}\n" for name in names} | {
        "HOME": "/home/someone",
        "A_KEY": "short",
    }
    environment["BROKEN_KEY"] = "not text \udcff\udcfe"
    assert set(known_keys(environment)) == {f"value-of-{name}" for name in names}


def files_in(folder: Path) -> bytes:
    """Return all bytes in a folder's files and their names, those of archives unpacked."""
    content = []
    for path in sorted(folder.rglob("*")):
        content.append(str(path).encode())
        if path.is_file():
            content.append(path.read_bytes())
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    content += [archive.read(entry) for entry in archive.infolist()]
    return b"\n".join(content)
