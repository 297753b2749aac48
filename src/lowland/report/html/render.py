"""Functions that render a page, and the file of its surfaces, as HTML; and what their templates need.

The template escapes every text. Beyond that, a file's policy (Content-Security-Policy) lets no script run but its
own, by its hash, and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lowland import __version__
from lowland.report.blocks import Block, Page, Quoted
from lowland.report.cells import Cell, Column, cell_text
from lowland.report.drawing.looks import look_of
from lowland.report.drawing.svg import Drawing
from lowland.report.html.smaller import smaller
from lowland.report.surface import Surface
from lowland.report.values import page_values

GENERATOR = '<meta name="generator" content="lowland '
"""Beginning of the line by which a file is known as a report of lowland."""
LONG = 44
"""Number of characters from which on the text of a cell may be on several lines."""


def render_html(page: Page, live: str | None = None) -> str:
    """Return the text of an HTML file with the whole page: style, script, plots and data.

    Args:
        page: the page.
        live: what the page says of keeping itself up to date, if it does: it then fetches itself again and again from
            the server that it came from; None for a page that asks for nothing.
    """
    environment = _environment()
    key, definitions = _keys()
    environment.globals |= {"anchor": _anchors(), "key_of": key, "keys": definitions}
    script = _packaged("page.js") if live is None else f"{_packaged('live.js')}\n{_packaged('page.js')}"
    parts = _parts(script, page_values(page))
    return smaller(environment.get_template("page.html").render(page=page, live=live, **parts))


def render_surface(title: str, surfaces: Sequence[Surface], page: str) -> str:
    """Return the text of an HTML file in which surfaces can be turned; without scripts, it shows them flat.

    Args:
        title: title of the page that links to it.
        surfaces: the surfaces; one or more.
        page: name of the page's file.
    """
    parts = _parts(_packaged("surface.js"), [surface.values() for surface in surfaces])
    own_style = Markup(_packaged("surface.css"))
    template = _environment().get_template("surface.html")
    return smaller(template.render(title=title, surfaces=surfaces, page=page, own_style=own_style, **parts))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lowland.report", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "inline": _inline,
        "kind": _kind,
        "cell": _cell,
        "entry": _entry,
        "svg": _svg,
        "width": _width,
    }
    return environment


def _parts(script: str, values: object) -> dict[str, str]:
    """Return what both files have: version, style, the script with its hash, and the data."""
    return {
        "version": __version__,
        "style": Markup(_packaged("page.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "data": Markup(json_in_html(values)),
    }


def json_in_html(values: object) -> str:
    """Write values as JSON that may stand in a script element: it holds no `<`, `>` or `&`."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _packaged(name: str) -> str:
    """Return the text of a file beside this one, without the spaces that it does not need."""
    text = files("lowland.report.html").joinpath(name).read_text(encoding="utf-8")
    short = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return re.sub(r" ?([{};,:]) ", r"\1", short) if name.endswith(".css") else short


def _kind(block: Block) -> str:
    return type(block).__name__


def _inline(text: str) -> Markup:
    """Return a sentence escaped, with elements for its `code` and *emphasis*."""
    safe = re.sub(r"(\d) %", "\\1\u00a0%", str(escape(text)))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", safe))


def _cell(cell: Cell, column: Column) -> Markup:
    """Write a cell; what is uncertain about its number is set apart."""
    text = cell_text(column, cell)
    number, space, rest = (
        text.partition(" ") if column.kind in ("spread", "error", "interval") else (text, "", "")
    )
    return Markup("{} <i>{}</i>").format(number, rest) if space else Markup(escape(text))


def _entry(entry: str | Quoted) -> Markup:
    """Write an entry of a table of texts."""
    return Markup(escape(entry.text)) if isinstance(entry, Quoted) else _inline(entry)


def _width(entry: Cell | Quoted, short: str = "") -> Markup:
    """Return the attribute of a cell whose text is too long for one line, or another class for any other."""
    text = entry.text if isinstance(entry, Quoted) else entry
    name = "w" if isinstance(text, str) and len(text) > LONG else short
    return Markup(' class="{}"').format(name) if name else Markup("")


def _svg(drawing: Drawing, name: str) -> Markup:
    return Markup(drawing.inline(name))


def _keys() -> tuple[Callable[[int], Markup], Callable[[], Markup]]:
    """Return a function that draws the line and marker of a method, for legends, and one that defines those drawn."""
    drawn: set[int] = set()

    def key(number: int) -> Markup:
        """Draw the line and marker of a method."""
        drawn.add(number)
        return Markup(f'<svg aria-hidden="true"><use href="#key-{number}"/></svg>')

    def definitions() -> Markup:
        """Return an element that holds each key once."""
        symbols = ""
        for number in sorted(drawn):
            look, symbol = look_of(number), Drawing(30, 14, "")
            symbol.line((1, 7), (29, 7), look.colour, 2, dashed=look.dashed)
            symbol.mark(look.shape, (15, 7), look.colour, 4.5)
            symbols += f'<symbol id="key-{number}" viewBox="0 0 30 14">{"".join(symbol.elements)}</symbol>'
        return Markup(f'<svg width="0" height="0" aria-hidden="true" class="keys">{symbols}</svg>')

    return key, definitions


def _anchors() -> Callable[[str], str]:
    """Return a function that makes an id of a title; each call gives another."""
    taken: set[str] = set()

    def anchor(title: str) -> str:
        """Return an id that no earlier call returned."""
        base = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        return name

    return anchor
