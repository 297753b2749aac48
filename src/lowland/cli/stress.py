"""`lowland stress …`: one verb a function. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jsonargparse import Namespace

from lowland.cli.quiet import quiet_libraries
from lowland.ground.asked import Asked
from lowland.ground.mistakes import Mistake
from lowland.ground.store import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from lowland.stress.questions.questionnaire import Questionnaire

Model = TypeVar("Model", bound=Asked)

IN_PROCESS = ("lowland", "hf")
"""Providers whose models run in this process."""

NEEDED = ("emoji", "inspect_ai", "rapidfuzz", "regex")
"""Of the extra `stress`."""


def stress(options: Namespace, unknown: Mapping[str, Any]) -> int:
    """Question a language model, or fine-tuned adapters, with messy and multilingual input."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise Mistake(
            f'stress tests need {", ".join(missing)}; install them with pip install "lowland[stress]"'
        )
    return STRESS[options.what](options[options.what])


def messy(options: Namespace) -> int:
    """Short questions with typing errors, odd spacing, look-alike letters, emoji and the like."""
    from lowland.stress.questions.questionnaire import MessyQuestionnaire

    return _ask(MessyQuestionnaire, options)


def multilingual(options: Namespace) -> int:
    """The same short questions in English, Hindi, Hinglish and code-switched."""
    from lowland.stress.questions.questionnaire import MultilingualQuestionnaire

    return _ask(MultilingualQuestionnaire, options)


def _ask(kind: type[Questionnaire], options: Namespace) -> int:
    from lowland.ground.progress import Progress
    from lowland.stress.asking.budget import confirm_on_terminal
    from lowland.stress.asking.run import run_stress
    from lowland.stress.asking.settings import AskingSettings

    _writable(options.report)
    questionnaire, settings = _model(kind, options), _model(AskingSettings, options)
    if settings.provider in IN_PROCESS:
        quiet_libraries()
    folder = run_stress(questionnaire, settings, progress=Progress(sys.stderr), confirm=confirm_on_terminal())
    return _show(folder, options.report)


def _model(kind: type[Model], options: Namespace) -> Model:
    """Return a model with the values of the options that were given."""
    return kind(**{name: options[name] for name in kind.model_fields if options[name] is not None})


def adapter(options: Namespace) -> int:
    """Corrupted test texts through the fine-tuned runs of a study."""
    quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.stress.adapters.run import stress_adapters

    _writable(options.report)
    folder = stress_adapters(
        [Path(one) for one in options.runs],
        corruptions=options.corruptions,
        levels=options.levels,
        protect=options.protect,
        mitigations=options.mitigations,
        out=Path(options.out),
        data=None if options.data is None else Path(options.data),
        test_data=None if options.test_data is None else Path(options.test_data),
        progress=Progress(sys.stderr),
        limit=options.limit,
        seed=options.seed,
        fresh=options.fresh,
    )
    return _show(folder, options.report)


def _show(folder: Path, report: str | None) -> int:
    """Print the summary of a stress test, and write the story where that is asked for."""
    from lowland.ground.records import read_rows, read_stress_record
    from lowland.report.stress import stress_folders, stress_summary

    record = read_stress_record(folder)
    print(f"\n{stress_summary(read_rows(folder), record)}\n\nThe rows are in {folder}")
    if report is not None:
        write_whole(Path(report), stress_folders([folder]))
    return 0 if record.status == "finished" else 1


def report(options: Namespace) -> int:
    """The story of stress tests, in Markdown."""
    from lowland.report.stress import stress_folders

    _writable(options.out)
    told = stress_folders([Path(one) for one in options.runs])
    if options.out is None:
        print(told)
    else:
        write_whole(Path(options.out), told)
    return 0


def _rows(runs: Sequence[str]) -> pd.DataFrame:
    """The rows of several stress tests."""
    import pandas as pd

    from lowland.ground.records import read_rows, read_stress_record

    for one in runs:
        read_stress_record(Path(one))
    return pd.concat([read_rows(Path(one)) for one in runs], ignore_index=True)


def _writable(path: str | None) -> None:
    """See that a file can be written there, before anything is asked."""
    if path is not None and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        raise Mistake(f"{path} cannot be written: give a file in a folder that exists")


def sheet(options: Namespace) -> int:
    """Draw replies for people to rate: a CSV file to fill in."""
    from lowland.stress.replies.ratings import sample_for_rating, write_sheet

    path = Path(options.out)
    if path.exists():
        raise Mistake(f"{path} exists, and may hold ratings; name another file with --out")
    _writable(options.out)
    rows = _rows(options.runs)
    sheet = sample_for_rating(rows, options.count, seed=options.seed)
    write_sheet(path, sheet)
    print(
        f"{len(sheet)} replies are in {path}. Write 1 to 5 into its column fluency, then:"
        f"\nlowland stress merge-back {path} --runs {' '.join(options.runs)}"
    )
    return 0


def merge_back(options: Namespace) -> int:
    """Join people's ratings with the rows, and with a judge model's."""
    from lowland.report.ratings import ratings_markdown
    from lowland.stress.replies.ratings import merge_back, read_ratings

    _writable(options.out)
    if Path(options.out).resolve() == Path(options.ratings).resolve():
        raise Mistake(f"out is {options.out}, which holds the ratings; name another file with --out")
    rows = _rows(options.runs)
    rated = merge_back(rows, read_ratings(Path(options.ratings)))
    rated = rated[rated["fluency"].notna()]
    if rated.empty:
        raise Mistake(f"{options.ratings} holds no rating; write 1 to 5 into its column fluency")
    if options.judge is not None:
        from lowland.ground.progress import Progress
        from lowland.stress.asking.budget import confirm_on_terminal
        from lowland.stress.asking.judge import judge_replies

        rated = judge_replies(
            rated,
            options.judge,
            beside=Path(options.out),
            progress=Progress(sys.stderr),
            confirm=confirm_on_terminal(),
        )
    write_whole(Path(options.out), rated.to_csv(index=False, lineterminator="\n"))
    for (eval, model), group in rated.groupby(["eval", "model"], sort=False):
        print(f"{eval}, {model}\n\n{ratings_markdown(group)}\n")
    print(f"The rated rows are in {options.out}")
    return 0


STRESS: Mapping[str, Callable[[Namespace], int]] = {
    "messy": messy,
    "multilingual": multilingual,
    "adapter": adapter,
    "report": report,
    "sheet": sheet,
    "merge-back": merge_back,
}
