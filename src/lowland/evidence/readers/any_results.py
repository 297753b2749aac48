"""Results from files and folders of any kind that lowland knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowland.evidence.readers.inspect_results import is_inspect, read_inspect
from lowland.evidence.readers.lm_eval_results import is_lm_eval, read_lm_eval
from lowland.evidence.readers.run_results import are_runs, read_runs
from lowland.evidence.readers.table_results import Columns, is_table, read_table
from lowland.evidence.results import Results, with_different_names
from lowland.ground.mistakes import Mistake


@dataclass(frozen=True)
class Reader:
    """Reader of one kind of results.

    Attributes:
        kind: what it reads, in words.
        fits: whether a file or a folder is of this kind.
        read: reads it; takes the path, the name of the score (None if there is only one) and names of columns.
    """

    kind: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, str | None, Columns], list[Results]]


READERS: Mapping[str, Reader] = {
    "lowland": Reader("runs of lowland (a run, or a folder of runs)", are_runs, read_runs),
    "inspect": Reader("logs of Inspect (.eval, or a folder of them)", is_inspect, read_inspect),
    "lm-eval": Reader(
        "samples of lm-evaluation-harness (samples_*.jsonl, or their folder)", is_lm_eval, read_lm_eval
    ),
    "table": Reader("tables (.csv, .tsv, .jsonl, .json or .parquet)", is_table, read_table),
}


def read_results(
    paths: Sequence[Path], metric: str | None = None, columns: Columns | None = None
) -> list[Results]:
    """Read the results in files and folders, in their order, under different names.

    Args:
        paths: files and folders.
        metric: name of the score; None if each has only one.
        columns: names of the columns of tables.

    Raises:
        Mistake: if a path is of no known kind, or cannot be read.
    """
    results = []
    for path in paths:
        if not path.exists():
            raise Mistake(f"{path} does not exist; name a file or a folder of results")
        reader = next((reader for reader in READERS.values() if reader.fits(path)), None)
        if reader is None:
            kinds = "; ".join(reader.kind for reader in READERS.values())
            raise Mistake(f"{path} holds no results that lowland can read; it reads {kinds}")
        results += reader.read(path, metric, columns or Columns())
    return with_different_names(results)
