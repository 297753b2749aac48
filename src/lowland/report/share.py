"""Report of a study of which only a part may be there: a part is called one, and its methods are not compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland.ground.listing import Entry, entries_at
from lowland.ground.mistakes import plural
from lowland.report.blocks import Block, Paragraph
from lowland.report.closing import closing_lines, failure_lines
from lowland.report.folder import entries_table
from lowland.report.markdown import render
from lowland.report.study import summary

Slot = tuple[str, int]
"""Label of a method, and a seed: what tells the runs of a study apart."""
SHOWN = 8
"""Number of seeds of a method that are listed."""


def study_or_share(
    runs: Mapping[Slot, Path | None],
    place: Path | str,
    tunings: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the last words on a study: its report; or which of its runs are there and what to do, if it is a part.

    Args:
        runs: the folder of each run of the study, in the study's order; None if it is not there.
        place: folder of the runs, or their URL, as text.
        tunings: as for `summary`.
    """
    folders = [folder for folder in runs.values() if folder is not None]
    if len(folders) == len(runs):  # a run that failed is there, and the report counts it
        url = place if isinstance(place, str) else None
        return "\n".join([f"\n{summary(folders, tunings)}\n", *closing_lines(folders, url)])
    entries = [entry for folder in folders for entry in entries_at(folder)]
    finished = {entry.folder for entry in entries if entry.state == "finished"}
    missing = [slot for slot, folder in runs.items() if folder not in finished]
    failures = failure_lines([entry.folder for entry in entries if entry.state == "failed"])
    report = render(share_blocks(entries, list(runs), missing))
    return "\n".join([f"\n{report}\n", *failures, advice_on_shares(place)])


def share_blocks(entries: Sequence[Entry], slots: Sequence[Slot], missing: Sequence[Slot]) -> list[Block]:
    """Build the report of a part of a study.

    Args:
        entries: its runs that are there.
        slots: all its runs.
        missing: those that are not there, or not finished.
    """
    there = len(slots) - len(missing)
    head = Paragraph(
        f"A part of the study: {there} of its {plural(len(slots), 'run')} {'is' if there == 1 else 'are'} finished, and"
        f" these are missing: {slots_in_words(missing)}. The methods are compared when all runs are there."
    )
    return [head, entries_table(entries)] if entries else [head]


def advice_on_shares(place: Path | str) -> str:
    """Return what to do with the folder of a share, or with one behind a URL."""
    others = "Run the other shares with --only, here or on other machines"
    if isinstance(place, str):
        return f"{others}, with the same --out"
    return f"{others}. Then bring their folders together: lowland study merge {place} FOLDER … --out FOLDER"


def slots_in_words(slots: Sequence[Slot]) -> str:
    """Write runs by method: `full, seeds 1, 2; lora, seed 2`."""
    seeds: dict[str, list[str]] = {}
    for method, seed in slots:
        seeds.setdefault(method, []).append(str(seed))
    return "; ".join(
        f"{method}, {'seed' if len(own) == 1 else 'seeds'} {', '.join(own[:SHOWN])}"
        + (f" and {len(own) - SHOWN} more" if len(own) > SHOWN else "")
        for method, own in seeds.items()
    )
