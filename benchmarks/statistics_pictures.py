"""Draw the pictures of docs/statistics.md, from lowland's own functions, simulations and calibration.json.

    python benchmarks/statistics_pictures.py              # write docs/pictures/*.svg
    python benchmarks/statistics_pictures.py --check      # exit code 1 if a file there is not what would be drawn

Equal code gives equal files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lowland.report.drawing.svg import Drawing
from pictures.differences import groups, pairs, quantile, table
from pictures.verdicts import margin, p_value, power, repeated_studies, rules

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PICTURES: Mapping[str, Callable[[], Drawing]] = {
    "repeated-studies": repeated_studies,
    "pairs": pairs,
    "table": table,
    "quantile": quantile,
    "p-value": p_value,
    "groups": groups,
    "rules": rules,
    "power": power,
    "margin": margin,
}
"""Files without `.svg`, in the order of the page."""


def main() -> int:
    """Write the pictures, or compare them with the files."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files, and write nothing")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the pictures")
    arguments = parser.parse_args()
    differing = []
    for name, draw in PICTURES.items():
        path = arguments.folder / f"{name}.svg"
        text = draw().svg()
        if not arguments.check:
            path.write_text(text, encoding="utf-8", newline="\n")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            differing.append(path)
    for path in differing:
        print(
            f"{path} is not what would be drawn; run python benchmarks/statistics_pictures.py",
            file=sys.stderr,
        )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
