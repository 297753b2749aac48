"""Structure of a page: whole, small, labelled, and harmless whatever its texts are."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from lowland.evidence.readers.measurements import read_measurements
from lowland.evidence.study_evidence import StudyEvidence
from lowland.report.blocks import Page, Paragraph, Quoted, Section, Table
from lowland.report.html import GENERATOR, render_html, render_surface
from lowland.report.page import study_page
from lowland.report.surface import surfaces_of
from lowland.report.values import page_values
from tests.report.html.reading import Element, check_policy, read_html, script
from tests.report.measured_files import leave_measurements, runs_in
from tests.report.whole_studies import METHODS, evidence_of, leave_study

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"' &amp; <!-- ]]> {{ 7*7 }} \u2028"


@pytest.fixture(scope="session")
def text(page: Page) -> str:
    """The HTML of a study of five methods and five seeds."""
    return render_html(page)


@pytest.fixture(scope="session")
def root(text: str) -> Element:
    return read_html(text)


def test_a_page_of_five_methods_and_five_seeds_is_small(text: str, root: Element):
    assert len(text.encode()) <= 400_000
    assert len(script(root).encode()) <= 30_000
    assert text.startswith("<!doctype html>")


def test_a_page_with_all_measurements_is_small(five_by_five: Path, tmp_path: Path):
    paths = leave_measurements(tmp_path / "measured", runs_in(five_by_five))
    page = study_page(
        evidence_of(five_by_five), measured=read_measurements(paths), surface="page-surface.html"
    )
    titles = [section.title for section in page.sections]
    assert titles[-5:] == ["Flatness", "Curvature", "Slices", "Adapters", "Run it again"]
    text = render_html(page)
    assert len(text.encode()) <= 400_000
    root = read_html(text)
    surface = read_html(render_surface("title", surfaces_of(read_measurements(paths).slices), "page.html"))
    assert len(script(root).encode()) + len(script(surface).encode()) <= 30_000
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded(text: str, root: Element):
    addresses = [
        value
        for element in root.all()
        for name, value in element.attributes.items()
        if name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href")
    ]
    assert addresses
    assert [each for each in addresses if not each.startswith("#") and each != "data:,"] == []
    assert "@import" not in text
    assert "url(" not in text
    assert not root.all("img", "iframe", "object", "embed", "base", "form:action")


def test_the_policy_lets_only_the_pages_own_script_run(root: Element):
    check_policy(root)
    assert not any(name.startswith("on") for element in root.all() for name in element.attributes)


def test_ids_are_unique_and_references_lead_somewhere(root: Element):
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in root.all():
        names = [*element.attributes.get("aria-labelledby", "").split()]
        names += [
            each[1:]
            for each in (element.attributes.get("href", ""),)
            if each.startswith("#") and len(each) > 1
        ]
        assert set(names) <= set(ids), element


def test_headings_are_in_order(root: Element):
    levels = [int(each.tag[1]) for each in root.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_landmarks_language_and_a_link_to_skip_there(root: Element):
    for tag in ("header", "nav", "main", "footer"):
        assert len(root.all(tag)) == 1, tag
    (html,) = root.all("html")
    assert html.attributes["lang"] == "en"
    (main,) = root.all("main")
    (skip,) = [each for each in root.all("a") if each.attributes.get("class") == "skip"]
    assert skip.attributes["href"] == f"#{main.attributes['id']}"
    sections = [each for each in main.children if each.tag == "section"]
    assert all("aria-label" in each.attributes or "aria-labelledby" in each.attributes for each in sections)


def test_every_plot_has_a_title_and_a_description(root: Element):
    drawings = root.all("svg")
    plots = [each for each in drawings if each.attributes.get("role") == "img"]
    assert len(plots) > 10
    assert all(each.attributes.get("aria-hidden") == "true" for each in drawings if each not in plots)
    for plot in plots:
        title, description = plot.children[:2]
        assert (title.tag, description.tag) == ("title", "desc")
        assert title.text.strip()
        assert description.text.strip()
        assert (
            plot.attributes["aria-labelledby"] == f"{title.attributes['id']} {description.attributes['id']}"
        )


def test_every_figure_has_a_caption_and_the_numbers_behind_it(root: Element):
    figures = root.all("figure")
    assert len(figures) >= 5
    for figure in figures:
        assert figure.children[-1].tag == "figcaption"
        assert figure.children[-1].text.strip()
        (details,) = [each for each in figure.parent.children if each.tag == "details"]
        assert len(details.all("tr")) > 1


def test_fields_of_the_search_have_labels(root: Element):
    fields = root.all("input", "select")
    assert len(fields) >= 6
    assert all(field.within("label") for field in fields)


def test_without_a_script_the_page_says_as_much(root: Element):
    (listed,) = [each for each in root.all("ol") if each.attributes.get("class") == "list"]
    assert len([each for each in listed.children if each.tag == "li"]) == 20
    (form,) = root.all("form")
    assert "hidden" in form.attributes
    visible_text = root.all("main")[0].text
    for method in METHODS:
        assert method in visible_text


def test_the_json_inside_is_that_of_the_values(page: Page, root: Element):
    assert json.loads(script(root, "application/json")) == json.loads(json.dumps(page_values(page)))


def test_a_report_is_known_by_its_first_lines(text: str):
    assert GENERATOR in text[:2000]


def test_the_style_has_a_colour_for_every_method_in_light_and_dark(text: str):
    for number in range(7):
        assert text.count(f"--s{number}:#") == 2
    assert "@media print" in text
    assert "prefers-color-scheme:dark" in text


def _nasty_study(root: Path) -> StudyEvidence:
    folder = leave_study(
        root,
        methods=("lora", "<img src=x onerror=alert(3)>"),
        seeds=2,
        examples=40,
        labels=("<b>bold</b>", "</script><script>alert(4)</script>"),
        text=lambda number: f"{NASTY} {number}",
        remarks=[NASTY],
        model={"name": NASTY},
        environment={"python": NASTY},
    )
    return evidence_of(folder)


def test_texts_labels_and_names_are_data(tmp_path: Path):
    evidence = _nasty_study(tmp_path / "runs")
    text = render_html(study_page(evidence))
    root = read_html(text)
    assert len(root.all("script")) == 2
    assert not root.all("img", "b:onerror")
    assert "alert(1)" not in script(root)
    assert not [each for each in root.all("b") if each.text == "bold"]
    assert "<img" not in text
    assert text.count("</script>") == 2
    assert "49" not in root.all("ol")[0].text.replace("{{ 7*7 }}", "")[:300]
    values = json.loads(script(root, "application/json"))
    assert values["tables"]["errors"]["rows"][0][1].startswith(
        "</script><script>alert(1)</script><img src=x onerror"
    )
    assert "{{ 7*7 }}" in root.text


def test_quoted_entries_and_code_are_escaped():
    blocks = (Paragraph("a `<b>` & *c*"), Table(("x",), ((Quoted("<i>`y`</i>"),), ("<u>",))))
    text = render_html(Page("<t>", "<s>", "<h>", (), (Section("<z>", blocks),)))
    assert "a <code>&lt;b&gt;</code> &amp; <em>c</em>" in text
    assert "&lt;i&gt;`y`&lt;/i&gt;" in text
    for tag in ("<t>", "<s>", "<h>", "<z>", "<u>"):
        assert tag not in text


def test_equal_titles_have_ids_of_their_own():
    sections = (Section("Same", (Section("Same", ()),)), Section("Same!", ()))
    text = render_html(Page("t", "s", "h", (), sections))
    assert re.findall(r'<h\d id="([^"]+)"', text) == ["same", "same-3", "same-2"]
