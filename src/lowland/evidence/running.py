"""State of a folder of runs while a study runs in it: what is done, runs, failed and waits, as far as it can say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from lowland.evidence.core.spread import Spread, spread_of
from lowland.evidence.readers.history import Entries, read_history, read_history_so_far
from lowland.evidence.readers.trials import SearchState, read_trials
from lowland.ground.listing import Entry, list_folder, training_runs
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord
from lowland.ground.study_notes import PlannedRun, StudyNote, read_study_notes
from lowland.ground.time_left import TimeLeft


@dataclass(frozen=True)
class StudyState:
    """State of a folder of runs at one moment.

    Attributes:
        folder: the folder.
        exists: whether it is there.
        runs: its training runs, in the order of their names, but those that wait to be run again.
        stress: its stress tests.
        waiting: runs that a running study is still to begin, and runs that a killed study never began.
        searches: how far the searches for settings are.
        is_running: whether a process works on a study, or on a run.
        is_cut_short: whether a study was killed before all its runs had begun.
    """

    folder: Path
    exists: bool
    runs: Sequence[Entry] = ()
    stress: Sequence[Entry] = ()
    waiting: Sequence[PlannedRun] = ()
    searches: Sequence[SearchState] = ()
    is_running: bool = False
    is_cut_short: bool = False

    def of(self, *states: str) -> list[Entry]:
        """Return the training runs in these states."""
        return [entry for entry in self.runs if entry.state in states]

    @property
    def records(self) -> dict[Path, RunRecord]:
        """Return the records of the runs that are finished, by folder."""
        finished = self.of("finished")
        return {entry.folder: entry.record for entry in finished if isinstance(entry.record, RunRecord)}

    @property
    def signature(self) -> tuple[object, ...]:
        """Return what differs if something happened in the folder, but for the time that went by."""
        runs = [
            (entry.folder.name, entry.state, _time(entry, "ended")) for entry in (*self.runs, *self.stress)
        ]
        logs = [_newest(entry) for entry in self.of("running")]
        searches = [(search.name, search.ended, search.running) for search in self.searches]
        return (self.exists, self.is_running, self.is_cut_short, *runs, *logs, *self.waiting, *searches)


def read_state(folder: Path) -> StudyState:
    """Return the state of a folder of runs; nothing is written. What vanishes while it is read is left out.

    Raises:
        Mistake: if it is a file.
        OSError: if it cannot be read.
    """
    if not folder.exists():
        return StudyState(folder, exists=False)
    notes = read_study_notes(folder)  # first: a study that ends meanwhile leaves its runs behind
    try:
        entries = list_folder(folder)
    except Mistake:
        if folder.is_file():
            raise
        return StudyState(folder, exists=folder.exists())
    entries = [entry for entry in entries if entry.state != "damaged" or entry.folder.exists()]
    runs, stress = training_runs(entries)
    held = [note for note in notes if note.is_held]
    killed = [note for note in notes if not note.is_held and not _is_superseded(note, runs)]
    waiting = {run.name: run for note in held for run in note.runs if _waits(run, note, runs)}
    begun = {entry.folder.name for entry in runs}
    never_begun = {run.name: run for note in killed for run in note.runs if run.name not in begun}
    runs = [entry for entry in runs if entry.folder.name not in waiting]
    return StudyState(
        folder=folder,
        exists=True,
        runs=runs,
        stress=stress,
        waiting=tuple((never_begun | waiting).values()),
        searches=read_trials(folder),
        is_cut_short=bool(never_begun.keys() - waiting.keys()),
        is_running=bool(held) or any(entry.state == "running" for entry in entries),
    )


def _waits(run: PlannedRun, note: StudyNote, runs: Sequence[Entry]) -> bool:
    """Return whether a run waits: the study runs, and has not begun it."""
    entry = next((entry for entry in runs if entry.folder.name == run.name), None)
    if entry is None or entry.state == "unfinished":
        return True
    if entry.state == "running" or (entry.state == "finished" and not note.fresh):
        return False
    return _time(entry, "ended") < note.started


def _is_superseded(note: StudyNote, runs: Sequence[Entry]) -> bool:
    """Return whether runs of another study ended after a study began that was killed."""
    own = {run.name for run in note.runs}
    return any(entry.folder.name not in own and _time(entry, "ended") > note.started for entry in runs)


def _time(entry: Entry, which: str) -> str:
    """Return a time of an entry's record, "started" or "ended"; "" if it is not known."""
    return "" if entry.record is None else str(entry.record.when.get(which, ""))


