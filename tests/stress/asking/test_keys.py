"""A key that a server repeats, as it is or encoded, comes to rest in no file."""

from __future__ import annotations

import base64
import json
import urllib.parse
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.stress.asking.keys import MIN_KEY_LENGTH, REPLACEMENT, forms_of, without_keys
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
            api.fault = lambda number, question: "too large" if number < 3 else None
            api.message = words
        folder = run_stress(*request_to(api, tmp_path, count=2, max_connections=1, max_retries=0))
    assert key in str(api.headers[0])
    on_disk = b"".join([*seen, files_in(tmp_path)])
    assert REPLACEMENT.encode() in files_in(folder)
    captured = capfd.readouterr()
    for part in forms_of(key):
        assert part.encode() not in on_disk
        assert part not in captured.out + captured.err


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
