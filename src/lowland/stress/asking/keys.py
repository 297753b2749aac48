"""Removal of API keys from replies, errors and logs: a server may repeat the key that it gets, as it is or encoded."""

from __future__ import annotations

import json
import os
import re
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from inspect_ai.model import Model

NAMES = re.compile(r"(API_?KEY|ACCESS_KEY|_TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
MIN_KEY_LENGTH = 8
REPLACEMENT = "[a key]"


def known_keys(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the values of environment variables whose names end like those of keys, longest first."""
    keys = {
        value for name, value in environment.items() if NAMES.search(name) and len(value) >= MIN_KEY_LENGTH
    }
    return sorted(keys, key=len, reverse=True)


def forms_of(key: str) -> list[str]:
    """Return how a key may stand in a text: as it is, quoted for an address or for JSON, and within base64.

    Base64 encodes three bytes at a time, so the text before the key gives it one of three forms. Characters that
    depend on the neighbours are left out.
    """
    forms = [key, quote(key, safe=""), json.dumps(key)[1:-1]]
    for before in range(3):
        encoded = b64encode(b" " * before + key.encode())
        whole = encoded[(before * 8 + 5) // 6 : (before + len(key.encode())) * 8 // 6].decode()
        forms += [whole, whole.translate(str.maketrans("+/", "-_"))]
    return list(dict.fromkeys(forms))


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
    generate = model.api.generate

    async def keyless(*arguments: Any, **options: Any) -> Any:
        try:
            result = await generate(*arguments, **options)
        except Exception as error:
            error.args = tuple(without_keys(part) if isinstance(part, str) else part for part in error.args)
            for name, value in vars(error).items():
                if isinstance(value, str):
                    setattr(error, name, without_keys(value))
            raise
        return tuple(map(_without_keys, result)) if isinstance(result, tuple) else _without_keys(result)

    model.api.generate = keyless  # type: ignore[method-assign]


def _without_keys(part: Any) -> Any:
    """Return a part of a reply without keys; a call that Inspect already holds is changed in place."""
    if isinstance(part, Exception):
        return type(part)(*(without_keys(str(argument)) for argument in part.args))
    text = part.model_dump_json()
    if (clean := without_keys(text)) == text:
        return part
    replaced = type(part).model_validate_json(clean)
    for name in type(part).model_fields:
        setattr(part, name, getattr(replaced, name))
    return part


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
