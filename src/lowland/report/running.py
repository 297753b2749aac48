"""Page of a study that runs: what is done, runs, failed and waits, and what is known so far.

It shows scores on validation data alone. Whoever looks at the verdict again and again, and stops when it pleases, gets
more verdicts for nothing than the intervals say; so the verdict comes when the study has ended.
"""

from __future__ import annotations

from datetime import UTC, datetime

from lowland.evidence.core.wording import score_name
from lowland.evidence.running import (
    StudyState,
    best_so_far,
    duration_of,
    elapsed,
    histories_so_far,
    time_left,
)
from lowland.ground.listing import Entry
from lowland.ground.mistakes import plural
from lowland.ground.progress import duration
from lowland.ground.records import RunRecord, title_of
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Data, Figure, Page, Paragraph, Section
from lowland.report.cells import Column, Row
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.folder import problem_of
from lowland.report.sections.learning import curve_blocks

ORDER = ("running", "waiting", "failed", "unfinished", "damaged", "other version", "finished")
"""States of runs in the order of the table: first what one looks for."""
MANY = 20
"""Number of failures above which the others are counted."""


def running_page(state: StudyState, now: datetime | None = None) -> Page:
    """Build the page of a folder in which a study runs, is expected to run, or has stopped.

    Args:
        state: state of the folder.
        now: the time; default: that of the clock.
    """
    now = now or datetime.now(UTC)
    made: dict[str, list[Block]] = {
        "Best so far": _best(state),
        "Learning curves so far": _curves(state),
        "Search for settings": _searches(state),
        "Runs": [_runs(state, now)] if state.runs or state.waiting else [],
    }
    return Page(
        title=_title(state),
        subtitle=_subtitle(state),
        headline=running_headline(state, now),
        lead=tuple(_failures(state)),
        sections=tuple(Section(title, tuple(blocks)) for title, blocks in made.items() if blocks),
    )


def running_headline(state: StudyState, now: datetime | None = None) -> str:
    """Return in a sentence how far the study is, and how long it still takes."""
    where = visible(str(state.folder))
    if not state.exists:
        return f"Waiting for runs: the folder {where} does not exist yet."
    done, total = len(state.of("finished")), len(state.runs) + len(state.waiting)
    if not total and state.searches:
        ended = sum(search.ended for search in state.searches)
        return (
            f"No run has begun yet; {plural(ended, 'trial')} of the search for settings {_have(ended)} ended."
        )
    if not total:
        return f"Waiting for runs: the folder {where} holds none yet."
    counts = {
        "running": len(state.of("running")),
        "waiting" if state.is_running else "not begun": len(state.waiting),
        "failed": len(state.of("failed")),
        "not finished": len(state.of("unfinished")),
        "that cannot be read": len(state.of("damaged", "other version")),
    }
    parts = [f"{count} {word}" for word, count in counts.items() if count]
    first = f"{done} of {plural(total, 'run')} {'is' if done == 1 else 'are'} done"
    if not state.is_running:
        stopped = "The study stopped before its end" if state.is_cut_short else "No process works here"
        first = f"{stopped}: {first}"
    left = time_left(state, now)
    return (
        f"{first}{': ' if parts and state.is_running else ', '}{', '.join(parts)}{f'; {left}' if left else ''}."
        if parts
        else f"{first}."
    )


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _first(state: StudyState) -> RunRecord | None:
    records = (entry.record for entry in state.runs)
    return next((record for record in records if isinstance(record, RunRecord)), None)


def _methods(state: StudyState) -> list[str]:
    """Return the labels of the methods, as the study goes on; a method's place gives its look."""
    records = [entry.record for entry in state.runs if isinstance(entry.record, RunRecord)]
    records.sort(key=lambda record: record.when.get("started", ""))
    return list(
        dict.fromkeys([*(record.method for record in records), *(run.method for run in state.waiting)])
    )


def _title(state: StudyState) -> str:
    first = _first(state)
    where = visible(state.folder.name or str(state.folder))
    return f"{visible(first.task)} in {where}" if first else where


def _subtitle(state: StudyState) -> str:
    if (first := _first(state)) is None:
        return "This page follows the folder."
    seeds = {entry.record.seed for entry in state.runs if isinstance(entry.record, RunRecord)}
    seeds |= {run.seed for run in state.waiting}
    return (
        f"{visible(title_of(first.model))}, {plural(len(_methods(state)), 'method')}, {plural(len(seeds), 'seed')};"
        " scores are of validation data, and the verdict comes when the study has ended"
    )


def _failures(state: StudyState) -> list[Block]:
    """Build the list of what failed, with the reasons."""
    broken = state.of("failed", "damaged", "other version")
    if not broken:
        return []
    lines = [f"{entry.name}: {problem_of(entry)}" for entry in broken[:MANY]]
    more = [f"… and {len(broken) - MANY} more"] if len(broken) > MANY else []
    return [Paragraph(f"{plural(len(broken), 'run')} failed or cannot be read:"), Bullets((*lines, *more))]


