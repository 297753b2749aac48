"""Write a script as a notebook beside it: `make notebook`, or python tools/notebook.py SCRIPT.py

A line `# %%` begins a cell of code, and `# %% [markdown]` a cell of text, whose lines begin with `#`. The script's
docstring becomes the first cell of text. The notebook has no outputs, and equal scripts give equal files.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

MARK = "# %%"


def notebook_of(script: str) -> Any:
    """Return the notebook of a script."""
    docstring, *parts = f"\n{script}".split(f"\n{MARK}")
    title = ast.get_docstring(ast.parse(docstring)) or ""
    cells = [new_markdown_cell(f"# {title}", id="cell-0")]
    for number, part in enumerate(parts, start=1):
        kind, _, body = part.partition("\n")
        if kind.strip() == "[markdown]":
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().split("\n"))
            cells.append(new_markdown_cell(text, id=f"cell-{number}"))
        else:
            cells.append(new_code_cell(body.strip(), id=f"cell-{number}"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def main() -> None:
    """Write the notebook of each script that the command line names."""
    for name in sys.argv[1:]:
        path = Path(name)
        nbformat.write(notebook_of(path.read_text("utf-8")), path.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
