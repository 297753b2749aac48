"""The balanced form of SMS spam: as many messages of each label, 70/10/20."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lowland.tasks.examples import TaskData
from lowland.tasks.table import load_data, task_fields


def sms_file(path: Path, ham: int, spam: int) -> Path:
    rows = [
        f"{label}\t{path.name} {label} {i}\n" for label, n in (("ham", ham), ("spam", spam)) for i in range(n)
    ]
    path.write_text("".join(rows))
    return path


def load(path: Path, **fields: object) -> TaskData:
    return load_data(task_fields("sms-spam-balanced", data=str(path), **fields))


def counts(data: TaskData) -> dict[str, Counter[str]]:
    return {name: Counter(split["label"]) for name, split in data.splits.items()}


def test_each_split_has_as_many_of_each_label_in_the_shares_of_the_lesson(tmp_path: Path) -> None:
    data = load(sms_file(tmp_path / "sms", ham=500, spam=100))
    assert counts(data) == {
        "train": {"ham": 70, "spam": 70}, "validation": {"ham": 10, "spam": 10}, "test": {"ham": 20, "spam": 20},
    }  # fmt: skip


def test_the_rarer_label_is_whole_and_the_draw_depends_on_the_split_seed_alone(tmp_path: Path) -> None:
    path = sms_file(tmp_path / "sms", ham=60, spam=20)

    def drawn(seed: int) -> dict[str, set[str]]:
        data = load(path, split_seed=seed)
        rows = [
            row for split in data.splits.values() for row in zip(split["label"], split["text"], strict=True)
        ]
        return {label: {text for name, text in rows if name == label} for label in ("ham", "spam")}

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert first == again
    assert first["spam"] == other["spam"]
    assert (len(first["spam"]), len(first["ham"])) == (20, 20)
    assert first["ham"] != other["ham"]


def test_a_test_file_is_balanced_by_itself(tmp_path: Path) -> None:
    train, test = sms_file(tmp_path / "train", ham=40, spam=20), sms_file(tmp_path / "later", ham=9, spam=30)
    data = load(train, test_data=str(test))
    assert counts(data)["test"] == {"ham": 9, "spam": 9}
    assert counts(data)["train"] + counts(data)["validation"] == {"ham": 20, "spam": 20}


@pytest.mark.data
def test_the_real_messages(shared_data: Callable[[str], Path]) -> None:
    data = load(shared_data("sms_spam/SMSSpamCollection"))
    total = Counter(label for split in data.splits.values() for label in split["label"])
    assert total == {"ham": 747, "spam": 747}
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert len(data.splits[name]) / 1494 == pytest.approx(share, abs=0.01)
