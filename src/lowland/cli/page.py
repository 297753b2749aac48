"""`lowland report`: a study, with its stress tests and measurements, as one file to read and to share."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lowland.cli.options import command
from lowland.ground.asked import Asked, LocalPath, NotEmpty, Several, Text, Truth, Whole
from lowland.ground.mistakes import Mistake
from lowland.ground.remote import is_url, shown
from lowland.ground.remote_store import EachFromURL

if TYPE_CHECKING:
    from lowland.report.blocks import Page

Form = Literal["html", "md", "json", "csv"]
ENDINGS: dict[str, Form] = {".html": "html", ".htm": "html", ".md": "md", ".json": "json", "": "csv"}
"""Forms by the ending of the name of `--out`; a folder of CSV files has none."""
LIST_OF_TABLES = "tables.txt"
"""File that lists the CSV files of a page, so that the next page takes their place, and no other files."""
DEFAULT = {"html": Path("report.html"), "csv": Path("report-csv")}
"""Where the other forms are written if no file is named."""


class PageRequest(Asked):
    """Runs, stress tests and measurements to report on."""

    runs: Annotated[Several[Path], NotEmpty, EachFromURL]
    """folders or URLs of runs and stress tests, or folders that hold them (several studies stand beside each other),
    and what lowland measure wrote with --out: files of sharpness, spectrum and adapters, folders of slices"""
    out: LocalPath | None = None
    """file to write; its ending says the form (.html, .md, .json), and a name without one is a folder for CSV files;
    default: report.html; md and json are printed"""
    form: Form | None = Field(None, json_schema_extra={"option": "format"})
    """html, one file that needs nothing else; md, Markdown; json, everything for programs; csv, a folder with a file
    for each table (default: by the ending of --out, else html)"""
    reference: Text | None = None
    """method that the others are compared with; default: lora if it took part, in an ablation the method as it is, else
    the first"""
    open_it: Truth = Field(False, json_schema_extra={"option": "open"})
    """open the page in the browser"""
    replace_file: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace what --out names, if it exists; an earlier report of lowland in HTML is always replaced"""
    watch: Truth = False
    """serve a page on this machine that keeps up with a running study, until Ctrl-C; name the folder of its runs, which
    need not exist yet"""
    port: Annotated[Whole, Field(ge=0, le=65535)] | None = None
    """port of --watch; default: a free one"""

    @property
    def written_form(self) -> Form:
        """Return the form that is asked for, or that the name of the file says."""
        return self.form or (ENDINGS[self.out.suffix.lower()] if self.out is not None else "html")

    @property
    def place(self) -> Path | None:
        """Return where the report is written; None to print it."""
        return self.out or DEFAULT.get(self.written_form)

    @model_validator(mode="before")
    @classmethod
    def _check_watched(cls, values: Any) -> Any:
        """Refuse what --watch cannot follow, before anything is fetched from a URL."""
        if isinstance(values, dict) and values.get("watch"):
            runs = values.get("runs", ())
            runs = runs if isinstance(runs, list | tuple) else [runs]
            if url := next(filter(is_url, runs), None):
                raise Mistake(
                    f"watch is given, and {shown(url)} is a URL; only a folder of this machine is followed"
                )
            if len(runs) > 1:
                raise Mistake(
                    f"watch follows one folder, and {len(runs)} are given; name the one that holds the runs"
                )
        return values

    @model_validator(mode="after")
    def _check_watch(self) -> Self:
        if not self.watch:
            if self.port is not None:
                raise Mistake("port is given without watch; add --watch, or leave --port out")
            return self
        of_files = {"out": self.out, "format": self.form, "replace": self.replace_file}
        if names := [f"--{name}" for name, value in of_files.items() if value]:
            raise Mistake(f"watch serves a page and writes no file; leave {' and '.join(names)} out")
        return self

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.watch:
            return self
        if self.out is not None and self.out.name == "-":
            raise Mistake("out is -; to print a report, leave out away and give --format md or --format json")
        if self.form is None and self.out is not None and self.out.suffix.lower() not in ENDINGS:
            raise Mistake(
                f"out is {self.out}, whose ending names no form; use .html, .md or .json, name a folder for CSV files,"
                " or add --format"
            )
        suffix = "" if self.out is None else self.out.suffix.lower()
        if self.form is not None and suffix and (said := ENDINGS.get(suffix, self.form)) != self.form:
            raise Mistake(f"format is {self.form}, and {self.out} is named like {said}; drop one of the two")
        if self.open_it and self.written_form != "html":
            raise Mistake(f"open is given, and the form is {self.written_form}; only html opens in a browser")
        if (place := self.place) is not None:
            _check_free(place, self.written_form, self.replace_file)
        return self


