"""A page in a real browser: quiet, fast, whole, and usable by all.

It needs playwright, axe-playwright-python and a Chromium: the file that LOWLAND_CHROMIUM names, or `chromium`,
`chromium-browser` or `google-chrome` on the path (on Debian: apt-get install chromium). Run it by `pytest -m browser`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lowland.cli.watch import Follower
from lowland.evidence.readers.measurements import read_measurements
from lowland.report.blocks import Page
from lowland.report.html import render_html, render_surface
from lowland.report.html.server import PageServer
from lowland.report.page import measured_page, study_page
from lowland.report.surface import surfaces_of
from tests.report.html.test_render import NASTY
from tests.report.measured_files import leave_measurements, runs_of
from tests.report.running_studies import at_work, planned
from tests.report.whole_studies import evidence_of, leave_study

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("LOWLAND_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium was found; name one in LOWLAND_CHROMIUM")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def path(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study of five methods and five seeds."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(page), encoding="utf-8")
    return path


class Visit:
    """An open page, with what it asked for and complained of."""

    def __init__(self, browser: Any, path: Path | str, **options: Any) -> None:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.tab = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri() if isinstance(path, Path) else path)

    @property
    def listed(self) -> list[str]:
        """Texts of the examples in the list of errors."""
        return list(self.tab.locator(".list > li").all_inner_texts())

    @property
    def count(self) -> int:
        """How many examples fit."""
        return int(self.tab.locator(".count").inner_text().split()[0].replace("No", "0"))


@pytest.fixture
def visit(browser: Any, path: Path) -> Iterator[Visit]:
    visit = Visit(browser, path)
    yield visit
    assert visit.complaints == []
    visit.tab.context.close()


def test_it_is_quiet_asks_for_nothing_and_opens_in_a_second(visit: Visit, path: Path) -> None:
    times = [
        visit.tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        for _ in range(3)
        if visit.tab.reload()
    ]
    assert 0 < min(times) < 1000
    assert {url for url in visit.requests if not url.startswith("data:")} == {path.as_uri()}


def test_every_plot_is_drawn(visit: Visit) -> None:
    sizes = visit.tab.evaluate(
        """[...document.querySelectorAll('svg[role=img]')].filter(e => e.getClientRects().length)
           .map(e => [e.getBoundingClientRect().width, e.querySelectorAll('line, path, circle').length,
                      e.getAttribute('aria-label')])"""
    )
    assert len(sizes) >= 10
    assert all(width > 200 and marks > 5 and label for width, marks, label in sizes)


def test_the_first_screen_has_title_verdict_and_forest_plot(visit: Visit) -> None:
    for selector in ("h1", ".verdict", "#fig-forest-test"):
        box = visit.tab.locator(selector).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900, selector


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: Any, path: Path, width: int) -> None:
    visit = Visit(browser, path, viewport={"width": width, "height": 844})
    assert visit.tab.evaluate("document.documentElement.scrollWidth") <= width
    plots = visit.tab.evaluate(
        """[...document.querySelectorAll('.lead svg[role=img]')].filter(e => e.getClientRects().length).length"""
    )
    assert plots == 1
    font = visit.tab.evaluate(
        """Math.min(...[...document.querySelectorAll('svg[role=img] text')].filter(e => e.getClientRects().length)
           .map(e => parseFloat(getComputedStyle(e).fontSize) * e.ownerSVGElement.getBoundingClientRect().width
                     / e.ownerSVGElement.viewBox.baseVal.width))"""
    )
    assert font > 9.5
    visit.tab.context.close()


def test_filters_find_what_they_say(visit: Visit, page: Page) -> None:
    (listed,) = [
        block for section in page.sections for block in section.blocks if type(block).__name__ == "ErrorList"
    ]
    rows = listed.data.rows
    places = {each.method: each for each in listed.methods}
    tab = visit.tab
    assert visit.count == len(rows)

    def expect(condition: Any) -> None:
        expected = [row for row in rows if condition(row)]
        assert visit.count == len(expected)
        assert len(visit.listed) == min(20, len(expected))
        for shown, row in zip(visit.listed, expected, strict=False):
            assert f"example {row[0]}" in shown

    tab.select_option("[name=method]", "full")
    expect(lambda row: row[places["full"].wrong] > 0)
    tab.select_option("[name=change]", "fixed")
    expect(lambda row: row[places["full"].fixed] > 0)
    tab.select_option("[name=change]", "broken in every seed")
    expect(lambda row: row[places["full"].broken] == 5)
    tab.select_option("[name=change]", "")
    tab.select_option("[name=method]", "")
    tab.select_option("[name=category]", "jargon")
    expect(lambda row: row[3] == "jargon")
    tab.select_option("[name=label]", "neutral")
    expect(lambda row: row[3] == "jargon" and row[2] == "neutral")
    tab.select_option("[name=category]", "")
    tab.select_option("[name=label]", "")
    tab.fill("[name=words]", "PROFIT fell")
    expect(lambda row: "profit" in row[1].lower() + str(row) and "fell" in row[1])
    tab.fill("[name=words]", "")
    tab.locator("[name=confidence]").evaluate(
        "e => { e.value = 0.9; e.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    expect(
        lambda row: any(
            row[each.confidence] is not None and row[each.confidence] >= 0.9 for each in listed.methods
        )
    )
    tab.fill("[name=words]", "no such words")
    assert tab.locator(".count").inner_text() == "No example fits; ask for less"
    assert visit.listed == []


def test_more_examples_are_shown_and_the_focus_goes_on(visit: Visit) -> None:
    visit.tab.locator(".more").click()
    assert len(visit.listed) == 70
    assert (
        visit.tab.evaluate("[...document.querySelectorAll('.list > li')].indexOf(document.activeElement)")
        == 20
    )


def test_a_legend_hides_and_shows_a_method(visit: Visit) -> None:
    button = visit.tab.locator("#fig-learning .legend button").nth(1)
    lines = visit.tab.locator("#fig-learning .s1")
    assert lines.count() == 3
    assert lines.first.is_visible()
    button.focus()
    visit.tab.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert not lines.first.is_visible()
    button.click()
    assert lines.first.is_visible()


def test_a_mark_tells_its_numbers(visit: Visit) -> None:
    mark = visit.tab.locator("#fig-forest-test .wide .m").first
    box = mark.bounding_box()
    assert box is not None
    visit.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert " to " in visit.tab.locator(".tip").inner_text()
    visit.tab.mouse.move(5, 5)
    assert not visit.tab.locator(".tip").is_visible()


def test_tables_sort_by_number_and_by_name(visit: Visit) -> None:
    table = visit.tab.locator("[aria-labelledby=table-scores-test] table")
    head = table.locator("th button", has_text="accuracy")

    def column() -> list[str]:
        return list(table.locator("tbody tr td:nth-child(3)").all_inner_texts())

    head.click()
    values = [float(text.split()[0]) for text in column()]
    assert values == sorted(values)
    head.click()
    assert [float(text.split()[0]) for text in column()] == sorted(values, reverse=True)
    table.locator("th button", has_text="method").click()
    names = list(table.locator("tbody th").all_inner_texts())
    assert names == sorted(names)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(browser: Any, path: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    visit = Visit(
        browser, path, color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True
    )  # fmt: skip
    violations = axe.Axe().run(visit.tab).response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["html"][:150]) for each in violations] == []
    visit.tab.context.close()


def test_a_keyboard_reaches_the_verdict_first(visit: Visit) -> None:
    visit.tab.keyboard.press("Tab")
    assert visit.tab.evaluate("document.activeElement.className") == "skip"
    visit.tab.keyboard.press("Enter")
    assert visit.tab.evaluate("document.activeElement.id") == "content"


def test_texts_of_others_run_nothing(browser: Any, tmp_path: Path) -> None:
    folder = leave_study(
        tmp_path / "runs",
        methods=("lora", "<img src=x onerror=alert(3)>"),
        seeds=2,
        examples=40,
        labels=("<b>bold</b>", "</script><script>alert(4)</script>"),
        text=lambda number: f"{NASTY} {number}",
    )
    path = tmp_path / "page.html"
    path.write_text(render_html(study_page(evidence_of(folder))), encoding="utf-8")
    visit = Visit(browser, path)
    dialogs: list[str] = []
    visit.tab.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
    visit.tab.reload()
    assert "<script>alert(1)</script>" in visit.listed[0]
    assert visit.tab.evaluate("document.images.length") == 0
    assert (dialogs, visit.complaints) == ([], [])
    visit.tab.context.close()


def test_it_can_be_read_without_scripts(browser: Any, path: Path) -> None:
    visit = Visit(browser, path, java_script_enabled=False)
    assert len(visit.listed) == 20
    assert not visit.tab.locator(".filters").is_visible()
    assert visit.tab.locator("#fig-forest-test .wide svg").is_visible()
    visit.tab.context.close()


def test_it_prints_on_few_pages(visit: Visit, tmp_path: Path) -> None:
    pdf = visit.tab.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert 5 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page/") <= 25 or b"/Count" in pdf


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of a page of measurements, and of its surfaces."""
    folder = tmp_path_factory.mktemp("measured")
    measurements = read_measurements(leave_measurements(folder / "files", runs_of()))
    page, surface = folder / "page.html", folder / "page-surface.html"
    shown = measured_page(measurements, surface=surface.name)
    page.write_text(render_html(shown), encoding="utf-8")
    surface.write_text(
        render_surface(shown.title, surfaces_of(measurements.slices), page.name), encoding="utf-8"
    )
    return page, surface


