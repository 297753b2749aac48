"""Command line: find the verb, read its options into models, run it, and print mistakes as sentences."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from lowland import __version__
from lowland.cli.interrupts import Terminated, interrupts
from lowland.cli.options import Command, help_of
from lowland.cli.verbs import EXAMPLES, GROUPS, TOPICS, VERBS
from lowland.cli.words import read_words, wants_help
from lowland.ground.mistakes import Mistake, one_of, reason_of, unknown_setting
from lowland.train.processes import is_first, process_rank, speaks_for_machine

ABOUT = "Fine-tune language models with low-rank adapters that settle in flat minima, and measure whether it helped."

TOP_OPTIONS = {
    "--help": "show this help; after a verb, show that verb's help (or -h)",
    "--version": "print the version",
    "--debug": "show the traceback of an error",
}


GO_ON = ("demo", "compare", "ablate", "sweep", "train", "study", "stress", "behave")
"""Verbs that go on where they were stopped."""
UNEXPECTED = 70
"""Exit code after an unexpected error: EX_SOFTWARE of BSD's sysexits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 if all is done; 1 if a run, a merge, a check or a verdict's gate failed; 2 after a mistake of
        the user or an error of the operating system, such as a full disk; 70 after an unexpected error, which is a
        fault of lowland; 130 if interrupted, 143 if ended, 141 if what reads the output stops reading.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with interrupts():
            code = _dispatch(words)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt as interrupt:
        if is_first():
            goes_on = "; finished runs are kept, and the same command goes on with the others"
            _complain(f"interrupted{goes_on if words[:1] and words[0] in GO_ON else ''}")
        return 143 if isinstance(interrupt, Terminated) else 130
    except BrokenPipeError:  # what reads the output, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            traceback.print_exc()
        problems = error.problems if isinstance(error, Mistake) else [_unforeseen(error)]
        for problem in problems if speaks_for_machine() or not isinstance(error, Mistake) else ():
            _complain(problem)
        return 2 if isinstance(error, Mistake | OSError) else UNEXPECTED


def _dispatch(words: list[str]) -> int:
    """Find the verb, read its options, and run it."""
    name, rest = _verb_in(words)
    if name is None:
        return _print_help(words)
    prog, verb = f"lowland {name}", VERBS[name]
    loaded = verb.load()
    if wants_help(rest):
        print(help_of(prog, f"{verb.summary[0].upper()}{verb.summary[1:]}.", loaded), end="")
        return 0
    return loaded.run(*_read(rest, loaded, prog))


def _read(words: Sequence[str], loaded: Command, prog: str) -> tuple[object, ...]:
    """Return the models that the words of a verb ask for.

    Raises:
        Mistake: with everything that is wrong with the words and with their values. What is missing is left out where
            a wrong word may stand for it.
    """
    values, problems = read_words(words, loaded, prog)
    required = tuple(f"{option.name} is missing" for option in loaded.options.values())
    try:
        models = loaded.read(values)
    except Mistake as mistake:
        wrong_words = bool(problems)
        problems += [
            f"--{problem}" if problem.startswith(required) else problem
            for problem in mistake.problems
            if not (wrong_words and _says_missing(problem))
        ]
    if problems:
        raise Mistake(*dict.fromkeys(problems))
    return models


def _says_missing(problem: str) -> bool:
    return " is missing" in problem or problem.startswith("give ")


def _verb_in(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Split the arguments into a verb (one or two words; None to show help) and the remaining arguments.

    Raises:
        Mistake: if there is no such verb.
    """
    for length in (2, 1):
        if (name := " ".join(words[:length])) in VERBS:
            return name, list(words[length:])
    if not words or words[0].startswith("-") or (_group(words[0]) and _wants_help(words[1:])):
        return None, []
    if _group(words[0]):
        raise Mistake(one_of(f"verb of {words[0]}", words[1], [name.split()[1] for name in _group(words[0])]))
    raise Mistake(one_of("verb", words[0], dict.fromkeys(name.split()[0] for name in VERBS)))


def _group(word: str) -> list[str]:
    """Return the verbs of two words that begin with this one."""
    return [name for name in VERBS if name.startswith(f"{word} ")]


def _wants_help(words: Sequence[str]) -> bool:
    return not words or words[0] in ("-h", "--help")


def _print_help(words: Sequence[str]) -> int:
    """Print the version or the list of verbs.

    Raises:
        Mistake: if the words begin with an option that does not exist, or that stands behind a verb.
    """
    options = [word for word in words if word.startswith("-")]
    if unknown := [word for word in options if word not in (*TOP_OPTIONS, "-h")]:
        problems = [unknown_setting("option", word.partition("=")[0], TOP_OPTIONS) for word in unknown]
        raise Mistake(*(f"{problem}; other options come after a verb" for problem in problems))
    if "--version" in options:
        print(f"lowland {__version__}")
        return 0
    group = words[0] if words and not words[0].startswith("-") else ""
    names = _group(group) if group else list(VERBS)
    width = max(map(len, names))
    print(f"usage: {' '.join(filter(None, ('lowland', group)))} VERB [options]\n")
    print(GROUPS[group] if group else ABOUT)
    if not group:
        print("\nexamples:")
        for example, purpose in EXAMPLES.items():
            print(f"  {example}\n      {purpose}")
    for topic, verbs in TOPICS.items():
        if shown := [name for name in verbs if name in names]:
            print(f"\n{topic}:")
        for name in shown:
            print(f"  {name.ljust(width)}  {VERBS[name].summary}")
    print("\noptions:")
    for option, text in TOP_OPTIONS.items():
        if not group or option != "--version":
            print(f"  {option.ljust(width)}  {text}")
    return 0


def _unforeseen(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"an unexpected error: {type(error).__name__}: {reason_of(error)}; --debug shows where"
    where = f" ({error.filename})" if error.filename else ""
    if isinstance(error, NotADirectoryError):
        return f"a file stands where a folder is expected{where}; name the folder of a run"
    return f"{error.strerror or error}{where}; no incomplete output was left, and finished runs are kept"


def _complain(sentence: str) -> None:
    process = "" if is_first() else f" (process {process_rank()})"
    print(f"lowland{process}: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