def _best(state: StudyState) -> list[Block]:
    """Build the table of the mean validation score of each method, the best first."""
    best = best_so_far(state)
    if best is None:
        return []
    name, means = best
    columns = (
        Column("method", "method"),
        Column("seeds", "seeds done", "number"),
        Column("validation", f"validation {score_name(name)}", "spread", ".4f"),
    )
    rows = tuple((method, count, (spread.mean, spread.sd)) for method, (spread, count) in means.items())
    caption = (
        "Mean ± standard deviation over the seeds that are done; methods may have different seeds so far"
    )
    return [Data("best_so_far", caption, columns, rows)]


def _curves(state: StudyState) -> list[Block]:
    """Build the learning curves: a line for each method's finished runs, and one for each run that is trained."""
    first = next(iter(state.records.values()), None)
    finished, running = histories_so_far(state)
    methods = _methods(state)
    names = {folder: record.method for folder, record in state.records.items() if folder in finished}
    logs = {
        method: [finished[folder] for folder, name in names.items() if name == method]
        for method in methods
        if method in names.values()
    }
    numbers = {method: number for number, method in enumerate(methods)}
    for entry in state.of("running"):
        if entry.folder in running and isinstance(entry.record, RunRecord):
            line = f"{entry.record.method}, seed {entry.record.seed}, running"
            logs[line] = [running[entry.folder]]
            numbers[line] = numbers[entry.record.method]
    score = first.primary_score if first is not None else _logged_score(list(running.values()))
    return curve_blocks(logs, dict(enumerate(methods)), score, numbers)


def _logged_score(logs: list[object]) -> str:
    """Return the name of a validation score in training logs, while no record names the primary one."""
    names = (
        name.removeprefix("eval_")
        for log in logs
        for entry in (log if isinstance(log, list) else [])
        for name in entry
        if name.startswith("eval_") and name != "eval_loss" and not name.endswith(("runtime", "per_second"))
    )
    return next(names, "score")


def _searches(state: StudyState) -> list[Block]:
    """Build the plot of the best validation score by trial, and the best settings of each search."""
    if not state.searches:
        return []
    first = _first(state)
    prefix = f"{first.task}-" if first else ""
    names = [visible(search.name.removeprefix(prefix)) for search in state.searches]
    columns = (
        Column("method", "method"),
        Column("ended", "trials ended", "number"),
        Column("running", "begun, not ended", "number"),
        Column("stopped", "stopped or diverged", "number"),
        Column("best", "best validation score", "number", ".4f"),
        Column("settings", "its settings"),
    )
    rows: tuple[Row, ...] = tuple(
        (
            name, search.ended, search.running, search.stopped, search.best,
            ", ".join(f"{setting} {_brief(value)}" for setting, value in search.settings.items()),
        )
        for name, search in zip(names, state.searches, strict=True)
    )  # fmt: skip
    table = Data("search_so_far", "Trials so far", columns, rows)
    points = {
        number: tuple(
            (trial + 1.0, value) for trial, value in enumerate(search.best_so_far) if value is not None
        )
        for number, search in enumerate(state.searches)
    }
    lines = [Line(names[number], number, each) for number, each in points.items() if each]
    if not lines:
        return [table]
    words = "; ".join(f"{line.name}: {line.points[-1][1]:.4f}" for line in lines)
    drawing = plot(lines, Frame("Best validation score so far", f"{words}.", "trials"))
    figure = Figure(
        "search", "Best score on validation data after so many trials.", (drawing,), table,
        legend={line.number: line.name for line in lines},
    )  # fmt: skip
    return [figure]


def _brief(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else visible(str(value))


def _runs(state: StudyState, now: datetime) -> Data:
    """Build the list of all runs: first those that run, wait and failed."""
    best = best_so_far(state)
    score = best[0] if best else ""
    columns = (
        Column("method", "method"),
        Column("seed", "seed", "number", "d"),
        Column("state", "state"),
        Column("validation", f"validation {score_name(score)}".strip(), "number", ".4f"),
        Column("time", "time"),
        Column("run", "run"),
    )
    rows: list[tuple[str, Row]] = [
        ("waiting", (run.method, run.seed, "waiting", None, "", visible(run.name))) for run in state.waiting
    ]
    rows += [(entry.state, _row(entry, score, now)) for entry in state.runs]
    rows.sort(key=lambda row: ORDER.index(row[0]))
    return Data(
        "runs_so_far",
        "Runs, with the time that they took or have been running",
        columns,
        tuple(row for _, row in rows),
    )


def _row(entry: Entry, score: str, now: datetime) -> Row:
    record = entry.record if isinstance(entry.record, RunRecord) else None
    seconds = None
    if record is not None:
        seconds = elapsed(entry, now) if entry.state == "running" else duration_of(record)
    return (
        record.method if record else "",
        record.seed if record else None,
        entry.state,
        record.validation.get(score) if record else None,
        "" if seconds is None else duration(seconds),
        entry.name,
    )
