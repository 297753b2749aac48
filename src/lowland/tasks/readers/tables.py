"""Reader of a user's own table: the requested columns, with all problems of their cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from lowland.ground.mistakes import Mistake, one_of, plural
from lowland.tasks.readers.cells import MISSING, problem_with_label, problem_with_text
from lowland.tasks.readers.forms import read_form
from lowland.tasks.readers.other_tasks import task_that_fits
from lowland.tasks.readers.raw_table import RawTable

LABELS = ("label", "split")
"""Columns of names, which may be numbers and truth values, too; all other columns must contain text."""


class CellMistake(Mistake):
    """Mistake in some cells of a table.

    Attributes:
        rest: the requested columns, without the rows with mistakes, to look for further ones.
    """

    def __init__(self, *problems: str, rest: pd.DataFrame) -> None:
        super().__init__(*problems)
        self.rest = rest


def read_table(
    path: Path, roles: Mapping[str, str | None], *, separator: str | None = None, header: bool = True
) -> pd.DataFrame:
    """Read some columns of a user's table; see `read_form` for its forms.

    Args:
        path: the file, in UTF-8 if it is text.
        roles: name in the file of each column of the result; None leaves it out.
        separator: character between the cells of a .csv file; None recognises it.
        header: whether the first line names the columns.

    Raises:
        Mistake: if the file cannot be read, a column is missing, or two are the same.
        CellMistake: if cells hold neither text nor labels; a sentence for each kind of problem.
    """
    return pick_columns(read_form(path, separator=separator, header=header), roles, header=header)


def pick_columns(
    table: RawTable,
    roles: Mapping[str, str | None],
    *,
    header: bool = True,
    unchecked: Collection[str] = (),
    options: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return some columns of a user's table; see `read_table`.

    Args:
        table: the file's cells.
        roles: as for `read_table`.
        header: as for `read_table`.
        unchecked: columns of the result whose cells the caller checks.
        options: option that names a column in the file, where it is not called after the column, as --label-column is.

    Raises:
        Mistake: if a column is missing, or two are the same.
        CellMistake: as `read_table`.
    """
    named = {role: name for role, name in roles.items() if name is not None}
    if problems := _column_problems(table, named, header, options):
        raise Mistake(*problems)
    columns = pd.DataFrame({role: table.rows[name] for role, name in named.items()})
    checked = {role: name for role, name in named.items() if role not in unchecked}
    problems, wrong_rows = _cell_problems(table, checked)
    if problems:
        raise CellMistake(*problems, rest=columns.drop(index=sorted(wrong_rows)).reset_index(drop=True))
    return columns


def read_columns(
    path: Path, roles: Mapping[str, str], *, separator: str | None = None, header: bool = True
) -> dict[str, list[str]]:
    """Read columns of texts from a user's table, in order.

    Args:
        path: the file.
        roles: name in the file of each column of the result.
        separator: as for `read_table`.
        header: as for `read_table`.

    Raises:
        Mistake: as `read_table`, and if the file holds no rows.
    """
    table = read_table(path, roles, separator=separator, header=header)
    if table.empty:
        raise Mistake(f"{path} holds no rows")
    return {role: list(table[role]) for role in roles}


def _column_problems(
    table: RawTable, named: Mapping[str, str], header: bool, options: Mapping[str, str]
) -> list[str]:
    """Return sentences on columns that are missing or asked for twice."""
    columns = [str(name) for name in table.rows.columns]
    problems = []
    role_of: dict[str, str] = {}
    for role, name in named.items():
        if (other := role_of.setdefault(name, role)) != role and "split" not in (role, other):
            problems.append(f"{other}_column and {role}_column are both {name!r}; they must differ")
    missing = [role for role, name in named.items() if name not in columns]
    none_fits = all(role in missing for role in named if role not in LABELS)
    if missing and none_fits and not options and (hint := task_that_fits(columns, named)):
        return [*problems, f"{table.path} has no column {named[missing[0]]!r}; {hint}"]
    for role in missing:
        sentence = one_of(f"{role} column", named[role], columns)
        option = options.get(role, f"--{role}-column")
        problems.append(
            f"{table.path}: {sentence}{'' if sentence.endswith('?') else ';'} name it with {option}"
        )
    if missing and header and table.separator:
        problems[-1] += "; if the file has no header, add --no-header and name columns by number, as 1"
    label = named.get("label")
    if header and not missing and label is not None and _is_own_value(table, label):
        first = ", ".join(columns)
        problems.append(
            f"{table.path} seems to have no header: its first line ({first[:60]}) holds the label '{label}'; add"
            " --no-header and name columns by number, as --label-column 2"
        )
    return problems


def _is_own_value(table: RawTable, name: str) -> bool:
    """Whether a column's name occurs among its cells, in a row that does not repeat the whole header."""
    header = tuple(str(column) for column in table.rows.columns)
    same = [number for number, cell in enumerate(table.rows[name]) if isinstance(cell, str) and cell == name]
    return any(tuple(map(str, table.rows.iloc[number])) != header for number in same)


def _cell_problems(table: RawTable, named: Mapping[str, str]) -> tuple[list[str], set[int]]:
    """Return a sentence for each column and kind of problem, and the rows that have one."""
    problems: list[str] = []
    wrong_rows: set[int] = set()
    for role, name in named.items():
        check = problem_with_label if role in LABELS else problem_with_text
        kinds: dict[str, list[int]] = {}
        for number, cell in enumerate(table.rows[name]):
            if (problem := check(cell)) is not None:
                kinds.setdefault(problem, []).append(number)
        for problem, rows in kinds.items():
            wrong_rows.update(rows)
            count = plural(len(rows), "row")
            if problem == MISSING:
                problems.append(
                    f"{table.path} has {count} without a {role}, the first is {table.place(rows[0])};"
                    " fill them in or remove them"
                )
            else:
                problems.append(
                    f"{table.path}, {table.place(rows[0])}: the {role} {problem} ({count} of the kind)"
                )
    return problems, wrong_rows
