"""Examples of damaged texts in a page."""

from __future__ import annotations

import pytest

from lowland.report.blocks import EditList, Page, Section
from lowland.report.html import render_html
from lowland.report.markdown import render_page
from lowland.report.page import stress_page
from lowland.report.sections.stress_examples import MODELS, damaged_example_blocks
from lowland.report.values import page_values
from tests.evidence.test_damaged_examples import rows
from tests.report.html.reading import read_html
from tests.report.html.test_render import NASTY

WRONG = {("a", "three"): "damaged"}


def page_of(*blocks: object) -> Page:
    return Page("t", "s", "h", (), (Section("Stress tests", tuple(blocks)),))  # type: ignore[arg-type]


def test_edits_are_elements_that_need_no_colour() -> None:
    (block,) = damaged_example_blocks(rows(WRONG), "models")
    page = read_html(render_html(page_of(block)))
    (first, _) = [each for each in page.all("p") if "edits" in each.attributes.get("class", "")]
    assert first.text == "three␣typos"
    assert [each.text for each in first.all("ins")] == ["␣typos"]
    assert not first.all("del")
    style = page.all("style")[0].text
    assert "line-through" in style.partition(".edits del")[2].partition("}")[0]
    assert "underline" in style.partition(".edits ins")[2].partition("}")[0]


def test_answers_say_who_is_right_clean_and_damaged() -> None:
    (block,) = damaged_example_blocks(rows(WRONG, seeds=3), "models")
    assert isinstance(block, EditList)
    first, second = block.examples
    assert first.answers == ("a: right in 3 of 3 when clean (“yes”), right in 0 of 3 when damaged (“no”)",)
    assert second.answers == (
        "a: right in 3 of 3 when clean (“yes”), right in 3 of 3 when damaged (the same answer, “yes”)",
    )
    assert first.about == "right answer: yes"
    assert first.heading == "typos heavy"


def test_markdown_and_json_have_the_plain_form() -> None:
    page = page_of(*damaged_example_blocks(rows(WRONG), "models"))
    assert "- typos heavy (right answer: yes): three{+␣typos+}\n  - a: right when clean" in render_page(page)
    table = page_values(page)["tables"]["damaged_examples_models"]
    row = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert row == {
        "texts": "typos heavy", "item": "three", "edits": "three{+␣typos+}", "gold": "yes", "model": "a", "asked": 1,
        "right_clean": 1, "right_damaged": 0, "reply_clean": "yes", "reply_damaged": "no",
    }  # fmt: skip


def test_texts_and_answers_of_others_are_escaped() -> None:
    table = rows(WRONG)
    table["reply"], table["gold"], table["model"] = NASTY, NASTY, f"m {NASTY}"
    table["prompt"] = [f"{NASTY} {condition}" for condition in table["condition"]]
    page = read_html(render_html(page_of(*damaged_example_blocks(table, "models"))))
    assert not page.all("img")
    assert len(page.all("script")) == 2


def test_many_models_are_counted() -> None:
    models = tuple(f"m{number}" for number in range(MODELS + 3))
    (block,) = damaged_example_blocks(rows({}, models=models), "models")
    assert isinstance(block, EditList)
    assert block.examples[0].answers[-1] == "and 3 more"
    assert len(block.examples[0].answers) == MODELS + 1
    assert len(block.data.rows) == len(models) * len(block.examples)


def test_an_example_takes_at_most_a_few_kilobytes() -> None:
    table = rows(WRONG)
    table["prompt"] = [
        "word " * 4000 if condition == "clean" else "wrod " * 4000 for condition in table["condition"]
    ]
    table["reply"] = table["gold"] = "answer " * 4000
    blocks = damaged_example_blocks(table, "models")
    assert len(render_html(page_of(*blocks))) - len(render_html(page_of())) < 2 * 2 * 4000


@pytest.mark.parametrize("kind", ["multilingual", "behaviour"])
def test_questions_that_are_no_edits_of_others_have_none(kind: str) -> None:
    assert damaged_example_blocks(rows(WRONG).assign(eval=kind), "models") == []


def test_a_page_of_a_stress_test_has_them() -> None:
    from tests.evidence.test_stress import messy
    from tests.report.test_stress import record_of

    table = messy(items=4, epochs=1)
    table["prompt"] = [
        f"{item} {condition} {level}"
        for item, condition, level in zip(table["item"], table["condition"], table["level"], strict=True)
    ]
    page = stress_page([(record_of(table), table)])
    assert "damaged_examples_models" in page_values(page)["tables"]
    assert "of damaged texts" in render_page(page)