PIXELS = "document.querySelector('canvas').toDataURL()"


def test_a_page_of_measurements_leads_to_its_surfaces_and_back(
    browser: Any, measured: tuple[Path, Path]
) -> None:
    visit = Visit(browser, measured[0], viewport={"width": 390, "height": 844})
    assert visit.tab.evaluate("document.documentElement.scrollWidth") <= 390
    visit.tab.get_by_text("Turn these planes as surfaces").click()
    assert visit.tab.url == measured[1].as_uri()
    visit.tab.get_by_text("Back to the report").click()
    assert visit.tab.url == measured[0].as_uri()
    assert visit.complaints == []
    visit.tab.context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_surface_is_turned_by_keys_pointer_and_sliders(
    browser: Any, measured: tuple[Path, Path], width: int
) -> None:
    visit = Visit(browser, measured[1], viewport={"width": width, "height": 844})
    tab = visit.tab
    pictures = [tab.evaluate(PIXELS)]

    def expect_another() -> None:
        pictures.append(tab.evaluate(PIXELS))
        assert pictures[-1] not in pictures[:-1]

    canvas = tab.locator("canvas")
    canvas.focus()
    for key in ("ArrowLeft", "ArrowUp"):
        tab.keyboard.press(key)
        expect_another()
    assert tab.locator("[role=status]").inner_text() == "Turned by -40°, tilted by 40°"
    tab.keyboard.press("Home")
    assert tab.evaluate(PIXELS) == pictures[0]
    box = canvas.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + 150, box["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 190, box["y"] + 110, steps=4)
    tab.mouse.up()
    expect_another()
    tab.locator("[name=tilt]").focus()
    tab.keyboard.press("ArrowRight")
    expect_another()
    tab.locator("button").click()
    assert tab.evaluate(PIXELS) == pictures[0]
    tab.select_option("select", index=1)
    assert "test data" in str(canvas.get_attribute("aria-label"))
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.complaints == []
    assert {url for url in visit.requests if not url.startswith("data:")} == {measured[1].as_uri()}
    tab.context.close()


def test_a_surface_is_drawn_anew_for_the_dark(browser: Any, measured: tuple[Path, Path]) -> None:
    visit = Visit(browser, measured[1])
    light = visit.tab.evaluate(PIXELS)
    visit.tab.emulate_media(color_scheme="dark")
    visit.tab.wait_for_function(f"light => {PIXELS} !== light", arg=light)
    assert visit.complaints == []
    visit.tab.context.close()


def test_surfaces_are_flat_without_scripts(browser: Any, measured: tuple[Path, Path]) -> None:
    visit = Visit(browser, measured[1], java_script_enabled=False)
    assert not visit.tab.locator("canvas").is_visible()
    assert visit.tab.locator("svg[role=img]").count() == 2
    assert visit.tab.locator("svg[role=img]").first.is_visible()
    visit.tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("number", [0, 1])
def test_axe_finds_nothing_in_measurements(
    browser: Any, measured: tuple[Path, Path], number: int, scheme: str
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    visit = Visit(browser, measured[number], color_scheme=scheme, bypass_csp=True)
    violations = axe.Axe().run(visit.tab).response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["html"][:150]) for each in violations] == []


