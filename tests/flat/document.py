"""docs/flat-lora.md in sentences, and the sentences that a module's tests quote in their docstrings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

DOCS = (Path(__file__).parents[2] / "docs" / "flat-lora.md").read_text(encoding="utf-8")


def in_one_line(text: str) -> str:
    """Return the text with one space for each run of white space."""
    return " ".join(text.split())


def section(title: str) -> str:
    """Return the section under a heading of the second level, without its code."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCS, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def sentences(title: str) -> list[str]:
    """Return a section's sentences, and the rows of its tables without their heads."""
    text = re.sub(r"^\|.*\|\n\| --- .*\n", "\n", section(title), flags=re.MULTILINE)
    rows = re.findall(r"^\| .*$", text, flags=re.MULTILINE)
    running = re.sub(r"^\| .*$|^- ", "\n\n", text, flags=re.MULTILINE)
    paragraphs = [in_one_line(paragraph) for paragraph in running.split("\n\n")]
    return rows + [
        part
        for paragraph in paragraphs
        for part in re.split(r"(?<=\.) |(?<=\.\)) |(?<=\.\*\*) ", paragraph)
        if part
    ]


def quotes(module: ModuleType) -> dict[str, str]:
    """Return the docstrings of a module's tests, by the tests' names."""
    tests = inspect.getmembers(module, inspect.isfunction)
    return {name: in_one_line(test.__doc__ or "") for name, test in tests if name.startswith("test_")}
