"""Runs, stress tests and measurements for a page of `lowland report`, read from their folders and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowland.cli.beside import check_named_once, page_of_studies
from lowland.evidence.readers.measurements import (
    Measurements,
    check_measured_runs,
    is_measurement,
    read_measurements,
)
from lowland.evidence.study_evidence import study_evidence
from lowland.ground.listing import Entry, entries_at, finished_runs, training_runs
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_rows
from lowland.ground.records import RunRecord, StressRecord
from lowland.report.blocks import Page
from lowland.report.page import measured_page, stress_page, study_page


def split_measured(paths: Sequence[Path]) -> tuple[list[Path], Measurements]:
    """Split what is named into folders of runs and measurements, and read the latter.

    Raises:
        Mistake: if a measurement cannot be read.
    """
    folders = [path for path in paths if not is_measurement(path)]
    return folders, read_measurements([path for path in paths if path not in folders])


def build_page(
    folders: Sequence[Path], measured: Measurements, reference: str | None, surface: str | None
) -> Page:
    """Build the page of folders of runs and stress tests, and of measurements.

    Args:
        folders: the folders; those of several studies are set beside each other.
        measured: the measurements.
        reference: method that the others are compared with.
        surface: name of the file beside the page in which planes of the loss can be turned; None if there is none.

    Raises:
        Mistake: if a folder is named twice or holds nothing, something cannot be read or is not finished, or
            measurements stand beside several studies.
    """
    check_named_once(folders)
    listed = {path: entries_at(path) for path in folders}
    if len(folders) > 1 and (empty := [path for path, runs in listed.items() if not runs]):
        raise Mistake(
            f"{empty[0]} holds no runs and no stress tests; leave it out, and name measurements by their own files"
        )
    entries = list({entry.folder: entry for runs in listed.values() for entry in runs}.values())
    check_readable(entries)
    if not entries and not folders:
        return measured_page(measured, (), reference, surface)
    if (page := page_of_studies(entries, reference)) is None:
        return page_of(entries, folders[0], reference, measured, surface)
    if measured:
        raise Mistake(
            f"{next(iter(measured.files))} is a measurement, and several studies are named; name one of them"
        )
    return page


def check_readable(entries: Sequence[Entry]) -> None:
    """Raise `Mistake` if the record of a run or a stress test cannot be read."""
    if damaged := [entry for entry in entries if entry.state in ("damaged", "other version")]:
        raise Mistake(
            *(f"{entry.folder}: {entry.reason}; move it away to report on the others" for entry in damaged)
        )


def page_of(
    listed: Sequence[Entry],
    place: Path,
    reference: str | None = None,
    measured: Measurements | None = None,
    surface: str | None = None,
) -> Page:
    """Build the page of one study, of stress tests, or of both.

    Args:
        listed: the runs and stress tests.
        place: where they are, for sentences.
        reference: method that the others are compared with.
        measured: measurements of the runs.
        surface: as for `build_page`.

    Raises:
        Mistake: if one of them cannot be read, or none is finished.
    """
    check_readable(listed)
    measured = measured or Measurements()
    entries, stressed = training_runs(listed)
    tests = [
        (entry.record, read_rows(entry.folder))
        for entry in stressed
        if entry.state == "finished" and isinstance(entry.record, StressRecord)
    ]
    runs = finished_runs(entries)
    if not runs and not tests:
        raise Mistake(f"{place} holds no finished run; lowland study ls {place} says what it holds")
    if not runs:
        return measured_page(measured, tests, reference, surface) if measured else stress_page(tests)
    check_measured_runs(measured, [folder.name for folder in runs])
    failed = [
        entry.record for entry in entries if entry.state == "failed" and isinstance(entry.record, RunRecord)
    ]
    unfinished = len(entries) - len(runs) - len(failed)
    evidence = study_evidence(runs, failed=failed, unfinished=unfinished, reference=reference)
    return study_page(evidence, tests, measured, surface)
