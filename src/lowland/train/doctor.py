"""State of this machine for training: versions, devices, threads, number formats, extras, models, and what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

from packaging.requirements import Requirement

from lowland.ground.cache_folder import VARIABLE, cache_folder
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.provenance import machine
from lowland.train.environment import PACKAGES

State = Literal["ok", "note", "problem"]
OK: Literal["ok"] = "ok"
NOTE: Literal["note"] = "note"
PROBLEM: Literal["problem"] = "problem"
FREE = 2 * 2**30
"""Bytes of free memory or disk under which a study of a small model may fail."""


@dataclass(frozen=True)
class Finding:
    """Result of one check of this machine.

    Attributes:
        topic: what was checked.
        state: "ok"; "note" for what is worth knowing, or missing and optional; "problem" for what keeps lowland from
            training with its defaults.
        text: the fact.
        advice: what to do about it; empty if nothing need be done.
    """

    topic: str
    state: State
    text: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Yield what is found on this machine, one topic after another; it takes seconds."""
    yield _versions()
    yield from _devices()
    yield _threads()
    yield _formats()
    yield from _hub_and_models()
    yield _cache()
    yield from _extras()


def _versions() -> Finding:
    facts = machine(*PACKAGES)
    names = ("python", *PACKAGES)
    return Finding(
        "versions", OK, ", ".join(f"{name} {facts[name]}" for name in ("lowland", *names) if name in facts)
    )


def _devices() -> Iterator[Finding]:
    import psutil
    import torch

    facts, free = machine(), int(psutil.virtual_memory().available)
    text = f"{facts['processor']}, {plural(int(facts['cores']), 'core')}, {_gib(free)} of memory free"
    little = "little memory is free: close other programs, or train with --workers 1" if free < FREE else ""
    yield Finding("processor", NOTE if little else OK, text, little)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            size = torch.cuda.get_device_properties(number).total_memory
            yield Finding("GPU", OK, f"{torch.cuda.get_device_name(number)}, {_gib(size)}")
        return
    built = torch.version.cuda is not None or torch.version.hip is not None
    advice = "torch was built for GPUs and sees none: check the driver" if built else ""
    yield Finding("GPU", NOTE, "torch sees none; models train on the processor", advice)


def _threads() -> Finding:
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    text = f"torch uses {plural(threads, 'thread')} of {plural(cores, 'core')} (studies divide them among their runs)"
    if threads > cores:
        return Finding(
            "threads",
            NOTE,
            text,
            f"more threads than cores slow each other down: set OMP_NUM_THREADS={cores}",
        )
    if os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        advice = "if other programs use these cores, set OMP_WAIT_POLICY=PASSIVE: waiting threads then leave them free"
        return Finding("threads", OK, text, advice)
    return Finding("threads", OK, text)


def _formats() -> Finding:
    from lowland.models.formats import number_format

    chosen = number_format("auto")
    faster = "bf16 is faster" if chosen == "bf16" else "bf16 is not faster"
    return Finding(
        "number format", OK, f"{faster} on this machine, as measured now: --dtype auto trains in {chosen}"
    )


def _hub_and_models() -> Iterator[Finding]:
    from huggingface_hub import constants

    from lowland.models.find import find_model
    from lowland.models.hub import hub_reachable
    from lowland.models.packages import DEFAULT_MODEL, GEMMA, is_gemma_installed

    offline = "HF_HUB_OFFLINE is set; unset it to load models of the hub" if constants.HF_HUB_OFFLINE else ""
    if hub_reachable():
        yield Finding("hub", OK, f"{constants.ENDPOINT} can be reached")
    else:
        advice = (
            offline or "models come from its cache, from folders, or from lowland's extras demo and gemma"
        )
        yield Finding("hub", NOTE, f"{constants.ENDPOINT} cannot be reached", advice)
    try:
        source = find_model(DEFAULT_MODEL)
        yield Finding("default model", OK, f"{DEFAULT_MODEL}, from the {source.origin}")
    except Mistake as mistake:
        yield Finding("default model", PROBLEM, *_split(mistake))
    if is_gemma_installed():
        yield Finding("Gemma", OK, f"{GEMMA} is installed; it is converted at its first use")
    else:
        yield Finding(
            "Gemma",
            NOTE,
            f"{GEMMA} is not installed",
            "for a decoder without a network: " + _install("gemma"),
        )


def _split(mistake: Mistake) -> tuple[str, str]:
    """Return the sentence of a mistake as what is wrong, and what to do."""
    problem, _, advice = mistake.problems[0].partition("; ")
    return problem, advice


def _cache() -> Finding:
    folder = cache_folder()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    text = f"{folder}, {_gib(free)} free"
    if not os.access(there, os.W_OK):
        return Finding("cache", NOTE, f"{folder} cannot be written", f"name another folder in {VARIABLE}")
    little = f"little space is left: free some, or name another folder in {VARIABLE}" if free < FREE else ""
    return Finding("cache", NOTE if little else OK, text, little)


def _extras() -> Iterator[Finding]:
    """Yield for each extra whether its packages are installed."""
    for extra, needed in extras().items():
        lacking = [problem for requirement in needed if (problem := _lacking(requirement))]
        if lacking:
            yield Finding(f"extra {extra}", NOTE, ", ".join(lacking), _install(extra))
        else:
            yield Finding(f"extra {extra}", OK, "installed")


def extras() -> Mapping[str, list[Requirement]]:
    """Return the packages of each extra that users install, by its name; not those of developers."""
    by_extra: dict[str, list[Requirement]] = {}
    for line in requires("lowland") or ():
        requirement = Requirement(line)
        if requirement.marker is None:
            continue
        _, _, name = str(requirement.marker).partition("extra == ")
        if (extra := name.strip("\"' )")) and extra != "dev":
            by_extra.setdefault(extra, []).append(requirement)
    return by_extra


def _lacking(requirement: Requirement) -> str:
    """Return what is wrong with an installed package, in words; empty if it is as required."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} is {installed}, and {requirement.specifier} is needed"


def _install(extra: str) -> str:
    return f"pip install 'lowland[{extra}]'"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
