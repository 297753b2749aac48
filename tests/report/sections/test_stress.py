"""Stress tests in a page: heat maps, curves, and the sentences of the other reports."""

from __future__ import annotations

from lowland.evidence.behaviour import behaviour_evidence
from lowland.evidence.stress import stress_evidence
from lowland.evidence.stress_adapters import adapter_evidence
from lowland.report.blocks import Bullets, Data, Figure, Section
from lowland.report.html import render_html
from lowland.report.markdown import render_page
from lowland.report.page import stress_page, study_page
from lowland.report.sections.stress import stress_sections
from lowland.report.stress_adapters import drop_difference_sentence
from lowland.report.wording import cell_name
from tests.evidence.test_behaviour import rows_of
from tests.evidence.test_stress import messy, multilingual
from tests.evidence.test_stress_adapters import runs
from tests.report.html.reading import read_html
from tests.report.test_behaviour import record_of as behaviour_record
from tests.report.test_stress import record_of
from tests.report.test_stress_trained import SEEDS, stress_test


def tables(section: Section) -> dict[str, Data]:
    return {block.name: block for block in section.blocks if isinstance(block, Data)}


def test_models_are_columns_and_mitigations_stand_beside_them():
    rows = messy()
    evidence = stress_evidence(rows)
    (section,) = stress_sections([(record_of(rows), rows)])
    table = tables(section)["stress_messy"]
    assert [column.title for column in table.columns] == ["questions", "mock/one, %", "with normalise, %"]
    shown = {(row[0], place): cell for row in table.rows for place, cell in enumerate(row[1:])}
    for scores in evidence.cells:
        name = cell_name(scores.cell).partition(", with")[0]
        accuracy = scores.accuracy
        expected = (accuracy.value, accuracy.low, accuracy.high)
        assert shown[name, ["none", "normalise"].index(scores.cell.mitigation)] == expected
    for row, shades in zip(table.rows, table.shades, strict=True):
        assert shades[0] is None
        assert shades[1] == row[1][0]


def test_doses_have_a_curve_for_each_corruption():
    rows = messy(levels=("0.1", "0.2", "0.4"))
    evidence = stress_evidence(rows)
    (section,) = stress_sections([(record_of(rows), rows)])
    (figure,) = [block for block in section.blocks if isinstance(block, Figure)]
    assert len(figure.plots) == 4
    assert len(figure.plots) == len({(dose.condition, dose.mitigation) for dose in evidence.doses})
    assert sum(len(dose.rates) for dose in evidence.doses) == len(figure.data.rows)


def test_languages_have_no_doses():
    rows = multilingual()
    (section,) = stress_sections([(record_of(rows), rows)])
    assert section.title == "Multilingual questions"
    assert not [block for block in section.blocks if isinstance(block, Figure)]


def test_fine_tuned_methods_have_scores_drops_and_sentences():
    rows = runs()
    evidence = adapter_evidence(rows)
    (section,) = stress_sections([(record_of(rows), rows)])
    sentences = next(block for block in section.blocks if isinstance(block, Bullets))
    assert list(sentences.items) == [drop_difference_sentence(each, evidence) for each in evidence.overall]
    by_name = tables(section)
    drops = {(row[0], place): cell for row in by_name["drop_1"].rows for place, cell in enumerate(row[1:])}
    for score in evidence.scores:
        if score.drop is not None:
            place = ["flat-lora", "lora"].index(score.method)
            drop = score.drop
            assert drops[cell_name(score.cell), place] == (drop.difference, drop.low, drop.high)


def test_behaviour_has_the_pass_rate_of_every_test():
    rows = rows_of()
    (section,) = stress_sections([(behaviour_record(rows), rows)])
    table = tables(section)["behaviour_1"]
    rates = {
        (rate.scope.name, rate.method): rate.value
        for rate in behaviour_evidence(rows).rates
        if rate.scope.by == "test"
    }
    for name, _, *cells in table.rows:
        for method, cell in zip(behaviour_evidence(rows).methods, cells, strict=True):
            if name != "all tests":
                assert (cell[0] if isinstance(cell, tuple) else cell) == rates[name, method]


def test_trained_runs_are_methods_and_other_models_stand_below():
    shares = {"lora": {"clean": 0.9, "typos": 0.4}, "flat-lora": {"clean": 0.9, "typos": 0.8}}
    tests = [stress_test(method, seed, right) for method, right in shares.items() for seed in SEEDS]
    tests.append(stress_test(None, 9, {"clean": 0.5, "typos": 0.5}))
    for _, rows in tests:
        rows["category"] = "right"
    (section,) = stress_sections(tests)
    by_name = tables(section)
    assert [column.title for column in by_name["damaged_messy"].columns] == ["texts", "flat-lora", "lora"]
    assert [column.title for column in by_name["stress_messy"].columns] == [
        "questions",
        "lowland/x None-s9, %",
    ]


def test_they_stand_in_a_section_of_a_studys_page(evidence):
    rows, cases = runs(), rows_of()
    page = study_page(evidence, [(record_of(rows), rows), (behaviour_record(cases), cases)])
    assert [section.title for section in page.sections][-2:] == ["Stress tests", "Run it again"]
    root = read_html(render_html(page))
    headings = [each.text for each in root.all("h3")]
    assert "Damaged texts: mock/one" in headings
    assert "Behavioural tests: tiny" in headings
    assert "Damaged texts: mock/one" in render_page(page)


def test_stress_tests_alone_have_a_page():
    rows = messy(items=6, epochs=1)
    page = stress_page([(record_of(rows), rows)])
    assert page.headline == "Scores on messy questions, with their intervals."
    assert len(render_html(page)) < 100_000
