"""`lowland doctor` and `lowland completion` from the command line, and the help that lists all verbs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable

import pytest

from lowland.cli.verbs import TOPICS, VERBS
from lowland.train import doctor
from lowland.train.doctor import Finding

Command = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is found, to be changed by a test."""
    results = [
        Finding("GPU", "note", "torch sees none", "check the driver"),
        Finding("hub", "ok", "can be reached"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: iter(results))
    return results


def test_doctor_prints_each_finding_with_its_advice(lowland: Command, findings: list[Finding]) -> None:
    code, out, err = lowland("doctor", small=False)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:2] == ["note", "GPU"]
    assert lines[1] == ["->", "check", "the", "driver"]
    assert lines[2] == ["ok", "hub", "can", "be", "reached"]


def test_doctor_fails_if_the_defaults_cannot_train(lowland: Command, findings: list[Finding]) -> None:
    findings.append(Finding("default model", "problem", "it is not there", "install it"))
    code, out, _ = lowland("doctor", "--json", small=False)
    assert code == 1
    assert json.loads(out)[-1] == {
        "topic": "default model",
        "state": "problem",
        "text": "it is not there",
        "advice": "install it",
    }


def test_doctor_finds_something_on_every_topic(lowland: Command) -> None:
    code, out, _ = lowland("doctor", "--json", small=False)
    assert code == 0
    by_topic = {row["topic"]: row for row in json.loads(out)}
    topics = {
        "versions",
        "processor",
        "GPU",
        "threads",
        "number format",
        "hub",
        "default model",
        "Gemma",
        "cache",
    }
    assert topics <= by_topic.keys()
    assert by_topic["hub"]["advice"].startswith("HF_HUB_OFFLINE is set")
    assert by_topic["extra stress"]["text"] == "installed"


def test_every_verb_stands_under_one_topic() -> None:
    under = [name for verbs in TOPICS.values() for name in verbs]
    assert sorted(under) == sorted(VERBS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_verbs_and_options(lowland: Command, shell: str) -> None:
    code, out, err = lowland("completion", shell, small=False)
    assert (code, err) == (0, "")
    for word in ("compare", "merge-back", "sweep"):
        assert word in out
    assert "--epochs" in out or "epochs" in out


def test_completion_for_bash_is_a_script_that_completes(lowland: Command) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    _, script, _ = lowland("completion", "bash", small=False)
    ask = 'COMP_WORDS=(lowland compare --epo); COMP_CWORD=2; _shtab_lowland; echo "${COMPREPLY[@]}"'
    answer = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["--epochs"]


def test_unknown_shell_is_refused(lowland: Command) -> None:
    code, out, err = lowland("completion", "fish", small=False)
    assert (code, out) == (2, "")
    assert "Allowed: bash, zsh, tcsh" in err
