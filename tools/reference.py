"""Write docs/reference/command-line.md from the command line itself: every verb and option.

python tools/reference.py            # write it
python tools/reference.py --check    # compare it, and exit with 1 if it differs
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lowland.cli.options import help_of
from lowland.cli.verbs import TOPICS, VERBS
from lowland.stress.asking import settings

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "command-line.md"
ABOUT = """# Command line

Every verb with its options, as `lowland VERB --help` prints them. This page is written by `python tools/reference.py`.
"""


def page() -> str:
    """Return the page."""
    os.environ["COLUMNS"] = "100"  # argparse fills lines to this width
    settings.is_gemma_installed = lambda: True  # a default that depends on the machine
    parts = [ABOUT]
    for topic, names in TOPICS.items():
        parts.append(f"## {topic[0].upper()}{topic[1:]}\n")
        for name in names:
            verb = VERBS[name]
            summary = f"{verb.summary[0].upper()}{verb.summary[1:]}."
            parts.append(
                f"### {name}\n\n```text\n{help_of(f'lowland {name}', summary, verb.load()).rstrip()}\n```\n"
            )
    return "\n".join(parts)


def main() -> int:
    """Write or check the page; return the exit code."""
    text = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE} is not what the command line says; run python tools/reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
