"""Tables as files: CSV, Parquet or JSON lines, by the ending of the file's name, written whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator

from lowland.ground.asked import OutputFile
from lowland.ground.mistakes import Mistake
from lowland.ground.store import write_whole


def _as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _as_parquet(table: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()


def _as_json_lines(table: pd.DataFrame) -> bytes:
    """Return a line for each row; a missing value, NaN or infinity is null."""
    plain = table.astype(object).where(table.notna(), None).replace([float("inf"), float("-inf")], None)
    rows = (json.dumps(row, ensure_ascii=False, default=_plain) for row in plain.to_dict(orient="records"))
    return "".join(row + "\n" for row in rows).encode()


def _plain(value: Any) -> Any:
    """Return a value of NumPy or pandas as one of Python."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


FORMS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {
    ".csv": _as_csv,
    ".parquet": _as_parquet,
    ".jsonl": _as_json_lines,
}
"""Functions that return the content of a file, by the ending of its name."""


def _of_known_form(path: Path) -> Path:
    if path.suffix.lower() not in FORMS:
        raise Mistake(f"{path} ends in none of {', '.join(FORMS)}; name a file of one of these forms")
    return path


TableFile = Annotated[OutputFile, AfterValidator(_of_known_form)]
"""A file to write a table to, in a folder that exists."""


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table in the form that the ending of the name says; if writing fails, an existing file is unchanged."""
    write_whole(path, FORMS[path.suffix.lower()](table))
