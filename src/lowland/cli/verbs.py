"""Verbs of the command line: what each is for, where it stands, and which packages it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from lowland.cli.options import Command
from lowland.ground.mistakes import Mistake


@dataclass(frozen=True)
class Verb:
    """Verb of the command line; the module with its command is imported when the verb is used.

    Attributes:
        summary: one line for the help.
        module: module of the command.
        command: name of the command in the module.
        needs: packages that must be installed.
        extra: extra of lowland that installs these packages.
    """

    summary: str
    module: str
    command: str
    needs: tuple[str, ...] = ()
    extra: str = ""

    def load(self) -> Command:
        """Import the command.

        Raises:
            Mistake: if packages are missing.
        """
        if missing := [name for name in self.needs if find_spec(name) is None]:
            raise Mistake(
                f'{self.extra} tests need {", ".join(missing)}; install with pip install "lowland[{self.extra}]"'
            )
        loaded: Command = getattr(import_module(self.module), self.command)
        return loaded


def _stress(summary: str, command: str) -> Verb:
    needs = ("emoji", "inspect_ai", "rapidfuzz", "regex")
    return Verb(summary, "lowland.cli.stress", command, needs, "stress")


VERBS: Mapping[str, Verb] = {
    "compare": Verb(
        "train several methods with several seeds, and say which is better", "lowland.cli.study", "COMPARE"
    ),
    "ablate": Verb(
        "train one method with several values of its settings, and compare them with its own",
        "lowland.cli.study",
        "ABLATE",
    ),
    "sweep": Verb(
        "search the settings of each method on validation data, with an equal budget",
        "lowland.cli.study",
        "SWEEP",
    ),
    "train": Verb("train one method with one seed", "lowland.cli.study", "TRAIN"),
    "report": Verb(
        "write a study and its stress tests as one page to read and share, or as Markdown, JSON or CSV",
        "lowland.cli.page",
        "REPORT",
    ),
    "verdict": Verb(
        "say which of several results is better and how sure that is: runs, logs of Inspect or lm-eval, tables",
        "lowland.cli.verdict",
        "VERDICT",
    ),
    "errors": Verb(
        "analyse the errors of runs: which examples, of which kinds, how surely, in how many seeds",
        "lowland.cli.errors",
        "ERRORS",
    ),
    "behave": Verb(
        "test fine-tuned classifiers on a suite of cases with known expectations: negation, numbers, names, typos",
        "lowland.cli.behave",
        "BEHAVE",
        ("emoji", "regex"),
        "stress",
    ),
    "predict": Verb(
        "predict for texts or images with a run, an adapter or a complete model",
        "lowland.cli.deploy",
        "PREDICT",
    ),
    "merge": Verb(
        "merge an adapter into its base model, and save the result if its logits agree",
        "lowland.cli.deploy",
        "MERGE",
    ),
    "retention": Verb(
        "measure how much fine-tuned runs lost on data of another task: by a probe, or by a decoder's loss",
        "lowland.cli.forgetting",
        "RETENTION",
    ),
    "rewind": Verb(
        "scale a run's adapter, and choose the scale on validation data",
        "lowland.cli.forgetting",
        "REWIND",
    ),
    "check": Verb("run a checklist for LoRA on your own model", "lowland.cli.deploy", "CHECK"),
    "stress messy": _stress("ask a language model questions with typing errors and the like", "MESSY"),
    "stress multilingual": _stress(
        "ask the same questions in English, Hindi, Hinglish and code-switched", "MULTILINGUAL"
    ),
    "stress adapter": _stress("test fine-tuned runs on damaged copies of their test texts", "ADAPTER"),
    "stress report": _stress("write the results of stress tests as Markdown", "REPORT"),
    "stress sheet": _stress("draw replies for people to rate: a CSV file to fill in", "SHEET"),
    "stress merge-back": _stress(
        "join people's ratings with the rows, and with a judge model's", "MERGE_BACK"
    ),
    "study ls": Verb(
        "list the runs in a folder, with those that failed or were not finished", "lowland.cli.folders", "LS"
    ),
    "study show": Verb("show what one run was asked, and what came of it", "lowland.cli.folders", "SHOW"),
    "study retry": Verb(
        "run again what failed or was not finished, with what its records ask for",
        "lowland.cli.folders",
        "RETRY",
    ),
    "study rm": Verb("remove runs; finished ones only with --yes", "lowland.cli.folders", "RM"),
    "study merge": Verb(
        "bring the shares of one study together, which several machines have run",
        "lowland.cli.folders",
        "MERGE",
    ),
    "study export": Verb(
        "write scores or predictions of all runs as one table, for other tools",
        "lowland.cli.folders",
        "EXPORT",
    ),
    "tasks": Verb("list the tasks", "lowland.cli.study", "LIST_TASKS"),
    "methods": Verb("list the methods", "lowland.cli.study", "LIST_METHODS"),
}

GROUPS = {
    "stress": "Test models on damaged and on multilingual questions.",
    "study": "Look after folders of runs, and bring the shares of a study together.",
}
