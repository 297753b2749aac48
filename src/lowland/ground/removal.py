"""Removal of runs and stress tests: of these alone, all that are named or none, and what took work only on request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowland.ground.listing import NAME, Entry, entries_at, is_stress
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.records import FILES, RunRecord, StressRecord
from lowland.ground.store import in_use
from lowland.ground.visible import visible

SHOWN = 5
"""Number of runs that a sentence names."""


def remove_runs(paths: Sequence[Path], *, only_failed: bool = False, yes: bool = False) -> list[Entry]:
    """Remove runs and stress tests, and what unfinished ones have left; return what was removed.

    Args:
        paths: of runs, or of folders that hold them.
        only_failed: leave those that did not fail.
        yes: remove also what is not failed or unfinished.

    Raises:
        Mistake: before anything is removed: if a path holds nothing to remove, what it holds is not lowland's, is a
            link or is in use, or takes `yes`.
    """
    entries = list({entry.folder.absolute(): entry for path in paths for entry in _at(path)}.values())
    if only_failed:
        entries = [entry for entry in entries if entry.state == "failed"]
    problems = [problem for entry in entries if (problem := _problem(entry))]
    kept = [entry for entry in entries if entry.state not in ("failed", "unfinished", "running")]
    if kept and not yes:
        problems.append(_ask_for_yes(kept))
    if problems:
        raise Mistake(*problems)
    for entry in entries:
        with entry.store.claim(entry.folder.name, wait=False):
            _check_not_finished_since(entry)
            entry.store.remove(entry.folder.name)
    return entries


def _at(path: Path) -> list[Entry]:
    entries = entries_at(path)
    if not entries:
        raise Mistake(f"{visible(str(path))} holds no runs; nothing was removed")
    return entries


def _problem(entry: Entry) -> str | None:
    """Return why an entry cannot be removed; None if it can."""
    if entry.folder.is_symlink() or (entry.folder / "record.json").is_symlink():
        return f"{entry} is a link, or its record is one; remove it by hand"
    if entry.state == "running" or entry.store.is_claimed(entry.folder.name):
        return in_use(entry.folder)
    if not entry.folder.is_dir():
        return None
    others = sorted(visible(path.name) for path in entry.folder.iterdir() if path.name not in FILES)
    if others:
        return (
            f"{entry} also holds {', '.join(others[:SHOWN])}{', …' if len(others) > SHOWN else ''}, which lowland did"
            " not write; move that elsewhere first"
        )
    if entry.record is None and not NAME.fullmatch(entry.folder.name):
        return f"{entry} is not known to be a run of lowland ({entry.reason}); remove it by hand"
    return None


def _ask_for_yes(entries: Sequence[Entry]) -> str:
    """Return the sentence for what took work, and is not removed without a further word."""
    states = [entry.state for entry in entries]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    noun = "stress test" if all(map(is_stress, entries)) else "run"
    names = ", ".join(entry.name for entry in entries[:SHOWN]) + (", …" if len(entries) > SHOWN else "")
    return (
        f"this would remove {plural(len(entries), noun)} that did not fail ({counted}): {names}; add --yes to do it, or"
        " --failed to remove failed ones alone"
    )


def _check_not_finished_since(entry: Entry) -> None:
    """Check that a claimed run that was not finished when it was listed still is not; raise `Mistake` otherwise."""
    name = entry.folder.name
    if entry.state in ("failed", "unfinished") and any(
        entry.store.find_to_replace(name, kind) is not None for kind in (RunRecord, StressRecord)
    ):
        raise Mistake(f"{entry} has been finished in the meantime; it is kept")
