"""`lowland doctor` and `lowland completion`: what this machine can do, and words that a shell completes."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import Field

from lowland.cli.options import Command, add_options, command, kinds_of
from lowland.cli.quiet import quiet_libraries
from lowland.ground.asked import Asked, Truth
from lowland.ground.mistakes import Mistake

MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


class DoctorRequest(Asked):
    """Form of the output."""

    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print a JSON list with an object for each finding"""


class CompletionRequest(Asked):
    """Shell to complete words for."""

    shell: Literal["bash", "zsh", "tcsh"]
    """bash, zsh or tcsh"""


def doctor(request: DoctorRequest) -> int:
    """Say what this machine can do, and what to do about what is missing; return 1 if the defaults cannot train."""
    quiet_libraries()
    from lowland.train.doctor import PROBLEM, examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not request.as_json:
            print(f"{MARKS[finding.state].ljust(7)} {finding.topic.ljust(16)} {finding.text}", flush=True)
            if finding.advice:
                print(f"{'':24} -> {finding.advice}", flush=True)
    if request.as_json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=1))
    return int(any(finding.state == PROBLEM for finding in findings))


def completion(request: CompletionRequest) -> int:
    """Print a script that makes a shell complete verbs and options."""
    try:
        import shtab
    except ImportError:
        raise Mistake("completion needs the package shtab; pip install 'lowland[completion]'") from None
    print(shtab.complete(_all_verbs(), shell=request.shell))
    return 0


def _all_verbs() -> ArgumentParser:
    """Return a parser with all verbs and their options, as shtab reads them; verbs of missing extras have none."""
    from lowland.cli.verbs import GROUPS, VERBS

    whole = ArgumentParser(prog="lowland")
    whole.add_argument("--version", action="store_true", help="print the version")
    verbs = whole.add_subparsers()
    groups = {
        group: verbs.add_parser(group, help=about).add_subparsers()
        for group, about in GROUPS.items()
        if group
    }
    for name, verb in VERBS.items():
        group, _, last = name.rpartition(" ")
        parser = (groups[group] if group else verbs).add_parser(last, help=verb.summary, add_help=False)
        with suppress(Mistake):
            command = verb.load()
            add_options(parser, command)
            _complete_files(parser, command)
    return whole


def _complete_files(parser: ArgumentParser, command: Command) -> None:
    """Mark what takes a path, so that the shell completes names of files."""
    import shtab

    paths = {name for name, field in command.fields.items() if Path in kinds_of(field.annotation)}
    for action in parser._actions:
        if action.dest.lower() in paths:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


DOCTOR = command(doctor, DoctorRequest)
COMPLETION = command(completion, CompletionRequest, positional="shell")
