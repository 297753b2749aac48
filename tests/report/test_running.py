"""Page of a study that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowland.evidence.readers.trials import SearchState
from lowland.evidence.running import StudyState, read_state
from lowland.ground.study_notes import PlannedRun
from lowland.report.blocks import Page
from lowland.report.html import render_html
from lowland.report.running import running_headline, running_page
from lowland.report.values import page_values
from tests.report.html.reading import read_html
from tests.report.running_studies import (
    NOW,
    at_work,
    change,
    finish,
    leave_checkpoint,
    leave_four_runs,
    planned,
    run,
    unfinish,
)
from tests.report.whole_studies import history, leave_study


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return leave_four_runs(tmp_path / "runs")


def rows(page: Page, table: str) -> list[dict[str, object]]:
    values = page_values(page)["tables"][table]
    return [dict(zip(values["columns"], row, strict=True)) for row in values["rows"]]


def test_the_page_says_what_runs_waits_and_failed_and_why(root: Path) -> None:
    for path in root.iterdir():
        finish(path, took=20, ended=40)
    change(run(root, "full", 2), status="failed", failure="ValueError: <NaN>\n\nTraceback …")
    running = run(root, "lora", 2)
    plans = [planned(path) for path in sorted(root.iterdir())]
    plans.append(PlannedRun("toy-dora-s1-0123456789", "dora", 1))
    unfinish(running, since=5)
    change(
        run(root, "full", 2),
        when={"started": "2999-01-01T00:00:00+00:00", "ended": "2999-01-01T00:00:00+00:00"},
    )
    leave_checkpoint(root, running.name, history("lora", 2, 6)[:4])
    with at_work(root, [running.name], plans):
        page = running_page(read_state(root), NOW)
    assert page.headline == "2 of 5 runs are done: 1 running, 1 waiting, 1 failed."  # no dora has ended
    text = render_html(page)
    assert "toy-full-s2" in text
    assert "ValueError: &lt;NaN&gt;" in text
    assert [(row["method"], row["state"], row["time"]) for row in rows(page, "runs_so_far")][:3] == [
        ("lora", "running", "5 s"),
        ("dora", "waiting", ""),
        ("full", "failed", "0 s"),
    ]
    methods = {row["method"] for row in rows(page, "learning_curves")}
    assert methods == {"lora", "full", "lora, seed 2, running"}


def test_test_scores_are_not_shown_before_the_end(root: Path) -> None:
    for path in root.iterdir():
        change(path, scores={"test": {"accuracy": 0.98765}}, validation={"accuracy": 0.5, "loss": 1.0})
    with at_work(root, [], []):
        text = render_html(running_page(read_state(root), NOW))
    assert "98765" not in text.replace("987654", "")
    assert "0.5000" in text


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (StudyState(Path("runs"), exists=False), "Waiting for runs: the folder runs does not exist yet."),
        (StudyState(Path("runs"), exists=True), "Waiting for runs: the folder runs holds none yet."),
        (
            StudyState(
                Path("runs"), exists=True, searches=(SearchState("toy-lora", 1, 1, 0, 0.5, {}, (0.5,)),)
            ),
            "No run has begun yet; 1 trial of the search for settings has ended.",
        ),
    ],
)
def test_it_waits_for_runs(state: StudyState, sentence: str) -> None:
    assert running_headline(state) == sentence
    read_html(render_html(running_page(state), "Follows."))


def test_a_study_that_was_stopped_says_so(root: Path) -> None:
    for path in list(root.iterdir()):
        unfinish(path, since=5)
    assert (
        running_page(read_state(root)).headline
        == "No process works here: 0 of 4 runs are done, 4 not finished."
    )


def test_names_of_others_are_escaped(tmp_path: Path) -> None:
    root = leave_study(tmp_path / "<b>runs", methods=("<script>",), seeds=1, examples=12, steps=6)
    with at_work(root, [], [PlannedRun("x", "<img src=x>", 1)]):
        text = render_html(running_page(read_state(root), NOW), "<i>live")
    page = read_html(text)
    assert not page.all("img", "b")
    assert not any("live" in "".join(each.words) for each in page.all("i"))  # intervals are set in i, too
    assert len(page.all("script")) == 2


def test_a_search_has_its_curve_and_best_settings() -> None:
    search = SearchState("toy-lora", 3, 1, 1, 0.7, {"lr": 0.00012345, "<": "&"}, (None, 0.5, 0.7))
    page = running_page(StudyState(Path("runs"), exists=True, searches=(search,)))
    (row,) = rows(page, "search_so_far")
    assert (row["method"], row["ended"], row["best"], row["settings"]) == (
        "toy-lora",
        3,
        0.7,
        "lr 0.000123, < &",
    )
    assert [section.title for section in page.sections] == ["Search for settings"]
