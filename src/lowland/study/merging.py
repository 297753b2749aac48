"""Merge the shares of a study, which several machines have run, into one folder: all of it is written, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.ground.record_files import read_record
from lowland.ground.store import flush_files
from lowland.ground.visible import visible
from lowland.study.shares import ShareRun, Shares, read_shares


def merge_shares(
    folders: Sequence[Path], out: Path, *, partial: bool = False, progress: Progress | None = None
) -> Shares:
    """Copy the finished runs of shares into a new folder; the shares are not changed.

    Args:
        folders: of the shares.
        out: the new folder; it must not exist, or be empty.
        partial: whether runs may be missing.
        progress: reports the copying, and what a person should know of the runs.

    Returns:
        The runs in their new folders.

    Raises:
        Mistake: before anything is written: if the folders cannot be used, or the shares are not one whole study.
    """
    progress = progress or Progress()
    _check_folders(folders, out)
    shares = read_shares(folders, partial=partial)
    if not shares.runs:
        raise Mistake("the folders hold no finished run; there is nothing to merge")
    for sentence in shares.said:
        progress.say(sentence)
    beside = out.absolute().with_name(f".{out.absolute().name}.partial")
    try:
        beside.mkdir()
    except FileExistsError:
        raise Mistake(
            f"{beside} is there: another merge into {out} is at work, or was killed; remove it"
        ) from None
    try:
        with progress.bar(len(shares.runs), unit="runs", label="copying") as bar:
            for run in shares.runs:
                _copy(run, beside / run.folder.name)
                bar.step()
        flush_files(beside)
        beside.rename(out)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    runs = [ShareRun(out, out / run.folder.name, run.record) for run in shares.runs]
    return Shares(runs, shares.missing, shares.said)


def _copy(run: ShareRun, place: Path) -> None:
    """Copy a run, and check that its record is still the one that was read."""
    try:
        shutil.copytree(run.folder, place)
    except shutil.Error as error:
        _, target, reason = error.args[0][0]  # of the first file: "[Errno 28] No space left: 'a' -> 'b'"
        problem = reason.partition("] ")[2].partition(": ")[0] or reason
        raise OSError(f"{target} cannot be written ({problem})") from None
    if read_record(place) != run.record:
        raise Mistake(f"{visible(str(run.folder))} has changed while it was copied; nothing was written")


def _check_folders(folders: Sequence[Path], out: Path) -> None:
    """Check that the folders are different, and the new one is new and apart from them; raise `Mistake` otherwise."""
    problems = []
    places = [folder.resolve() for folder in folders]
    if len(folders) < 2:
        problems.append("give the folders of at least two shares")
    problems += [
        f"{visible(str(folder))} is given twice"
        for number, folder in enumerate(folders)
        if places[number] in places[:number]
    ]
    inside = [
        folder
        for folder, place in zip(folders, places, strict=True)
        if place == out.resolve() or place in out.resolve().parents
    ]
    if inside:
        problems.append(
            f"out is {out}, which is the folder of a share or lies in it ({inside[0]}); shares are not changed: name"
            " another folder"
        )
    elif out.exists() and not (out.is_dir() and not any(out.iterdir())):
        problems.append(f"out is {out}, which exists and is not an empty folder; name a new one")
    elif not out.absolute().parent.is_dir():
        problems.append(f"out is {out}, and the folder {out.parent} does not exist; make it first")
    if problems:
        raise Mistake(*problems)
