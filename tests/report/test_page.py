"""A page says what the evidence shows, and leaves out what there is not."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from lowland.evidence.core.pairs import PairedComparison
from lowland.evidence.readers.runs import finished
from lowland.evidence.study_evidence import StudyEvidence, study_evidence
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record, write_predictions, write_record
from lowland.report.blocks import Bullets, ErrorList, Figure, Page, Paragraph, Section
from lowland.report.html import render_html
from lowland.report.markdown import render_page
from lowland.report.page import SECTIONS, study_page
from lowland.report.sections.again import recipe_text
from lowland.report.sections.verdict import headline
from lowland.report.values import page_tables, page_values
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from tests.evidence.test_study import leave_run
from tests.report.whole_studies import METHODS, evidence_of, leave_study


def tables_of(page: Page) -> dict[str, list[dict]]:
    """Rows of each table, by column."""
    return {
        name: [dict(zip(columns, row, strict=True)) for row in rows]
        for name, _, columns, rows in page_tables(page)
    }


def titles(page: Page) -> list[str]:
    return [section.title for section in page.sections]


def test_sections_stand_in_their_order(page: Page):
    expected = [
        "Scores",
        "Learning curves",
        "Cost and quality",
        "Confusions",
        "Failures",
        "Calibration",
        "Run it again",
    ]
    assert titles(page) == expected


def test_the_lead_has_the_forest_plot_then_the_sentences_and_the_check(page: Page, evidence: StudyEvidence):
    forest, sentences = page.lead[:2]
    assert isinstance(forest, Figure)
    assert isinstance(sentences, Bullets)
    for comparison in evidence.compared["test"]:
        assert any(item.startswith(comparison.sentence()) for item in sentences.items)
    assert sentences.items[-1].startswith("A/A: ")


def test_numbers_are_those_of_the_evidence(page: Page, evidence: StudyEvidence):
    tables = tables_of(page)
    rows = {row["method"]: row for row in tables["differences_test"]}
    assert set(rows) == set(METHODS) - {"lora"}
    for comparison in evidence.compared["test"]:
        row = rows[comparison.method]
        assert row["difference"] == pytest.approx(comparison.difference, rel=1e-5)
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(
            (comparison.low, comparison.high), rel=1e-5
        )
        assert row["p"] == pytest.approx(comparison.p, rel=1e-5)
        assert row["false_verdicts"] == pytest.approx(evidence.false_verdicts["test"][comparison.method])
    for method in evidence.methods:
        (row,) = [row for row in tables["scores_test"] if row["method"] == method.method]
        assert row["accuracy"] == pytest.approx(method.scores["accuracy"].mean, rel=1e-5)
        assert row["accuracy_sd"] == pytest.approx(method.scores["accuracy"].sd, rel=1e-5)
        assert row["train_seconds"] == pytest.approx(method.seconds.mean, rel=1e-5)
    assert evidence.analysis is not None
    for name, each in evidence.analysis.confidence.items():
        (row,) = [row for row in tables["calibration"] if row["method"] == name]
        assert (row["ece"], row["ece_low"]) == pytest.approx((each.error.value, each.error.low), rel=1e-4)


def test_the_plot_shows_the_same_numbers_as_its_table(page: Page, evidence: StudyEvidence):
    forest = page.lead[0]
    assert isinstance(forest, Figure)
    for drawing in (*forest.plots, *forest.narrow):
        for comparison in evidence.compared["test"]:
            assert f"{comparison.method} " in drawing.description
            points = f"{100 * comparison.difference:+.1f} ({100 * comparison.low:+.1f} to {100 * comparison.high:+.1f})"
            assert points in drawing.description


def test_the_plot_says_over_what_its_intervals_are(tmp_path: Path):
    """One method has one seed, the others have two."""
    leave_study(tmp_path / "runs", ("full", "lora", "dora"), seeds=2, steps=3)
    (folder,) = (tmp_path / "runs").glob("toy-dora-s2-*")
    shutil.rmtree(folder)
    forest = study_page(evidence_of(tmp_path / "runs")).lead[0]
    assert isinstance(forest, Figure)
    assert (
        "over seeds and test examples (for dora, with one seed, over test examples alone)" in forest.caption
    )


def test_errors_are_counted_by_hand(page: Page, evidence: StudyEvidence):
    assert evidence.analysis is not None
    answers = evidence.analysis.answers
    right = np.concatenate([each.right for each in answers.methods.values()])
    wrong = (right == 0).sum(axis=0)
    rows = tables_of(page)["errors"]
    assert len(rows) == (wrong > 0).sum()
    number = {str(example): place for place, example in enumerate(answers.examples["example"])}
    for row in rows:
        place = number[row["example"]]
        assert row["wrong"] == wrong[place]
        lora, full = answers.methods["lora"], answers.methods["full"]
        assert row["lora: wrong"] == (lora.right[:, place] == 0).sum()
        assert row["full: fixed"] == ((full.right[:, place] == 1) & (lora.right[:, place] == 0)).sum()
        assert row["full: broken"] == ((full.right[:, place] == 0) & (lora.right[:, place] == 1)).sum()
        said = [p for p, r in zip(lora.predicted[:, place], lora.right[:, place], strict=True) if r == 0]
        assert (row["lora: predicted"] in said) if said else row["lora: predicted"] is None
    assert [row["wrong"] for row in rows] == sorted((row["wrong"] for row in rows), reverse=True)


def test_a_long_list_of_errors_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lowland.report.sections.error_list.BYTES", 5000)
    page = study_page(
        evidence_of(leave_study(tmp_path / "runs", methods=("lora", "full"), seeds=2, examples=100))
    )
    (listed,) = [
        block for section in page.sections for block in section.blocks if isinstance(block, ErrorList)
    ]
    assert 0 < len(listed.data.rows) < 40
    assert re.match(
        rf"The {len(listed.data.rows)} of \d+ examples that the most runs get wrong", listed.data.caption
    )


def test_what_a_model_has_not_learned_stands_with_the_verdict(tmp_path: Path):
    folder = leave_study(tmp_path / "runs", ("lora", "full"), seeds=2, examples=40, steps=3)
    for path in folder.iterdir():
        record = read_record(path)
        if record.method == "lora" or record.seed == 2:
            remark = f"test, {record.method}, seed {record.seed}: every example is 'good'. Try a higher lr"
            write_record(path, replace(record, remarks=["2 examples are equal", remark]))
    lead = study_page(evidence_of(folder)).lead
    warnings = [each.text for each in lead if isinstance(each, Paragraph) and each.text.startswith("Beware")]
    sentence = "every example is 'good'. Try a higher lr."
    assert warnings == [f"Beware: full (seed 2) and lora (seeds 1 and 2): {sentence}"]


def test_runs_without_texts_have_numbers_alone(tmp_path: Path):
    texts = {"runs": lambda n: f"text {n}", "old": lambda n: ""}
    says = {}
    for name, text in texts.items():
        folder = leave_study(tmp_path / name, ("lora", "full"), seeds=1, examples=40, steps=3, text=text)
        (data,) = [
            caption
            for table, caption, *_ in page_tables(study_page(evidence_of(folder)))
            if table == "errors"
        ]
        says[name] = "stored no texts" in data
    assert says == {"runs": False, "old": True}


def test_an_ablation_has_a_curve_and_its_own_settings_as_reference(tmp_path: Path):
    values = {"flat-lora": 0.05, "flat-lora-rho0": 0.0, "flat-lora-rho0.3": 0.3}
    settings = {label: {"name": "flat-lora", "rho": value} for label, value in values.items()}
    folder = leave_study(tmp_path / "runs", methods=tuple(settings), seeds=2, examples=60, settings=settings)
    evidence = evidence_of(folder)
    assert evidence.reference == "flat-lora"
    page = study_page(evidence)
    assert "Ablation" in titles(page)
    rows = tables_of(page)["ablation"]
    assert [row["value"] for row in rows] == sorted(values.values())
    means = {method.method: method.scores["accuracy"].mean for method in evidence.methods}
    for row in rows:
        assert row["accuracy"] == pytest.approx(means[row["method"]], rel=1e-5)


def test_a_search_has_a_curve(tmp_path: Path):
    tuning = {
        "score": "accuracy", "space": {"lr": [1e-5, 1e-3]}, "trials": [{}, {}, {}], "best": {"lr": 1e-4},
        "best_so_far": [None, 0.6, 0.7], "examples": 300,
    }  # fmt: skip
    page = study_page(
        evidence_of(leave_study(tmp_path / "runs", ("lora",), seeds=2, examples=60, tuning=tuning))
    )
    assert tables_of(page)["search"] == [
        {"method": "lora", "trial": 2, "best": 0.6},
        {"method": "lora", "trial": 3, "best": 0.7},
    ]


def test_failed_and_unfinished_runs_are_named(tmp_path: Path):
    folder = leave_study(tmp_path / "runs", methods=("lora", "full"), seeds=2, examples=60)
    evidence = evidence_of(folder)
    failed = [
        type(record)(
            **{**vars(record), "status": "failed", "failure": "Traceback\nValueError: <NaN>", "scores": {}}
        )
        for record in evidence.records[:1]
    ]
    page = study_page(evidence_of(folder, failed=failed, unfinished=1))
    assert isinstance(page.lead[0], Paragraph)
    assert page.lead[0].text.startswith("Beware: 1 run failed (full seed 1) and 1 run did not finish")
    (row,) = [row for row in tables_of(page)["runs"] if row["status"] == "failed"]
    assert row["failure"] == "ValueError: <NaN>"
    assert "&lt;NaN&gt;" in render_html(page)


def test_one_seed_says_nothing_of_methods(tmp_path: Path):
    evidence = evidence_of(leave_study(tmp_path / "runs", methods=("lora", "full"), seeds=1, examples=60))
    assert headline(evidence).startswith("One seed of each method says nothing of the methods")
    assert "better" not in study_page(evidence).headline


def test_one_method_is_compared_with_nothing(tmp_path: Path):
    page = study_page(evidence_of(leave_study(tmp_path / "runs", methods=("full",), seeds=2, examples=60)))
    assert "there is no other method" in page.headline
    assert page.lead == ()
    assert "Cost and quality" not in titles(page)


@pytest.mark.parametrize(
    ("low", "high", "p", "seeds", "expected"),
    [
        (
            0.01,
            0.05,
            0.01,
            3,
            "In accuracy, full is better than lora by 3.0 points (95 % interval 1.0 to 5.0).",
        ),
        (
            -0.05,
            -0.01,
            0.01,
            3,
            "In accuracy, full is worse than lora by 3.0 points (95 % interval 1.0 to 5.0).",
        ),
        (-0.01, 0.07, 0.2, 3, "No difference in accuracy is shown between lora and full."),
        (0.01, 0.05, 0.01, 1, "One seed of each method says nothing of the methods;"),
    ],
)
def test_the_headline_claims_what_the_interval_allows(evidence, low, high, p, seeds, expected):
    (first,) = [each for each in evidence.compared["test"] if each.method == "full"]
    values = {
        "difference": (low + high) / 2, "low": low, "high": high, "p": p, "over_seeds": seeds > 1, "method": "full",
        "per_seed": ((low + high) / 2,) * seeds,
    }  # fmt: skip
    altered = PairedComparison(**{**vars(first), **values})
    changed = type(evidence)(**{**vars(evidence), "compared": {"test": [altered]}})
    assert headline(changed).startswith(expected)


def test_a_difference_that_holms_correction_takes_back_is_not_in_the_headline(evidence):
    (first,) = [each for each in evidence.compared["test"] if each.method == "full"]
    values = {"difference": 0.03, "low": 0.001, "high": 0.059, "p": 0.03, "over_seeds": True}
    two = [PairedComparison(**{**vars(first), **values, "method": name}) for name in ("full", "dora")]
    changed = type(evidence)(**{**vars(evidence), "compared": {"test": two}})
    assert headline(changed) == "No difference in accuracy is shown between lora and full or dora."


def test_a_task_without_classes_and_logs_leaves_sections_out(tmp_path: Path):
    for method in ("lora", "flat-lora"):
        for seed in (1, 2):
            folder = leave_run(tmp_path, method, seed)
            table = read_predictions(folder)
            table["score"] = np.random.default_rng(seed).uniform(-9, -1, len(table))  # log-likelihoods
            write_predictions(folder, table.drop(columns=["label", "predicted"]))
    evidence = study_evidence(finished(sorted(tmp_path.iterdir())))
    assert evidence.analysis is None
    page = study_page(evidence)
    assert titles(page) == ["Scores", "Other test sets", "Cost and quality", "Run it again"]
    for renderer in (render_html, render_page):
        assert "Confusions" not in renderer(page)


def test_runs_of_two_tasks_are_refused(tmp_path: Path):
    leave_study(tmp_path / "runs", methods=("lora",), seeds=1, examples=30)
    other = {"task": {"name": "mrpc"}, "method": {"name": "full", "label": "full"}, "seed": 1}
    leave_study(tmp_path / "runs", methods=("full",), seeds=1, examples=30, asked=other)
    with pytest.raises(
        Mistake, match=r"2 tasks, (classification, mrpc|mrpc, classification); name those of one study"
    ):
        evidence_of(tmp_path / "runs")


def test_the_recipe_asks_for_the_same_runs(tmp_path: Path):
    first = Recipe(
        task={"name": "financial-demo", "max_train": 40},
        methods=["full", {"lora": {"rank": 4, "lr": 3e-3, "label": "r4"}}, "flat+dora"],
        seeds=[3, 4],
        max_length=64,
    )
    jobs = plan(first)
    records = [
        type("R", (), {"asked": job.asked(), "method": job.method.label, "seed": job.seed})() for job in jobs
    ]
    again = Recipe(**yaml.safe_load(recipe_text(records)))  # type: ignore[arg-type]
    assert [job.asked() for job in plan(again)] == [job.asked() for job in jobs]


def test_another_section_is_one_more_function(evidence: StudyEvidence, monkeypatch: pytest.MonkeyPatch):
    made = {
        **SECTIONS,
        "Mine": lambda evidence: [Paragraph(f"{len(evidence.runs)} runs.")],
        "None": lambda _: [],
    }
    monkeypatch.setattr("lowland.report.page.SECTIONS", made)
    page = study_page(evidence)
    assert Section("Mine", (Paragraph("25 runs."),)) in page.sections
    assert "None" not in titles(page)


def test_markdown_has_the_same_sentences_and_tables(page: Page):
    text = render_page(page)
    assert text.startswith(f"# {page.title.replace('-', '-')}")
    for section in page.sections:
        assert f"\n## {section.title}\n" in text
    assert page.headline in text
    assert text.count("\n| ") > 100


def test_tables_have_names_of_their_own(page: Page):
    names = [name for name, *_ in page_tables(page)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in names)
    assert set(page_values(page)["tables"]) == set(names)


DOCS = Path(__file__).parents[2] / "docs" / "report.md"


def programs() -> list[str]:
    """The Python of docs/report.md."""
    return re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


def test_the_docs_read_the_data_of_a_page(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("report.html").write_text(render_html(page), encoding="utf-8")
    names: dict[str, object] = {}
    exec(programs()[0], names)
    assert names["rows"] == tables_of(page)["differences_test"]


def test_the_docs_add_a_section(evidence: StudyEvidence, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lowland.report.page.SECTIONS", dict(SECTIONS))
    exec(programs()[1], {})
    page = study_page(evidence)
    assert "Validation" in titles(page)
    assert len(tables_of(page)["validation"]) == 25


def test_the_docs_name_every_section_and_picture_that_is_there():
    text = DOCS.read_text("utf-8")
    for title in (*SECTIONS, "Stress tests", "Run it again"):
        assert f"| {title} |" in text
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (DOCS.parent / target).exists(), target


def test_a_task_of_texts_names_the_right_answer(tmp_path: Path):
    for method in ("lora", "full"):
        for seed in (1, 2):
            folder = leave_run(tmp_path, method, seed)
            table = read_predictions(folder).drop(columns="label")
            write_predictions(folder, table.assign(completion="Stockholm"))
    page = study_page(study_evidence(finished(sorted(tmp_path.iterdir()))))
    assert "Confusions" not in titles(page)
    assert "Calibration" not in titles(page)
    text = render_html(page)
    assert "right answer <b>Stockholm</b>" in text
    assert "Confidence from" not in text
    assert 'name="label"' not in text


def test_many_methods_and_labels_have_a_page(tmp_path: Path):
    methods = tuple(f"flat+dora/{n}" for n in range(9))
    labels = tuple(f"class {n}" for n in range(15))
    evidence = evidence_of(leave_study(tmp_path / "runs", methods, seeds=2, examples=90, labels=labels))
    page = study_page(evidence)
    assert "confusions" in tables_of(page)
    assert len(render_html(page).encode()) < 500_000
    assert page.title == "classification: flat+dora/0, flat+dora/1, flat+dora/2 and 6 more"
