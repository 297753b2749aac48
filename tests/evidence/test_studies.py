"""Several studies beside each other: which are compared, how, and which settings differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowland.evidence.core.pairs import PairedComparison
from lowland.evidence.core.unpaired import UnpairedComparison
from lowland.evidence.studies import (
    NamedStudy,
    are_settings_equal,
    differences,
    method_table,
    score_interval,
    settings_beside,
)
from lowland.evidence.study import by_method
from lowland.evidence.study_evidence import StudyEvidence
from lowland.ground.listing import entries_at, finished_runs
from lowland.ground.record_files import read_predictions, read_record, write_predictions
from tests.report.running_studies import change
from tests.report.whole_studies import leave_study


def quick_evidence(root: Path) -> StudyEvidence:
    """Evidence with the runs and their scores alone."""
    runs = finished_runs(entries_at(root))
    methods = by_method(list(runs.values()))
    return StudyEvidence(runs, (), 0, methods[0].method, methods, {}, {}, {}, None, {})


def study(root: Path, **options: Any) -> NamedStudy:
    leave_study(root, **{"methods": ("lora", "full"), "seeds": 3, "examples": 90, "steps": 6, **options})
    return NamedStudy(root.name, root, quick_evidence(root))


def again(study: NamedStudy) -> NamedStudy:
    return NamedStudy(study.name, study.folder, quick_evidence(study.folder))


def reseed(study: NamedStudy, by: int) -> NamedStudy:
    """Give the runs of a study other seeds."""
    for path in study.folder.iterdir():
        asked = read_record(path).asked
        change(path, asked={**asked, "seed": asked["seed"] + by})
    return again(study)


def alter(study: NamedStudy, **columns: Any) -> NamedStudy:
    """Change columns of the predictions of a study's runs."""
    for path in study.folder.iterdir():
        write_predictions(path, read_predictions(path).assign(**columns))
    return study


def test_the_same_seeds_are_paired(tmp_path: Path) -> None:
    a, b = study(tmp_path / "a"), study(tmp_path / "b")
    for path in b.folder.glob("*-lora-s1-*"):
        table = read_predictions(path)
        write_predictions(path, table.assign(score=1.0))
        change(path, scores={"test": {"accuracy": 1.0, "macro_f1": 1.0}})
    compared = differences(again(b), a)
    assert set(compared.compared) == {"lora", "full"}
    lora, full = compared.compared["lora"], compared.compared["full"]
    assert isinstance(lora, PairedComparison)
    assert lora.seeds == (1, 2, 3)
    assert lora.per_seed[1:] == (0.0, 0.0)
    assert lora.per_seed[0] > 0
    assert isinstance(full, PairedComparison)
    assert full.identical
    assert not compared.is_shown("full")


def test_other_seeds_are_not_paired(tmp_path: Path) -> None:
    a, b = study(tmp_path / "a"), reseed(study(tmp_path / "b"), 10)
    compared = differences(b, a).compared["lora"]
    assert isinstance(compared, UnpairedComparison)
    assert compared.n_seeds == (3, 3)


def test_half_of_the_seeds_are_enough_to_pair(tmp_path: Path) -> None:
    a = study(tmp_path / "a", seeds=4)
    two, three = reseed(study(tmp_path / "b", seeds=4), 2), reseed(study(tmp_path / "c", seeds=4), 3)
    paired = differences(two, a)
    assert isinstance(paired.compared["lora"], PairedComparison)
    assert paired.left_out["lora"] == (1, 2, 5, 6)
    assert isinstance(differences(three, a).compared["lora"], UnpairedComparison)


