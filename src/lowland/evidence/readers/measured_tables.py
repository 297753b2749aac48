"""Tables of `lowland measure`: their columns, and checks that a table is whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lowland.ground.mistakes import Mistake, reason_of


@dataclass(frozen=True)
class Columns:
    """Columns of a kind of table.

    Attributes:
        texts: columns of texts.
        numbers: columns of finite numbers.
        gaps: columns of numbers that may have no value.
        optional_texts: columns of texts that older tables lack.
        optional_gaps: columns of numbers that older tables lack.
    """

    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    optional_texts: tuple[str, ...] = ()
    optional_gaps: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that must be there."""
        return (*self.texts, *self.numbers, *self.gaps)


COLUMNS: Mapping[str, Columns] = {
    "sharpness": Columns(
        ("task", "run", "method", "split", "space", "measure", "example", "group"),
        ("seed", "strength", "draw", "loss", "rise"),
    ),
    "spectrum": Columns(
        ("task", "run", "method", "split", "space", "matrix", "quantity"),
        ("seed", "examples", "probes", "index", "value"),
        ("at", "error"),
    ),
    "adapters": Columns(
        ("task", "run", "method", "layer"),
        (),
        (
            "seed", "rank", "norm_a", "norm_b", "norm_ba", "norm_update", "relative_update",
            "largest_singular_value", "effective_rank", "directions_90", "directions_99", "rank_utilisation",
            "intruders", "leading",
        ),
        ("part", "task_b", "method_b", "run_b"),
        (
            "k", "epsilon", "retention", "seed_b", "left", "right", "left_random", "right_random", "directions",
            "cka", "cosine",
        ),
    ),
    "slices": Columns(("slice", "split", "example", "group"), ("x", "y"), ("loss",)),
}  # fmt: skip
"""Columns of each kind of table, by the verb of `lowland measure` that writes it."""
WHOLE = ("seed", "draw", "index", "examples", "probes", "seed_b")
"""Columns of whole numbers."""
VALUES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sharpness": {"space": ("full", "adapter"), "measure": ("expected", "sam", "worst", "adaptive")},
    "spectrum": {
        "space": ("full", "adapter"),
        "matrix": ("", "hessian", "gauss-newton"),
        "quantity": ("loss", "eigenvalue", "smallest_eigenvalue", "trace", "density"),
    },
    "adapters": {"part": ("layer", "overlap", "drift")},
}
"""Texts that a column may hold."""


PARTS: Mapping[str, tuple[str, ...]] = {
    "overlap": ("task_b", "method_b", "run_b", "left", "right", "left_random", "right_random", "directions"),
    "drift": ("cka", "cosine"),
}
"""Columns that rows of a part of the table of adapters have."""


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")


def _read_json_lines(path: Path) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()])


FORMS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": _read_json_lines,
}
"""Functions that read a table, by the ending of the file's name: the forms that `--out` writes."""


def read_measured(path: Path) -> pd.DataFrame:
    """Read a table of any kind.

    Raises:
        Mistake: if its form is not known, or it cannot be read.
    """
    if (read := FORMS.get(path.suffix.lower())) is None:
        raise Mistake(
            f"{path} is no run and no measurement; give folders of runs, and files that lowland measure wrote"
            f" ({', '.join(FORMS)})"
        )
    if not path.exists():
        raise Mistake(f"{path} does not exist; name a file that lowland measure wrote with --out")
    try:
        return read(path)
    except Exception as error:
        raise Mistake(
            f"{path} cannot be read as a {path.suffix} table ({reason_of(error)}); measure again"
        ) from error


