"""Keeps keys out of what is written: a server may repeat the one it was sent in its error, and Inspect logs errors."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

NAMES = re.compile(r"(API_?KEY|ACCESS_KEY|_TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
SHORTEST = 8
INSTEAD = "[a key]"


def known_keys(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What stands in environment variables whose names end as those of keys do, the longest first."""
    found = {value for name, value in environment.items() if NAMES.search(name) and len(value) >= SHORTEST}
    return sorted(found, key=len, reverse=True)


def without_keys(text: str) -> str:
    """A text in which no known key stands."""
    for key in known_keys():
        text = text.replace(key, INSTEAD)
    return text


def take_keys_out(log: Path) -> bool:
    """Write a log (a zip file) again without keys, if there are any in it.

    Returns:
        Whether there were.
    """
    keys = [key.encode() for key in known_keys()]
    if not keys or not _holds(log, keys):
        return False
    partial = log.with_name(f".{log.name}.partial")
    with zipfile.ZipFile(log) as old, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in {one.filename: one for one in old.infolist()}:  # of two with one name the last counts
            data = old.read(entry)
            for key in keys:
                data = data.replace(key, INSTEAD.encode())
            new.writestr(entry, data)
    partial.replace(log)
    return True


def _holds(log: Path, keys: list[bytes]) -> bool:
    with zipfile.ZipFile(log) as file:
        return any(key in data for one in file.infolist() for data in [file.read(one)] for key in keys)
