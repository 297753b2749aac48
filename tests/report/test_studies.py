"""Page of studies beside each other."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lowland.evidence.studies import NamedStudy, StudyDifferences, differences
from lowland.report.blocks import Figure, Page, Section
from lowland.report.html import render_html
from lowland.report.markdown import render_page
from lowland.report.sections.verdict import forest_rows
from lowland.report.studies import studies_headline, studies_page
from lowland.report.values import page_tables, page_values
from tests.report.html.reading import read_html
from tests.report.whole_studies import evidence_of, leave_study


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[NamedStudy]:
    """Two studies with two methods in common, and another learning rate."""
    root = tmp_path_factory.mktemp("two")
    made = []
    for name, methods, lr in (
        ("first", ("lora", "full"), 1e-4),
        ("second", ("lora", "full", "bag-of-words"), 0.00020000000123),
    ):
        folder = leave_study(
            root / name,
            methods,
            seeds=3,
            examples=90,
            steps=6,
            settings={each: {"lr": lr} for each in methods},
        )
        made.append(NamedStudy(name, folder, evidence_of(folder)))
    return made


@pytest.fixture(scope="module")
def page(studies: list[NamedStudy]) -> Page:
    return studies_page(studies)


def rows(page: Page, table: str) -> list[dict[str, Any]]:
    values = page_values(page)["tables"][table]
    return [dict(zip(values["columns"], row, strict=True)) for row in values["rows"]]


def figures(page: Page) -> dict[str, Figure]:
    by_name: dict[str, Figure] = {}
    todo: list[Any] = list(page.sections)
    while todo:
        block = todo.pop()
        todo += block.blocks if isinstance(block, Section) else []
        if isinstance(block, Figure):
            by_name[block.name] = block
    return by_name


def test_settings_stand_where_they_differ_or_once(page: Page) -> None:
    differing = {row["setting"]: (row["first"], row["second"]) for row in rows(page, "settings_that_differ")}
    assert set(differing) == {"methods", "lr"}
    assert differing["lr"] == ("0.0001", "0.0002")  # six digits
    same = {row["setting"]: row["value"] for row in rows(page, "settings_that_are_the_same")}
    assert same["task"] == "classification"
    assert same["seeds"] == "1, 2, 3"
    assert not set(same) & set(differing)


def test_forest_plots_of_both_have_one_scale_and_methods_one_look(
    page: Page, studies: list[NamedStudy]
) -> None:
    first, second = (figures(page)[f"forest-test_{name}"] for name in ("first", "second"))
    ticks = [
        re.findall(r'<text[^>]*text-anchor="middle"[^>]*>([^<]*)<', "".join(each.plots[0].elements))
        for each in (first, second)
    ]
    assert ticks[0] == ticks[1]
    assert len(ticks[0]) > 3

    names = ["lora", "full", "bag-of-words"]
    looks = [
        {row.name: row.number for row in forest_rows(study.evidence, "test", names)} for study in studies
    ]
    assert looks[1].items() >= looks[0].items()


def test_each_study_has_its_verdict_scores_cost_and_command(page: Page, studies: list[NamedStudy]) -> None:
    text = render_page(page)
    for study in studies:
        assert f"### {study.name}\n\n" in text
        assert f"lowland report {study.folder} --out {study.name}.html" in text
    assert text.startswith("# 2 studies: first and second\n")
    for table in ("scores_by_study", "cost_by_study"):
        assert {(row["method"], row["study"]) for row in rows(page, table)} == {
            ("lora", "first"), ("full", "first"), ("lora", "second"), ("full", "second"), ("bag-of-words", "second"),
        }  # fmt: skip
    for row in rows(page, "scores_by_study"):
        assert row["accuracy_interval_low"] < row["accuracy_interval"] < row["accuracy_interval_high"]
        assert row["accuracy"] == pytest.approx(row["accuracy_interval"])


def test_differences_say_how_they_are_paired(page: Page) -> None:
    differences = rows(page, "differences_between_second_and_first")
    assert {row["method"] for row in differences} == {"lora", "full"}
    assert {row["pairing"] for row in differences} == {"seed and example"}
    assert "Paired by 3 seeds and by example." in render_page(page)


def test_all_forms_have_it(page: Page) -> None:
    html = render_html(page)
    read_html(html)
    assert len(html) < 120_000
    names = [name for name, *_ in page_tables(page)]
    assert len(names) == len(set(names))
    assert "differences_test_first" in names


def test_three_studies_are_compared_with_the_first(studies: list[NamedStudy], tmp_path: Path) -> None:
    third = NamedStudy("third", studies[0].folder, studies[0].evidence)
    page = studies_page([*studies, third])
    assert page.title == "3 studies: first, second and third"
    (section,) = [each for each in page.sections if each.title == "Differences between the studies"]
    assert [block.title for block in section.blocks if isinstance(block, Section)] == [
        "second against first", "third against first",
    ]  # fmt: skip


def test_studies_that_share_nothing_are_shown_and_said_to(studies: list[NamedStudy], tmp_path: Path) -> None:
    folder = leave_study(
        tmp_path / "<b>other", ("dora",), seeds=2, examples=40, steps=6, scores={"test": {"exact_match": 0.5}},
        asked={"task": {"name": "squad"}, "method": {"name": "dora", "label": "dora"}, "seed": 1, "model": "big"},
    )  # fmt: skip
    for number, path in enumerate(sorted(folder.iterdir())):
        if number:
            path.rename(tmp_path / "gone")
    page = studies_page([studies[0], NamedStudy("<b>other", folder, evidence_of(folder))])
    assert page.headline == "Nothing is compared between first and <b>other."
    text = render_html(page)
    assert "share no method" in text
    assert "<b>other" not in text
    assert "squad" in page.subtitle


def headline_of(each: StudyDifferences, **changes: dict[str, Any]) -> str:
    """The headline if comparisons were other ones."""
    compared = {method: replace(each.compared[method], **values) for method, values in changes.items()}
    p_holm = {method: 0.001 for method, values in compared.items() if values.over_seeds}
    return studies_headline([replace(each, compared=compared, p_holm=p_holm)])


def test_the_headline_claims_what_the_intervals_allow(studies: list[NamedStudy]) -> None:
    each = differences(studies[1], studies[0])
    better = {"difference": 0.03, "low": 0.01, "high": 0.05, "over_seeds": True}
    worse = {"difference": -0.03, "low": -0.05, "high": -0.01, "over_seeds": True}
    none = {"difference": 0.03, "low": -0.01, "high": 0.07, "over_seeds": True}
    assert headline_of(each, lora=better, full=none) == (
        "In second, lora is better than in first; full is not shown to differ."
    )
    assert headline_of(each, lora=better, full=worse) == (
        "In second, lora is better than in first; in second, full is worse than in first."
    )
    assert headline_of(each, lora=none) == "No difference in accuracy is shown between first and second."
    assert headline_of(each, lora={**better, "over_seeds": False}) == (
        "One seed of each method says nothing of first and second."
    )
    corrected = replace(
        each, compared={"lora": replace(each.compared["lora"], **better)}, p_holm={"lora": 0.06}
    )
    assert studies_headline([corrected]) == "No difference in accuracy is shown between first and second."
