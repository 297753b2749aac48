"""`lowland stress …`: messy, multilingual, adapter, report, sheet and merge-back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.cli.report_file import ReportFile
from lowland.ground.asked import Asked, NotEmpty, OutputFile, Seed, Several, Text, Truth, Whole, check_free
from lowland.ground.mistakes import Mistake
from lowland.ground.records import StressRecord
from lowland.ground.remote_store import EachFromURL
from lowland.ground.store import expand_runs, write_whole
from lowland.stress.adapters.settings import AdapterStressSettings
from lowland.stress.asking.settings import AskingSettings, MultilingualAskingSettings
from lowland.stress.questions.questionnaire import (
    MessyQuestionnaire,
    MultilingualQuestionnaire,
    Questionnaire,
)

if TYPE_CHECKING:
    import pandas as pd

IN_PROCESS = ("lowland", "hf")
"""Providers whose models run in this process."""


def _stress_tests(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    return expand_runs(folders, StressRecord)


Folders = Annotated[Several[Path], NotEmpty, EachFromURL, AfterValidator(_stress_tests)]
"""Folders of stress tests; a folder that holds such folders stands for the finished tests in it."""


class ReportSettings(Asked):
    """Stress tests to report on."""

    runs: Folders
    """folders of stress tests, or a folder that holds them"""
    out: OutputFile | None = None
    """write to this file instead of printing"""
    replace_file: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""

    @model_validator(mode="after")
    def _check_free(self) -> Self:
        check_free(self.out, "--out", replace=self.replace_file)
        return self


class SheetSettings(Asked):
    """Replies to draw for people to rate."""

    runs: Folders
    """folders of stress tests, or a folder that holds them"""
    count: Annotated[Whole, Field(ge=1)] = 60
    """number of replies to rate"""
    seed: Seed = 0
    """seed of the draw"""
    out: OutputFile = Path("ratings.csv")
    """the sheet; people fill in its column fluency"""


class RatingsSettings(Asked):
    """Ratings to join with the rows of stress tests."""

    ratings: Path
    """a sheet that people filled in, CSV"""
    runs: Folders
    """folders of the stress tests that the sheet was drawn from, or the folder that holds them"""
    judge: Text | None = None
    """a model that rates the same replies, as provider/name"""
    out: OutputFile = Path("rated.csv")
    """the rated rows"""
    replace_file: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""

    @model_validator(mode="after")
    def _check_free(self) -> Self:
        check_free(self.out, "--out", replace=self.replace_file)
        return self


def messy(questionnaire: MessyQuestionnaire, settings: AskingSettings, report: ReportFile) -> int:
    """Ask short questions with typing errors, odd spacing, look-alike letters, emoji and the like."""
    return _ask(questionnaire, settings, report)


def multilingual(
    questionnaire: MultilingualQuestionnaire, settings: MultilingualAskingSettings, report: ReportFile
) -> int:
    """Ask the same short questions in English, Hindi, Hinglish and code-switched."""
    return _ask(questionnaire, settings, report)


def adapter(settings: AdapterStressSettings, report: ReportFile) -> int:
    """Test the fine-tuned runs of a study on damaged copies of their test texts."""
    quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.stress.adapters.run import stress_adapters

    return _show(stress_adapters(settings, progress=Progress(sys.stderr)), report)


def report(settings: ReportSettings) -> int:
    """Write the results of stress tests as Markdown."""
    from lowland.report.stress import stress_folders

    markdown = stress_folders(settings.runs)
    if settings.out is None:
        print(markdown)
    else:
        write_whole(settings.out, markdown)
    return 0


def sheet(settings: SheetSettings) -> int:
    """Draw replies for people to rate, and write them to a CSV file."""
    from lowland.stress.asking.ratings import sample_for_rating, write_sheet

    if settings.out.exists():
        raise Mistake(f"{settings.out} exists, and may hold ratings; name another file with --out")
    drawn = sample_for_rating(_rows(settings.runs), settings.count, seed=settings.seed)
    write_sheet(settings.out, drawn)
    print(
        f"{len(drawn)} replies are in {settings.out}. Write 1 to 5 into its column fluency, then:"
        f"\nlowland stress merge-back {settings.out} --runs {' '.join(map(str, settings.runs))}"
    )
    return 0


def merge_back(settings: RatingsSettings) -> int:
    """Join people's ratings with the rows, and with a judge model's."""
    from lowland.report.ratings import ratings_markdown
    from lowland.stress.asking.ratings import merge_back as join_ratings
    from lowland.stress.asking.ratings import read_ratings

    if settings.out.resolve() == settings.ratings.resolve():
        raise Mistake(f"out is {settings.out}, which holds the ratings; name another file with --out")
    rated = join_ratings(_rows(settings.runs), read_ratings(settings.ratings))
    rated = rated[rated["fluency"].notna()]
    if rated.empty:
        raise Mistake(f"{settings.ratings} holds no rating; write 1 to 5 into its column fluency")
    if settings.judge is not None:
        rated = _judged(rated, settings.judge, settings.out)
    write_whole(settings.out, rated.to_csv(index=False, lineterminator="\n"))
    for (eval, model), group in rated.groupby(["eval", "model"], sort=False):
        print(f"{eval}, {model}\n\n{ratings_markdown(group)}\n")
    print(f"The rated rows are in {settings.out}")
    return 0


def _ask(questionnaire: Questionnaire, settings: AskingSettings, report: ReportFile) -> int:
    """Ask a model, and print the summary."""
    if settings.provider in IN_PROCESS:
        quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.stress.asking.budget import confirm_on_terminal
    from lowland.stress.asking.run import run_stress

    progress = Progress(sys.stderr)
    folder = run_stress(questionnaire, settings, progress=progress, confirm=confirm_on_terminal())
    return _show(folder, report)


def _show(folder: Path, report: ReportFile) -> int:
    """Print the summary of a stress test, and write its report if a file is given."""
    from lowland.ground.record_files import read_rows, read_stress_record
    from lowland.report.stress import stress_folders, stress_summary

    record = read_stress_record(folder)
    print(f"\n{stress_summary(read_rows(folder), record)}\n\nThe rows are in {folder}")
    if report.report is not None:
        write_whole(report.report, stress_folders([folder]))
    return 0 if record.status == "finished" else 1


def _judged(rated: pd.DataFrame, judge: str, out: Path) -> pd.DataFrame:
    """Return the rows with a judge model's ratings."""
    from lowland.ground.progress import Progress
    from lowland.stress.asking.budget import confirm_on_terminal
    from lowland.stress.asking.judge import judge_replies

    progress = Progress(sys.stderr)
    return judge_replies(rated, judge, beside=out, progress=progress, confirm=confirm_on_terminal())


def _rows(folders: tuple[Path, ...]) -> pd.DataFrame:
    """Return the rows of several stress tests."""
    import pandas as pd

    from lowland.ground.record_files import read_rows, read_stress_record

    for folder in folders:
        read_stress_record(folder)
    return pd.concat([read_rows(folder) for folder in folders], ignore_index=True)


MESSY = command(messy, MessyQuestionnaire, AskingSettings, ReportFile)
MULTILINGUAL = command(multilingual, MultilingualQuestionnaire, MultilingualAskingSettings, ReportFile)
ADAPTER = command(adapter, AdapterStressSettings, ReportFile, positional="runs")
REPORT = command(report, ReportSettings, positional="runs")
SHEET = command(sheet, SheetSettings, positional="runs")
MERGE_BACK = command(merge_back, RatingsSettings, positional="ratings")
