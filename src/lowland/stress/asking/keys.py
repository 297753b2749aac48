"""Removal of API keys from replies, errors and logs: a server may repeat the key that it gets, as it is or encoded."""

from __future__ import annotations

import functools
import html
import json
import os
import re
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from inspect_ai.model import Model

NAMES = re.compile(r"(API_?KEY|ACCESS_KEY|_TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
MIN_KEY_LENGTH = 8
REPLACEMENT = "[a key]"
JSON_LEVELS = 4
"""Number of times that a text may have been put into JSON."""


def known_keys(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the values of environment variables whose names end like those of keys, longest first."""
    keys = {
        value for name, value in environment.items() if NAMES.search(name) and len(value) >= MIN_KEY_LENGTH
    }
    return sorted(keys, key=len, reverse=True)


@functools.cache
def forms_of(key: str) -> list[str]:
    """Return how a key may stand in a text, longest first.

    As it is; quoted for an address, for HTML or for CSV; escaped in JSON, also in JSON within JSON; in hexadecimal; and
    within base64. Base64 encodes three bytes at a time, so the text before the key gives it one of three forms.
    Characters that depend on the neighbours are left out.
    """
    data = key.encode("utf-8", "surrogatepass")
    quoted = {quote(key, safe=""), quote(key), quote_plus(key)}
    forms = {key, html.escape(key), key.replace('"', '""'), data.hex(), data.hex().upper()}
    forms |= quoted | {re.sub("%..", lambda code: code[0].lower(), text) for text in quoted}
    texts = {key, json.dumps(key)[1:-1]}  # also with escapes for all letters outside ASCII
    forms |= texts
    for _ in range(JSON_LEVELS):
        texts = {text for escaped in map(_in_json, texts) for text in (escaped, escaped.replace("/", "\\/"))}
        forms |= texts
    for before in range(3):
        encoded = b64encode(b" " * before + data)
        whole = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6].decode()
        forms |= {whole, whole.translate(str.maketrans("+/", "-_"))}
    return sorted(forms, key=len, reverse=True)


def _in_json(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def known_forms() -> list[str]:
    """Return every form of every known key."""
    return [form for key in known_keys() for form in forms_of(key)]


def without_keys(text: str) -> str:
    """Replace every known key in a text, in all its forms."""
    for form in known_forms():
        text = text.replace(form, REPLACEMENT)
    return text


def remove_keys_of_replies(model: Model) -> None:
    """Have a model's replies and errors arrive without keys, so that Inspect never writes them to a file."""
    from lowland.stress.asking.inspect_internals import active_event

    generate = model.api.generate

    async def keyless(*arguments: Any, **options: Any) -> Any:
        try:
            result = await generate(*arguments, **options)
        except Exception as error:
            _clean_error(error)
            raise
        finally:
            if (
                event := active_event()
            ) is not None:  # it holds what the server's headers say, and the request
                event.call = event.call and _without_keys(event.call)
                event.request_ids = event.request_ids and [_without_keys(name) for name in event.request_ids]
        return tuple(map(_without_keys, result)) if isinstance(result, tuple) else _without_keys(result)

    model.api.generate = keyless  # type: ignore[method-assign]


def _without_keys(part: Any) -> Any:
    """Return a part of a reply without keys; a call that Inspect already holds is changed in place."""
    if isinstance(part, Exception):
        _clean_error(part)
        return part
    text = part.model_dump_json()
    if without_keys(text) == text:
        return part
    replaced = type(part).model_validate(_clean(part.model_dump()))
    for name in type(part).model_fields:
        setattr(part, name, getattr(replaced, name))
    return part


def _clean(value: Any) -> Any:
    """Return texts, lists, tuples and mappings without keys, recursively; anything else as it is."""
    if isinstance(value, str):
        return without_keys(value)
    if isinstance(value, Mapping):
        return {_clean(name): _clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_clean(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _clean_error(error: BaseException) -> None:
    """Remove keys from an error and the errors that caused it, in place: many cannot be made anew from `args`."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.args = _clean(cause.args)
        for name, value in list(getattr(cause, "__dict__", {}).items()):
            if isinstance(value, str | list | tuple | dict):
                setattr(cause, name, _clean(value))
        cause = cause.__cause__ or cause.__context__


def remove_keys(log: Path) -> bool:
    """Rewrite a log (a zip file) without keys, if it contains any.

    Returns:
        Whether the log contained a key.
    """
    keys = [form.encode() for form in known_forms()]
    if not keys or not _contains(log, keys):
        return False
    partial = log.with_name(f".{log.name}.partial")
    with zipfile.ZipFile(log) as old, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as new:
        for name in dict.fromkeys(entry.filename for entry in old.infolist()):
            data = old.read(name)  # of several entries with one name, the last one counts
            for key in keys:
                data = data.replace(key, REPLACEMENT.encode())
            new.writestr(name, data)
    partial.replace(log)
    return True


def _contains(log: Path, keys: list[bytes]) -> bool:
    with zipfile.ZipFile(log) as file:
        return any(key in data for entry in file.infolist() for data in [file.read(entry)] for key in keys)