def test_other_data_are_compared_if_the_test_texts_and_answers_are_the_same(tmp_path: Path) -> None:
    a = study(tmp_path / "a")
    data = read_record(next(iter(a.folder.iterdir()))).data
    b = study(tmp_path / "b", data={**data, "sha256": "other"})
    assert set(differences(b, a).compared) == {"lora", "full"}
    changes = {"texts": {"text": "x"}, "labels": {"label": "positive"}}
    for name, columns in changes.items():
        other = study(tmp_path / name, data={**data, "sha256": "other"})
        assert (
            differences(alter(other, **columns), a).reasons["lora"]
            == "they were tested on different examples"
        )
    leave_study(
        tmp_path / "c", methods=("lora", "full"), seeds=3, examples=90, steps=6, data={**data, "sha256": "c"}
    )
    c = NamedStudy("c", tmp_path / "c", quick_evidence(tmp_path / "c"))
    assert "stored no texts" in differences(alter(c, text=""), a).reasons["lora"]


def test_other_examples_or_scores_are_not_compared(tmp_path: Path) -> None:
    a = study(tmp_path / "a")
    few = study(tmp_path / "few", examples=60)
    assert differences(few, a).compared == {}
    assert differences(few, a).reasons["full"] == "they were tested on different examples"
    loss = alter(study(tmp_path / "loss"), score=np.linspace(-3, -1, 90))
    assert "their scores are different ones" in differences(loss, a).reasons["lora"]


def test_one_method_each_is_compared_whatever_its_name(tmp_path: Path) -> None:
    a, b = study(tmp_path / "a", methods=("lora",)), study(tmp_path / "b", methods=("full",))
    assert list(differences(b, a).compared) == ["full and lora"]
    two = study(tmp_path / "c", methods=("dora", "full"))
    assert differences(two, a).compared == {}


def test_one_seed_shows_nothing(tmp_path: Path) -> None:
    a, b = study(tmp_path / "a", seeds=1), study(tmp_path / "b", seeds=1)
    for path in b.folder.iterdir():
        change(path, scores={"test": {"accuracy": 1.0}})
    b = again(alter(b, score=1.0))
    compared = differences(b, a)
    assert compared.compared["lora"].difference > 0
    assert not compared.is_shown("lora")
    assert compared.p_holm == {}


def test_a_mean_has_an_interval_over_seeds_and_examples(tmp_path: Path) -> None:
    a = study(tmp_path / "a")
    table = method_table(a, "lora")
    assert not isinstance(table, str)
    interval = score_interval(table)
    assert interval is not None
    assert interval.low < table.scores.mean() < interval.high
    assert interval.difference == pytest.approx(table.scores.mean())


def test_settings_stand_once_where_all_methods_agree(tmp_path: Path) -> None:
    a = study(tmp_path / "a", settings={"full": {"rank": 4}, "lora": {"rank": 4, "lr": 1.0}})
    b = study(
        tmp_path / "b", methods=("lora", "full", "dora"), settings={"dora": {"rank": 9}, "lora": {"rank": 8}}
    )
    settings = settings_beside([a, b])
    assert settings["methods"] == [
        "full, lora" if a.evidence.names[0] == "full" else "lora, full",
        settings["methods"][1],
    ]
    assert settings["lr of lora"] == [1.0, 1e-4]
    assert settings["lr of full"] == [1e-4, 1e-4]
    assert settings["rank"] == [4, 8]  # full has none in b, and dora is not in a
    assert settings["train examples"] == [900, 900]


def test_runs_of_one_study_differ_in_method_and_seed_alone(tmp_path: Path) -> None:
    a = [*study(tmp_path / "a").evidence.records]
    assert are_settings_equal(a)
    other = study(tmp_path / "b", settings={"lora": {"lr": 1.0}}).evidence.records
    assert are_settings_equal(other)
    assert not are_settings_equal([*a, *other])
    moved = study(tmp_path / "c", methods=("dora",)).evidence.records[0]
    moved.asked["task"]["data"] = "elsewhere.csv"
    assert are_settings_equal([*a, moved])
    moved.asked["dtype"] = "bf16"
    assert not are_settings_equal([*a, moved])
