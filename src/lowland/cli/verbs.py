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
    "demo": Verb("compare methods on the embedded data set, in a few minutes", "lowland.cli.study", "DEMO"),
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
    "measure spectrum": Verb(
        "measure the curvature of the loss at the weights of runs: eigenvalues, trace and density",
        "lowland.cli.spectrum",
        "SPECTRUM",
    ),
    "measure sharpness": Verb(
        "measure how much the loss of runs rises near their weights, by noise and in the worst direction",
        "lowland.cli.sharpness",
        "SHARPNESS",
    ),
    "measure slices": Verb(
        "measure and draw the loss along lines and planes through the weights of runs",
        "lowland.cli.slices",
        "SLICES",
    ),
    "measure adapters": Verb(
        "measure what runs and adapters learned: norms, ranks, intruder dimensions, overlap, drift",
        "lowland.cli.measure_adapters",
        "ADAPTERS",
    ),
    "measure cost": Verb(
        "measure what a run costs: parameters, optimizer, steps, inference and files",
        "lowland.cli.measure_adapters",
        "COST",
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
    "doctor": Verb(
        "say what this machine can do, and what to do about what is missing", "lowland.cli.doctor", "DOCTOR"
    ),
    "completion": Verb(
        "print a script that makes a shell complete verbs and options", "lowland.cli.doctor", "COMPLETION"
    ),
}

TOPICS: Mapping[str, tuple[str, ...]] = {
    "train and compare": ("demo", "compare", "train", "sweep", "ablate"),
    "use what was trained": ("predict", "merge", "check", "rewind"),
    "judge results": ("report", "verdict", "errors", "behave", "retention"),
    "measure runs": tuple(name for name in VERBS if name.startswith("measure ")),
    "stress models": tuple(name for name in VERBS if name.startswith("stress ")),
    "look after runs": tuple(name for name in VERBS if name.startswith("study ")),
    "look up": ("tasks", "methods", "doctor", "completion"),
}
"""Verbs by what people want to do, in the order of the help; each verb stands under one topic."""

EXAMPLES: Mapping[str, str] = {
    "lowland demo": "compare methods on the embedded data set, in a few minutes",
    "lowland train --task classification --data my.csv --method lora --seed 1": "train on a table with text and label",
    'lowland predict runs/classification-lora-s1-… --text "arrived broken"': "answer with what was trained",
}
"""Commands that a newcomer can begin with, and what they do."""

GROUPS = {
    "measure": "Measure how flat runs are, what their adapters learned, and what they cost.",
    "stress": "Test models on damaged and on multilingual questions.",
    "study": "Look after folders of runs, and bring the shares of a study together.",
}