class FollowedStudy:
    """A study of which a page in the browser shows what is done."""

    def __init__(self, root: Path, aside: Path, server: PageServer) -> None:
        self.root, self.aside, self.server = root, aside, server
        self.plans = [planned(path) for path in sorted(root.iterdir())]
        self.follower = Follower(root)
        aside.mkdir()

    def take_away(self, method: str, seed: int) -> str:
        """Take a run out of the folder, and return its name."""
        (run,) = self.root.glob(f"toy-{method}-s{seed}-*")
        return run.rename(self.aside / run.name).name

    def bring(self, name: str) -> None:
        """Let a run land."""
        (self.aside / name).rename(self.root / name)
        self.show()

    def show(self) -> None:
        self.server.show(self.follower.look())


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[FollowedStudy]:
    root = leave_study(tmp_path / "runs", methods=("lora", "full"), seeds=3, examples=80, steps=12)
    with PageServer() as server:
        yield FollowedStudy(root, tmp_path / "aside", server)


def test_a_followed_study_is_kept_up_with_in_place(browser: Any, followed: FollowedStudy) -> None:
    names = [followed.take_away("lora", 2), followed.take_away("full", 2), followed.take_away("full", 3)]
    with at_work(followed.root, [], followed.plans):
        followed.show()
        visit = Visit(browser, followed.server.url, viewport={"width": 1280, "height": 500})
        tab = visit.tab
        tab.evaluate("window.mark = 1")
        verdict = tab.locator(".verdict")
        assert "3 of 6 runs are done" in verdict.inner_text()
        tab.locator("#fig-learning + details summary").click()
        tab.locator("#runs").evaluate("e => e.scrollIntoView({behavior: 'instant'})")
        top = tab.locator("#runs").bounding_box()["y"]
        followed.bring(names[0])
        tab.locator(".verdict", has_text="4 of 6").wait_for(timeout=8000)
        assert abs(tab.locator("#runs").bounding_box()["y"] - top) < 2
        assert tab.locator("#fig-learning + details").evaluate("e => e.open")
        assert tab.locator(".live").inner_text().startswith("This page follows")
        button = tab.locator("#fig-learning .legend button").first
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
    for name in names[1:]:
        followed.bring(name)
    tab.locator(".live", has_text="has ended").wait_for(timeout=8000)
    assert tab.locator("#fig-forest-test .wide svg").is_visible()
    assert visit.count > 0
    tab.fill("[name=words]", "no such words")
    assert visit.count == 0
    assert "full" in tab.title()
    assert tab.evaluate("window.mark") == 1
    assert {url for url in visit.requests if not url.startswith("data:")} == {followed.server.url}
    assert visit.complaints == []
    tab.context.close()


def test_a_followed_study_is_kept_up_with_without_scripts(browser: Any, followed: FollowedStudy) -> None:
    followed.show()
    visit = Visit(browser, followed.server.url, java_script_enabled=False)
    assert visit.tab.locator("meta[http-equiv=refresh]").get_attribute("content") == "10"
    visit.tab.context.close()


def test_a_page_says_when_it_is_no_longer_kept_up_to_date(browser: Any, followed: FollowedStudy) -> None:
    followed.show()
    visit = Visit(browser, followed.server.url)
    visit.tab.context.set_offline(True)
    visit.tab.locator(".live", has_text="is lost").wait_for(timeout=8000)
    visit.tab.context.close()


def test_axe_finds_nothing_in_a_followed_study(browser: Any, followed: FollowedStudy) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    with at_work(followed.root, [], followed.plans):
        followed.show()
        visit = Visit(browser, followed.server.url, bypass_csp=True)
        violations = axe.Axe().run(visit.tab).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:150]) for each in violations] == []
    visit.tab.context.close()