def _newest(entry: Entry) -> int:
    """Return when the checkpoints of a run changed, in nanoseconds; 0 if there are none."""
    try:
        return entry.store.checkpoints(entry.folder.name).stat().st_mtime_ns
    except OSError:
        return 0


def elapsed(entry: Entry, now: datetime | None = None) -> float | None:
    """Return the seconds since a run was begun; None if that is not known."""
    try:
        began = datetime.fromisoformat(_time(entry, "started"))
    except ValueError:
        return None
    return max(0.0, ((now or datetime.now(UTC)) - began).total_seconds())


def duration_of(record: RunRecord) -> float | None:
    """Return the seconds that a run took from beginning to end; None if that is not known."""
    try:
        began, ended = (datetime.fromisoformat(str(record.when[name])) for name in ("started", "ended"))
    except (KeyError, ValueError):
        return None
    return (ended - began).total_seconds()


def time_left(state: StudyState, now: datetime | None = None) -> str:
    """Return how long the runs that run and wait still take, in words, judged by those that have ended; "" if unknown.

    Args:
        state: state of the folder.
        now: the time; default: that of the clock.
    """
    running = [entry for entry in state.of("running") if isinstance(entry.record, RunRecord)]
    took = [
        (record.method, seconds)
        for record in state.records.values()
        if (seconds := duration_of(record)) is not None
    ]
    open_runs = [entry.record.method for entry in running if isinstance(entry.record, RunRecord)]
    open_runs += [run.method for run in state.waiting]
    if not took or not open_runs:
        return ""
    left = TimeLeft([*(method for method, _ in took), *open_runs], max(1, len(running)))
    for method, seconds in took:
        left.ended(method, seconds)
    means = {method: fmean(seconds) for method, seconds in left.seconds.items()}
    usual = fmean(means.values())
    spent = [
        min(elapsed(entry, now) or 0.0, means.get(entry.record.method, usual))
        for entry in running
        if isinstance(entry.record, RunRecord)
    ]
    return left.sentence(sum(spent))


def best_so_far(state: StudyState) -> tuple[str, Mapping[str, tuple[Spread, int]]] | None:
    """Return the primary score, and by method its mean on validation data over finished runs, and their number.

    Methods are in the order of their means, the best first. Runs without a validation score are left out.

    Returns:
        None if there is no such run.
    """
    scored = [
        record
        for record in state.records.values()
        if record.scores and record.primary_score in record.validation
    ]
    if not scored:
        return None
    name = scored[0].primary_score
    values: dict[str, list[float]] = {}
    for record in scored:
        if record.primary_score == name:
            values.setdefault(record.method, []).append(record.validation[name])
    spreads = {method: (spread_of(each), len(each)) for method, each in values.items()}
    return name, dict(sorted(spreads.items(), key=lambda item: -item[1][0].mean))


def histories_so_far(state: StudyState) -> tuple[dict[Path, Entries], dict[Path, Entries]]:
    """Return the training logs of the finished runs, and those of the running ones up to their last checkpoint.

    A log that cannot be read is left out.
    """
    finished: dict[Path, Entries] = {}
    for folder in state.records:
        try:
            finished[folder] = read_history(folder)
        except (Mistake, OSError):
            continue
    running = {
        entry.folder: read_history_so_far(entry.store.checkpoints(entry.folder.name))
        for entry in state.of("running")
        if entry.record is not None
    }
    return finished, {folder: entries for folder, entries in running.items() if entries}
