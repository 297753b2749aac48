"""Questions and requests for the fake server, shared by the tests of stress tests."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lowland.stress.asking.settings import AskingSettings
from lowland.stress.questions.questionnaire import MessyQuestionnaire
from tests.stress.asking.messages_api import MessagesAPI

INSPECTS = (
    "ignore:The .initial. parameter is deprecated:DeprecationWarning",  # Inspect uses an old name of tenacity
    "ignore:Unclosed <MemoryObject:ResourceWarning",  # Inspect leaves them to the garbage collector
    "ignore:unclosed:ResourceWarning",
)
"""Filters for warnings that Inspect and its dependencies raise."""

KEY = "sk-ant-not-a-real-key-0123456789"
CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi", "Norway": "Oslo"}


def items_file(folder: Path, count: int = 4) -> Path:
    """Write a file of `count` items, first capitals and then sums, and return its path."""
    rows = [
        {
            "id": f"capital-{country.lower()}",
            "topic": "geography",
            "kind": "name",
            "question": f"What is the capital of {country}?",
            "answers": [city],
            "protect": [country],
        }
        for country, city in CAPITALS.items()
    ]
    for number in range(count):
        question = f"What is one hundred plus {number}?"
        gold = {"kind": "number", "answers": [str(100 + number)], "protect": [str(number)]}
        rows.append({"id": f"sum-{number}", "topic": "arithmetic", "question": question, **gold})
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]), encoding="utf-8")
    return path


class Request(NamedTuple):
    """The two arguments of `run_stress`."""

    questionnaire: MessyQuestionnaire
    settings: AskingSettings

    def with_settings(self, **changes: Any) -> Request:
        """Return the same questions under other settings."""
        return Request(self.questionnaire, self.settings.replace(**changes))


def request_to(api: MessagesAPI, folder: Path, count: int = 4, **changes: Any) -> Request:
    """Return a request to the fake server: clean questions and typos, without mitigation, one epoch."""
    questions: dict[str, Any] = {
        "items": items_file(folder, count),
        "corruptions": "typos",
        "levels": "heavy",
        "mitigations": "none",
    }
    questions |= {name: changes.pop(name) for name in MessyQuestionnaire.model_fields if name in changes}
    settings = {
        "epochs": 1,
        "attempt_timeout": 5,
        "model": "anthropic/claude-sonnet-5",
        "base_url": api.url,
        "out": folder / "runs",
    }
    return Request(MessyQuestionnaire(**questions), AskingSettings(**{**settings, **changes}))


@pytest.fixture(autouse=True)
def own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Set an API key and a home folder for the test; collect Inspect's unclosed objects afterwards."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
