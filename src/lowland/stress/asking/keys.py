"""Removal of API keys from logs: a server may repeat the key in its error message, and Inspect logs errors."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

NAMES = re.compile(r"(API_?KEY|ACCESS_KEY|_TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
MIN_KEY_LENGTH = 8
REPLACEMENT = "[a key]"


def known_keys(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the values of environment variables whose names end like those of keys, longest first."""
    keys = {
        value for name, value in environment.items() if NAMES.search(name) and len(value) >= MIN_KEY_LENGTH
    }
    return sorted(keys, key=len, reverse=True)


def without_keys(text: str) -> str:
    """Replace every known key in a text."""
    for key in known_keys():
        text = text.replace(key, REPLACEMENT)
    return text


def remove_keys(log: Path) -> bool:
    """Rewrite a log (a zip file) without keys, if it contains any.

    Returns:
        Whether the log contained a key.
    """
    keys = [key.encode() for key in known_keys()]
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
