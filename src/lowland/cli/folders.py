"""`lowland study …`: ls, show, retry, rm, merge and export."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.ground.asked import Asked, LocalPath, NotEmpty, Several, Text, Truth, Whole, check_free
from lowland.ground.listing import Entry, entries_at, entry_at, finished_runs, list_folder, training_runs
from lowland.ground.mistakes import Mistake, plural
from lowland.ground.remote_store import EachFromURL, FromURL, folder_of_runs
from lowland.ground.table_files import TableFile
from lowland.ground.visible import visible

if TYPE_CHECKING:
    from lowland.train.job import Job


class Listing(Asked):
    """A folder to list."""

    folder: Annotated[Path, BeforeValidator(folder_of_runs)] = Path("runs")
    """folder or URL of runs"""
    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print a JSON list with an object for each run, with all that is known"""


class OneFolder(Asked):
    """A run to show."""

    run: Annotated[Path, FromURL]
    """folder or URL of a run or a stress test"""


class Removal(Asked):
    """Runs to remove."""

    runs: Annotated[Several[LocalPath], NotEmpty]
    """folders of runs and stress tests, or folders that hold them; nothing else is removed"""
    failed: Truth = False
    """remove only those that failed"""
    yes: Truth = False
    """remove finished ones as well"""


class Again(Asked):
    """Runs to run again."""

    runs: Annotated[Several[LocalPath], NotEmpty]
    """folders of runs, or folders that hold them; what failed or was not finished is run again"""
    data: Path | None = None
    """the task's data file, if it has moved"""
    test_data: Path | None = None
    """its file with the test set, if it has moved"""
    model: Text | None = None
    """the base model, if it has moved"""
    workers: Annotated[Whole, Field(ge=1)] | None = None
    """number of runs at a time, as for lowland compare"""


class SharesToMerge(Asked):
    """Shares of a study to bring together."""

    shares: Annotated[Several[LocalPath], NotEmpty]
    """folders of runs, each a share of one study"""
    out: LocalPath
    """new folder for the whole study; the shares stay as they are"""
    partial: Truth = False
    """merge also if runs are missing, or their records damaged"""


class Export(Asked):
    """A table to write from runs."""

    runs: Annotated[Several[Path], NotEmpty, EachFromURL]
    """folders or URLs of runs, or of folders that hold them"""
    out: TableFile
    """file to write: .csv, .parquet or .jsonl"""
    predictions: Truth = False
    """write a row for each run and test example, instead of one for each run and score"""
    replace_file: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""

    @model_validator(mode="after")
    def _check_free(self) -> Self:
        check_free(self.out, "--out", replace=self.replace_file)
        return self


def ls(settings: Listing) -> int:
    """List the runs in a folder."""
    from lowland.report.folder import describe_entry, folder_blocks
    from lowland.report.markdown import render

    entries = entries_at(settings.folder)
    if settings.as_json:
        print(json.dumps([describe_entry(entry) for entry in entries], indent=2))
    else:
        print(render(folder_blocks(entries)))
    return 0


def show(settings: OneFolder) -> int:
    """Show one run."""
    from lowland.report.markdown import render
    from lowland.report.run import run_blocks

    print(render(run_blocks(entry_at(settings.run))))
    return 0


def rm(settings: Removal) -> int:
    """Remove runs."""
    from lowland.ground.removal import remove_runs

    removed = remove_runs(settings.runs, only_failed=settings.failed, yes=settings.yes)
    for entry in removed:
        print(f"removed {entry} ({entry.state})")
    if not removed:
        print("nothing was removed: no run failed")
    return 0