def _check_free(place: Path, form: Form, replace: bool) -> None:
    """Check that the report can be written, before any work is done for it; raise `Mistake` otherwise."""
    if not place.absolute().parent.is_dir():
        raise Mistake(f"{place} cannot be written: the folder {place.parent} does not exist; make it first")
    if form == "csv":
        if place.is_file():
            raise Mistake(f"{place} is a file; name a folder for the CSV files")
        is_taken = place.is_dir() and any(place.iterdir())
    elif place.is_dir():
        raise Mistake(f"{place} is a folder; name a file to write, such as {place / f'report.{form}'}")
    else:
        is_taken = place.exists() and not _is_report(place)
    if is_taken and not replace:
        raise Mistake(f"{place} exists; name another place with --out, or add --replace to replace it")


def _is_report(path: Path) -> bool:
    """Return whether a file is a page that lowland wrote."""
    from lowland.report.html import GENERATOR

    with path.open(encoding="utf-8", errors="replace") as file:
        return GENERATOR in file.read(2000)


def report(request: PageRequest) -> int:
    """Build the page of a study, and write it; or serve one that keeps up with a study."""
    if request.watch:
        from lowland.cli.watch import watch

        return watch(
            request.runs[0], port=request.port or 0, reference=request.reference, open_it=request.open_it
        )
    from lowland.cli.page_content import build_page, split_measured
    from lowland.report.html import render_surface
    from lowland.report.surface import surfaces_of

    form, place = request.written_form, request.place
    folders, measured = split_measured(request.runs)
    surfaces = surfaces_of(measured.slices) if form == "html" else []
    beside = place.with_name(f"{place.stem}-surface.html") if surfaces and place is not None else None
    if beside is not None:
        _check_free(beside, form, request.replace_file)
    page = build_page(folders, measured, request.reference, beside.name if beside is not None else None)
    if form == "csv":
        assert place is not None
        return _write_tables(page, place)
    text = _text(page, form)
    if place is None:
        print(text, end="")
        return 0
    from lowland.ground.store import write_whole

    if beside is not None:
        write_whole(beside, render_surface(page.title, surfaces, place.name))
    write_whole(place, text)
    print(f"{place} ({len(text.encode()) / 1000:,.0f} kB): {page.headline}")
    if beside is not None:
        print(f"{beside}: the planes of the loss, to be turned")
    if request.open_it:
        uri = place.resolve().as_uri()
        if not webbrowser.open(uri):
            print(f"No browser was found; open {uri}")
    return 0


def _text(page: Page, form: Form) -> str:
    """Return the text of a page in one file."""
    from lowland.report.html import render_html
    from lowland.report.markdown import render_page
    from lowland.report.values import page_values

    if form == "json":
        return json.dumps(page_values(page), ensure_ascii=False, indent=1) + "\n"
    return render_html(page) if form == "html" else render_page(page)


def _write_tables(page: Page, folder: Path) -> int:
    """Write each table of a page as a CSV file, in place of those of an earlier page."""
    import pandas as pd

    from lowland.ground.store import write_whole
    from lowland.ground.table_files import write_table
    from lowland.report.values import page_tables

    folder.mkdir(exist_ok=True)
    listed = folder / LIST_OF_TABLES
    earlier = listed.read_text("utf-8").splitlines() if listed.is_file() else []
    for name in earlier:
        (folder / Path(name).name).unlink(missing_ok=True)
    names = []
    for name, _, columns, rows in page_tables(page):
        table = pd.DataFrame([list(map(_in_csv, row)) for row in rows], columns=list(map(_in_csv, columns)))
        write_table(folder / f"{name}.csv", table)
        names.append(name)
    write_whole(listed, "".join(f"{name}.csv\n" for name in names))
    print(f"{folder}: {len(names)} files, {', '.join(names)}")
    return 0


def _in_csv(value: str | float | int | None) -> str | float | int | None:
    """Return a value whose text no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t" and value[:1] else value


REPORT = command(report, PageRequest, positional="runs")
