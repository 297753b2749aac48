"""Studies of several folders for `lowland report`: one study that is spread over them, or several beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowland.evidence.studies import NamedStudy, are_settings_equal
from lowland.evidence.study_evidence import study_evidence
from lowland.ground.listing import Entry, finished_runs, training_runs
from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.records import RunRecord
from lowland.ground.visible import visible
from lowland.report.blocks import Page
from lowland.report.studies import studies_page


def check_named_once(paths: Sequence[Path]) -> None:
    """Raise `Mistake` if a folder of runs is named twice."""
    folders = [path.resolve() for path in paths if not (path / "record.json").exists()]
    for path in folders:
        if folders.count(path) > 1:
            raise Mistake(f"{visible(str(path))} is named twice; name each folder once")


def page_of_studies(listed: Sequence[Entry], reference: str | None = None) -> Page | None:
    """Build the page that sets studies of several folders beside each other.

    Folders whose runs differ in nothing but method and seed hold one study. If they hold the same methods and seeds of
    another version of lowland, they are two.

    Args:
        listed: runs and stress tests.
        reference: method that the others are compared with, in the studies that have it.

    Returns:
        None if the runs are of one study.

    Raises:
        Mistake: if a run of one study is in two folders, or no study has the reference.
    """
    folders: dict[Path, list[Entry]] = {}
    for entry in training_runs(listed)[0]:
        folders.setdefault(entry.folder.parent.resolve(), []).append(entry)
    finished = {folder: finished_runs(entries) for folder, entries in folders.items()}
    finished = {folder: runs for folder, runs in finished.items() if runs}
    if len(finished) < 2:
        return None
    records = [record for runs in finished.values() for record in runs.values()]
    if are_settings_equal(records):
        _check_no_run_twice(finished)
        if len({(record.method, record.seed) for record in records}) == len(records):
            return None
    methods = {record.method for runs in finished.values() for record in runs.values()}
    if reference is not None and reference not in methods:
        raise Mistake(one_of("method", reference, sorted(methods)))
    names = _names(list(finished))
    return studies_page(
        [_study(names[folder], folder, folders[folder], runs, reference) for folder, runs in finished.items()]
    )


def _check_no_run_twice(finished: dict[Path, dict[Path, RunRecord]]) -> None:
    """Raise `Mistake` if two folders hold the same run of one study."""
    places: dict[str, Path] = {}
    for folder, runs in finished.items():
        for run, record in runs.items():
            if (other := places.setdefault(record.key, folder)) != folder:
                raise Mistake(
                    f"{visible(str(other))} and {visible(str(folder))} hold runs of one study, and both hold"
                    f" {visible(run.name)}; name one, or bring the runs together by lowland study merge"
                )


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Return the names of folders; where two are equal, with the folders that they are in."""
    names = {folder: visible(folder.name) for folder in folders}
    if len(set(names.values())) == len(folders):
        return names
    return {folder: visible("/".join(folder.parts[-2:])) for folder in folders}


def _study(
    name: str, folder: Path, entries: Sequence[Entry], runs: dict[Path, RunRecord], reference: str | None
) -> NamedStudy:
    failed = [
        entry.record for entry in entries if entry.state == "failed" and isinstance(entry.record, RunRecord)
    ]
    has_reference = reference in {record.method for record in runs.values()}
    try:
        evidence = study_evidence(
            runs,
            failed=failed,
            unfinished=len(entries) - len(runs) - len(failed),
            reference=reference if has_reference else None,
        )
    except Mistake as mistake:
        raise Mistake(f"{visible(str(folder))}: {mistake}") from None
    return NamedStudy(name, folder, evidence)