def retry(settings: Again) -> int:
    """Run again what failed or was not finished."""
    entries = _entries(settings.runs)
    quiet_libraries()
    from lowland.evidence.readers.runs import finished
    from lowland.ground.progress import Progress
    from lowland.ground.runtime import keep_large_blocks
    from lowland.report.folder import entries_table
    from lowland.report.markdown import render
    from lowland.study.engines.local import LocalEngine
    from lowland.study.retry import Moved, plan_retry
    from lowland.study.run import run_jobs

    planned = plan_retry(entries, Moved(settings.data, settings.test_data, settings.model))
    for sentence in planned.left:
        print(f"lowland: not run again: {sentence}", file=sys.stderr)
    if not planned.jobs:
        print("No run can be run again." if planned.left else "There is nothing to run again.")
        return 1 if planned.left else 0
    keep_large_blocks()
    progress, folders = Progress(sys.stderr), []
    for jobs in _by_data_and_model(planned.jobs):
        folders += run_jobs(jobs, progress=progress, engine=LocalEngine(settings.workers, quiet_libraries))
    good = len(finished(folders))
    print(f"\n{render([entries_table([entry_at(folder) for folder in folders])])}\n")
    print(f"{plural(len(folders), 'run')} again: {good} finished, {len(folders) - good} failed")
    return 0 if good == len(folders) else 1


def merge(settings: SharesToMerge) -> int:
    """Bring the shares of a study together."""
    from lowland.evidence.readers.runs import finished
    from lowland.ground.progress import Progress
    from lowland.report.share import study_or_share
    from lowland.study.merging import merge_shares

    for share in settings.shares:  # a record may lack what the report at the end shows
        finished(list(finished_runs(list_folder(share))))
    merged = merge_shares(
        settings.shares, settings.out, partial=settings.partial, progress=Progress(sys.stderr)
    )
    for task, missing in merged.missing.items():
        runs = {
            (run.record.method, run.record.seed): run.folder for run in merged.runs if run.record.task == task
        }
        print(study_or_share({**runs, **dict.fromkeys(missing)}, settings.out))
    print(
        f"{plural(len(merged.runs), 'run')} of {plural(len(settings.shares), 'share')} are in {settings.out}"
    )
    return 0


def export(settings: Export) -> int:
    """Write scores or predictions of all runs as one table."""
    from lowland.evidence.readers.runs import finished
    from lowland.evidence.readers.tidy import prediction_rows, score_rows
    from lowland.ground.table_files import write_table

    entries = _entries(settings.runs)
    runs = finished(list(finished_runs(entries)))
    if not runs:
        raise Mistake("there is no finished training run to export in " + _named(settings.runs))
    table = prediction_rows(runs) if settings.predictions else score_rows(runs)
    write_table(settings.out, table)
    print(f"{plural(len(table), 'row')} of {plural(len(runs), 'run')} are in {visible(str(settings.out))}")
    for sentence in _not_exported(entries):
        print(f"lowland: {sentence}", file=sys.stderr)
    return 0


def _not_exported(entries: Sequence[Entry]) -> list[str]:
    """Return sentences on what the exported table does not hold."""
    runs, stress = training_runs(entries)
    rest = [f"{entry} ({entry.state})" for entry in runs if entry.state != "finished"]
    sentences = [f"left out, since not finished: {', '.join(rest)}"] if rest else []
    if stress:
        sentences.append(
            f"left out: {plural(len(stress), 'stress test')}; only training runs are exported, and the folder of each"
            " stress test holds its rows (rows.csv, rows.parquet)"
        )
    return sentences


def _entries(paths: Sequence[Path]) -> list[Entry]:
    """Return the runs and stress tests at paths, each once.

    Raises:
        Mistake: if there are none.
    """
    entries = {entry.folder.absolute(): entry for path in paths for entry in entries_at(path)}
    if not entries:
        raise Mistake(f"{_named(paths)} holds no runs; name a folder of runs")
    return list(entries.values())


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(visible(str(path)) for path in paths)


def _by_data_and_model(jobs: Sequence[Job]) -> list[list[Job]]:
    """Group jobs that are trained on the same data and model: an engine runs those of one study."""
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.data.sha256, job.source.sha256), []).append(job)
    return list(groups.values())


LS = command(ls, Listing, positional="folder")
SHOW = command(show, OneFolder, positional="run")
RETRY = command(retry, Again, positional="runs")
RM = command(rm, Removal, positional="runs")
MERGE = command(merge, SharesToMerge, positional="shares")
EXPORT = command(export, Export, positional="runs")