def checked(path: Path, kind: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of a kind with columns of the right types.

    Args:
        path: its file.
        kind: what was measured.
        table: the table, with all columns that the kind needs.

    Raises:
        Mistake: if it is empty, a value is of the wrong type, or rows are missing.
    """
    if table.empty:
        raise Mistake(f"{path} holds no rows; measure again")
    columns, typed = COLUMNS[kind], table.reset_index(drop=True)
    for name in (*columns.texts, *columns.optional_texts):
        if name in table:
            typed[name] = typed[name].astype(object).where(typed[name].notna(), "").map(_text)
    for name in (*columns.numbers, *columns.gaps, *columns.optional_gaps):
        if name in table:
            typed[name] = _numbers(path, name, typed[name], gaps=name not in columns.numbers)
    for name, allowed in VALUES.get(kind, {}).items():
        if name in table and (strange := set(typed[name]) - set(allowed)):
            raise Mistake(
                f"{path} is damaged: {name} is {min(strange)!r:.60}, and one of {', '.join(filter(None, allowed))} is"
                " expected; measure again"
            )
    if problem := CHECKS[kind](typed):
        raise Mistake(f"{path} is damaged: {problem}; measure again")
    return typed


def _text(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _numbers(path: Path, name: str, values: pd.Series, *, gaps: bool) -> pd.Series:
    """Return a column as numbers; a gap is NaN."""
    plain = values.astype(object).where(values.notna(), None).replace("", None)
    numbers = pd.to_numeric(plain, errors="coerce").astype(float)
    wrong = plain.notna() & ~numbers.map(math.isfinite) if gaps else ~numbers.map(math.isfinite)
    if gaps and name == "loss":  # a loss on a slice may be infinite
        wrong = plain.notna() & numbers.isna() & (plain.astype(str).str.lower() != "nan")
    if name in WHOLE:
        wrong |= numbers.notna() & (numbers % 1 != 0)
    if wrong.any():
        raise Mistake(
            f"{path} is damaged: {name} is {plain[wrong].iloc[0]!r:.60}, and a"
            f" {'whole' if name in WHOLE else 'finite'} number is expected; measure again"
        )
    return numbers.astype(int) if name in WHOLE and not gaps else numbers


def _sharpness_problem(table: pd.DataFrame) -> str:
    """Return what keeps rises from being paired: each method, strength and draw has the same examples."""
    if problem := _runs_problem(table):
        return problem
    if (table["strength"] <= 0).any():
        return f"strength is {table['strength'].min():g}, and must be above 0"
    rows = table.groupby(["split", "measure", "run", "space", "strength", "draw"])["example"]
    counts = rows.agg(lambda examples: "\n".join(sorted(examples)))
    if (counts.groupby(["split", "measure"]).nunique() > 1).any():
        return "runs have different examples"
    draws = table.groupby(["measure", "split", "run", "space", "strength"])["draw"].nunique()
    return "draws are missing" if (draws.groupby("measure").nunique() > 1).any() else ""


def _spectrum_problem(table: pd.DataFrame) -> str:
    if problem := _runs_problem(table):
        return problem
    if table[["split", "examples", "probes"]].drop_duplicates().shape[0] > 1:
        return "runs were measured on different samples"
    figures = table[table["quantity"] != "density"]
    if figures.duplicated(["run", "space", "matrix", "quantity", "index"]).any():
        return "figures are given twice"
    spaces = figures[["run", "space"]].drop_duplicates()
    if len(spaces) > (figures["quantity"] == "loss").sum():
        return "a run lacks its loss"
    for (space, matrix), rows in figures.groupby(["space", "matrix"]):
        wanted = ["loss"] if not matrix else ["eigenvalue", "smallest_eigenvalue", "trace"]
        runs = set(figures.loc[figures["space"] == space, "run"])
        for quantity in wanted:
            own = rows[(rows["quantity"] == quantity) & (rows["index"] == 1)]
            if set(own["run"]) != runs:
                return f"a run lacks {quantity.replace('_', ' ')} ({space}{f', {matrix}' if matrix else ''})"
        top = rows[rows["quantity"] == "eigenvalue"].groupby("run")["index"].agg(lambda index: sorted(index))
        if len({tuple(each) for each in top}) > 1:
            return f"a run lacks an eigenvalue ({space}, {matrix})"
    return "" if set(figures["matrix"]) - {""} else "it holds no eigenvalues"


def _adapters_problem(table: pd.DataFrame) -> str:
    layers = table if "part" not in table else table[table["part"] == "layer"]
    if layers.empty:
        return "it holds no layers"
    if layers.duplicated(["run", "layer"]).any():
        return "a layer of a run is given twice"
    if layers[["norm_update", "effective_rank"]].isna().any(axis=None):
        return "a layer has no norm"
    for part, names in PARTS.items() if "part" in table else ():
        rows = table[table["part"] == part]
        if len(rows) and any(name not in table or rows[name].isna().any() for name in names):
            return f"a row of {part} has no {' or '.join(names)}"
    with_seed = table[table["seed"].notna()]
    return "" if with_seed.empty else _runs_problem(with_seed)


def _runs_problem(table: pd.DataFrame) -> str:
    """Return what is wrong with the names of runs, methods and seeds."""
    for name in ("run", "method"):
        if (table[name] == "").any():
            return f"a row has no {name}"
    named = table[["run", "method", "seed"]].drop_duplicates()
    if len(named) > named["run"].nunique():
        return "a run has several methods or seeds"
    again = named[named.duplicated(["method", "seed"])]
    return "" if again.empty else f"{again['method'].iloc[0]}, seed {again['seed'].iloc[0]:.0f} has two runs"


def _slices_problem(table: pd.DataFrame) -> str:
    rows = table.groupby(["slice", "split", "x", "y"])["example"].agg(lambda each: "\n".join(sorted(each)))
    return "points are missing" if (rows.groupby(["slice", "split"]).nunique() > 1).any() else ""


CHECKS: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "sharpness": _sharpness_problem,
    "spectrum": _spectrum_problem,
    "adapters": _adapters_problem,
    "slices": _slices_problem,
}
"""Functions that return what is wrong with a table, "" if nothing is; by kind."""
