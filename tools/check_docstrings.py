"""Check the first line of every docstring in `src`: does it say what the thing does, or what it is?

A function's first line begins with a verb, a test's or a property's with anything; no line begins with a word that
leaves the subject out ("What", "Of", "The same"). `make check` runs it; the exit code is 1 if a line has to be mended.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = re.compile(
    r"^(What|Of|The same|How|Those|These|That|Which|Where|Who|When|As|So|Such|In|By|Beside|Behind)\b"
)
"""Beginnings of a line that can only be understood with something else."""

VERBS = frozenset(
    """
    Adapt Add Align Analyse Answer Append Apply Arm Ask Assert Attach Begin Bring Build Call Carry Cast Check Choose
    Clean Clear Close Collect Combine Compare Compute Confirm Connect Convert Copy Correct Count Create Cut Damage
    Decide Decode Dequantise Describe Detach Disarm Discard Download Draw Drop Encode End Enter Estimate
    Evaluate Exclude Exit Explain Fail Fetch Fill Find Finish Fit Flush Fold Forget Format Freeze Fuse Gather Generate
    Get Give Go Group Guard Handle Have Hold Hook Ignore Import Include Initialise Insert Iterate Join Keep Leave Let
    Limit List Load Lock Log Look Make Mark Match Measure Merge Move Multiply Name Normalise Note Number Open Pad
    Pair Parse Pass Perturb Pick Place Predict Prepare Prevent Print Put Query Raise Read Rebuild Record Reduce Refuse
    Register Release Remove Render Replace Report Resample Reserve Reset Resolve Restore Return Rewrite Round
    Run Sample Save Say Scale Score Search See Select Send Set Settle Show Silence Skip Sort Split Start State
    Step Stop Store Strip Sum Summarize Suppress Swap Take Tell Test Thaw Time Tokenize Train Translate Try Turn
    Undo Unmerge Update Use Wait Warn Whether Wrap Write Yield
    """.split()  # noqa: SIM905 - a list of words
)
"""First words of a function's docstring."""


def main() -> int:
    """Print every line that has to be mended."""
    problems = [problem for path in sorted(Path("src").rglob("*.py")) for problem in problems_of(path)]
    print("\n".join(problems) or "docstrings: every first line says what it is or does")
    return 1 if problems else 0


def problems_of(path: Path) -> Iterator[str]:
    """Yield a line for each docstring of a file that has to be mended."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if not text:
            continue
        line = text.splitlines()[0]
        place = f"{path}:{getattr(node, 'lineno', 1)}"
        if FORBIDDEN.match(line):
            yield f"{place}: begins with '{FORBIDDEN.match(line)[0]}': {line}"  # type: ignore[index]
        elif is_plain_function(node) and line.split()[0].rstrip(",.:") not in VERBS:
            yield f"{place}: a function's first line begins with a verb: {line}"


def is_plain_function(node: ast.AST) -> bool:
    """Return whether a node is a function that is neither a property nor named with underscores at both ends."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
    return not decorators & {"property", "cached_property", "setter"} and not node.name.startswith("__")


if __name__ == "__main__":
    sys.exit(main())
