"""Removal of API keys from replies, errors and logs: a server may repeat the key that it gets, as it is or encoded."""

from __future__ import annotations

import functools
import html
import json
import os
import re
import traceback
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from inspect_ai.model import Model

NAMES = re.compile(r"(APIKEY|_KEY|_TOKEN|SECRET|PASSWORD|TOKEN_BEDROCK)$", re.IGNORECASE)
MIN_KEY_LENGTH = 8
REPLACEMENT = "[a key]"
JSON_LEVELS = 4
"""Number of times that a text may have been put into JSON."""


def known_keys(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the values of environment variables whose names end like those of keys, longest first.

    Spaces and line ends around a value are left out: it is sent without them. A value that is not text is not a key.
    """
    values = {value.strip() for name, value in environment.items() if NAMES.search(name)}
    keys = [
        key for key in values if len(key) >= MIN_KEY_LENGTH and key.encode("utf-8", "ignore").decode() == key
    ]
    return sorted(keys, key=len, reverse=True)


@functools.cache
def forms_of(key: str) -> list[str]:
    """Return how a key may stand in a text, longest first.

    As it is; quoted for an address, for HTML or for CSV; escaped in JSON, also in JSON within JSON; in hexadecimal; and
    within base64. Base64 encodes three bytes at a time, so the text before the key gives it one of three forms.
    Characters that depend on the neighbours are left out.
    """
    data = key.encode()
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
            if (replaced := _error_without_keys(error)) is error:
                raise
            raise replaced from None
        finally:
            event = active_event()  # it holds what the server's headers say, and the request
            if event is not None:
                event.call = event.call and _without_keys(event.call)
                event.request_ids = event.request_ids and [_without_keys(name) for name in event.request_ids]
        return tuple(map(_without_keys, result)) if isinstance(result, tuple) else _without_keys(result)

    model.api.generate = keyless  # type: ignore[method-assign]


def _without_keys(part: Any) -> Any:
    """Return a part of a reply without keys; a call that Inspect already holds is changed in place."""
    if isinstance(part, Exception):
        return _error_without_keys(part)
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


def _error_without_keys(error: Exception) -> Exception:
    """Remove keys from an error and the errors that caused it, in place: many cannot be made anew from `args`.

    Returns:
        The error; or another one with its words, if a key would still be printed: some errors, such as pydantic's, make
        their text from values that cannot be changed.
    """
    if not _prints_a_key(error):
        return error
    for cause in _chain(error):
        cause.args = _clean(cause.args)
        for name, value in list(getattr(cause, "__dict__", {}).items()):
            if isinstance(value, str | list | tuple | dict):
                setattr(cause, name, _clean(value))
    if not _prints_a_key(error):
        return error
    return RuntimeError(without_keys(f"{type(error).__name__}: {error}"))


def _prints_a_key(error: BaseException) -> bool:
    text = "".join(traceback.format_exception(error)) + repr(error)
    return without_keys(text) != text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


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
