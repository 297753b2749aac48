"""Provenance of a result: lowland's code, and the machine that it ran on. Without it a result cannot be judged."""

from __future__ import annotations

import hashlib
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def code() -> dict[str, str]:
    """Return lowland's version, and SHA-256 of its source files."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return {"lowland": version("lowland"), "source_sha256": digest.hexdigest()}


def machine(*packages: str) -> dict[str, Any]:
    """Return the versions of Python and of packages, the system, the processor, and the number of cores."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def hashes_in(folder: Path) -> dict[str, str]:
    """Return SHA-256 of every file in a folder and its subfolders, by the file's path in the folder."""
    hashes = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def utc_now() -> str:
    """Return the time in UTC, in ISO 8601 to the second: "2026-01-31T12:00:00+00:00"."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
