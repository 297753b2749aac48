"""`lowland report --watch`: a page in the browser that keeps up with a running study."""

from __future__ import annotations

import time
import webbrowser
from pathlib import Path

from lowland.cli.page_content import page_of
from lowland.evidence.running import StudyState, read_state
from lowland.ground.mistakes import Mistake
from lowland.ground.visible import visible
from lowland.report.blocks import Page, Paragraph
from lowland.report.html import render_html
from lowland.report.html.server import PageServer
from lowland.report.running import running_page

LOOK_SECONDS = 2.0
"""Seconds between two looks at the folder."""
DRAW_SECONDS = 10.0
"""Seconds after which the page is drawn again although nothing happened: time goes by."""


def watch(folder: Path, *, port: int = 0, reference: str | None = None, open_it: bool = False) -> int:
    """Show a page that follows a folder of runs, until the process is interrupted.

    Args:
        folder: the folder; it need not exist yet. Nothing is written into it.
        port: port of the server; 0 takes a free one.
        reference: method that the others are compared with in the report at the end.
        open_it: open the page in the browser.

    Raises:
        Mistake: if the folder is a file or a run, or the port cannot be had.
    """
    check_followed(folder)
    follower = Follower(folder, reference)
    server = PageServer(port)
    server.show(follower.look())
    with server:
        print(f"{server.url} follows {visible(str(folder))}; Ctrl-C ends it", flush=True)
        if open_it and not webbrowser.open(server.url):
            print(f"No browser was found; open {server.url}", flush=True)
        while True:
            time.sleep(LOOK_SECONDS)
            server.show(follower.look())


def check_followed(folder: Path) -> None:
    """Raise `Mistake` if a folder cannot be followed: it is a file, or a run."""
    if folder.is_file():
        raise Mistake(f"{folder} is a file; name the folder of runs to follow")
    if (folder / "record.json").exists():
        raise Mistake(
            f"{folder} is a run; name the folder that holds it, {folder.parent}, to follow the study"
        )


class Follower:
    """Follows a folder of runs, and draws its page when something has changed.

    Args:
        folder: the folder.
        reference: method that the others are compared with in the report at the end.
    """

    def __init__(self, folder: Path, reference: str | None = None) -> None:
        self.folder, self.reference = folder, reference
        self.text, self._drawn = "", 0.0
        self._signature: tuple[object, ...] = ()

    def look(self) -> str:
        """Read the folder, and return the text of the page."""
        try:
            state = read_state(self.folder)
        except (OSError, Mistake):
            if not self.text:
                raise
            return self.text  # it was read a moment ago, so this may pass
        signature = state.signature
        is_old = time.monotonic() - self._drawn > DRAW_SECONDS
        if signature != self._signature or (is_old and state.is_running):
            self.text = render_html(*self._page(state))
            self._signature, self._drawn = signature, time.monotonic()
        return self.text

    def _page(self, state: StudyState) -> tuple[Page, str]:
        """Return the page of a state, and what it says of keeping up."""
        where = visible(str(self.folder))
        if state.is_running or state.is_cut_short or not state.records:
            return running_page(state), f"This page follows {where}, and keeps itself up to date."
        try:
            page = page_of([*state.runs, *state.stress], self.folder, self.reference)
        except (OSError, Mistake) as mistake:
            ended = f"No process works here, but the runs cannot be reported: {mistake}"
            page = running_page(state)
            return Page(
                page.title, page.subtitle, page.headline, (Paragraph(ended), *page.lead), page.sections
            ), ended
        return page, f"The study has ended: no process works in {where}. This is its report."
