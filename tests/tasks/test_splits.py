"""Splits: stratified, with a seed of their own, without leaks; and the scores of answers."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.tasks.examples import Split, TaskData, TaskFields
from lowland.tasks.readers.originals import read_phrasebank, read_sms
from lowland.tasks.splits import Roles, make_splits
from tests.conftest import table_of

NAMES = ("train", "validation", "test")


def split(table: pd.DataFrame, **changes: Any) -> TaskData:
    return make_splits(table, "my.csv", TaskFields(name="classification", **changes))


def count_labels(part: Split) -> dict[str, int]:
    return dict(Counter(part["label"]))


def problems(table: pd.DataFrame, **changes: Any) -> tuple[str, ...]:
    with pytest.raises(Mistake) as caught:
        split(table, **changes)
    return caught.value.problems


def classes(**sizes: int) -> pd.DataFrame:
    """A table with this number of different texts for each label."""
    rows = [(f"{label} text {number}", label) for label, size in sizes.items() for number in range(size)]
    return pd.DataFrame(rows, columns=["text", "label"])


def frame(*rows: tuple[str, ...]) -> pd.DataFrame:
    """Rows of (text, label) or (text, label, split)."""
    return pd.DataFrame(rows, columns=["text", "label", "split"][: len(rows[0])])


def places(data: TaskData) -> dict[int, str]:
    """The split of each example; no example is in two."""
    placed = [(int(number), name) for name, part in data.splits.items() for number in part.examples]
    assert len(placed) == len({number for number, _ in placed})
    return dict(placed)


def plain(text: str) -> str:
    """What counts as the same text, in the test's own words (for ASCII)."""
    return " ".join(word for word in text.replace("\t", " ").lower().split(" ") if word)


def assert_no_leaks(data: TaskData) -> None:
    seen: dict[str, str] = {}
    for name, part in data.splits.items():
        for text in part["text"]:
            assert seen.setdefault(plain(text), name) == name, text


def assert_true_to(data: TaskData, table: pd.DataFrame) -> None:
    """Every example is a row of the table with its own text and label, in the order of the table."""
    for part in data.splits.values():
        for name in ("text", "label"):
            assert list(part[name]) == [table[name].iloc[i] for i in part.examples]
        assert list(part.examples) == sorted(part.examples)
        assert (
            len(part)
            == len(part["text"])
            == len(part["label"])
            == len(part.examples)
            == len(part.groups)
            == len(part.categories)
        )


def same(first: TaskData, second: TaskData) -> bool:
    return first.sha256 == second.sha256 and places(first) == places(second)


# The shares, and their stratification


@given(
    sizes=st.lists(st.integers(12, 90), min_size=2, max_size=4),
    test=st.floats(0.1, 0.4),
    validation=st.floats(0.05, 0.3),
    seed=st.integers(0, 2**40),
)
@settings(deadline=None, max_examples=25)
def test_every_split_has_its_share_of_every_label(sizes, test, validation, seed):
    """Shares are met to within one text. Every split has at least one text of every label."""
    table = classes(**{"abcd"[i]: size for i, size in enumerate(sizes)})
    data = split(table, test_share=test, validation_share=validation, split_seed=seed)
    assert sorted(places(data)) == list(range(len(table)))
    assert_true_to(data, table)
    assert_no_leaks(data)
    n, k = len(table), len(sizes)
    for name, share in (("test", test), ("validation", validation), ("train", 1 - test - validation)):
        size = len(data.splits[name])
        if name != "train":
            assert abs(size - max(share * n, k)) <= 1
        counts = count_labels(data.splits[name])
        for label, whole in zip("abcd", sizes, strict=False):
            assert abs(counts.get(label, 0) - size * whole / n) <= 2


def test_the_labels_of_a_share_that_fits_are_met_exactly():
    data = split(classes(a=600, b=300, c=100), test_share=0.2, validation_share=0.1)
    assert {name: count_labels(part) for name, part in data.splits.items()} == {
        "test": {"a": 120, "b": 60, "c": 20},
        "validation": {"a": 60, "b": 30, "c": 10},
        "train": {"a": 420, "b": 210, "c": 70},
    }


def test_five_texts_a_label_are_enough_for_all_splits_to_have_every_label():
    data = split(classes(a=5, b=5))
    assert {name: count_labels(part) for name, part in data.splits.items()} == {
        "train": {"a": 3, "b": 3}, "validation": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1},
    }  # fmt: skip


# The seed


def test_a_split_depends_on_its_own_seed_and_on_no_other_randomness():
    table = table_of()
    first = split(table)
    for seed in (1, 42):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        assert same(split(table), first)
    assert not same(split(table, split_seed=1), first)


def test_a_split_draws_from_no_global_generator():
    """Otherwise the model's head would depend on whether the data was split before it was built."""
    np.random.seed(0)
    random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()
    split(table_of())
    assert (np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()) == before


def test_seeds_give_unrelated_test_sets():
    """Of 200 texts, 40 are held out: two seeds share 8 by chance, give or take 2.3."""
    table = classes(a=100, b=100)
    held = [set(split(table, split_seed=seed).splits["test"].examples) for seed in range(6)]
    shared = [len(first & second) for i, first in enumerate(held) for second in held[:i]]
    assert 5 < np.mean(shared) < 11
    assert max(shared) < 22


def test_the_table_is_left_as_it_was():
    table = table_of()
    before = table.copy()
    split(table)
    pd.testing.assert_frame_equal(table, before)


def test_the_index_of_the_table_does_not_matter():
    table = table_of()
    assert same(split(table.set_axis(np.arange(len(table))[::-1] * 3)), split(table))


# A part of the training examples


@given(
    sizes=st.lists(st.integers(6, 60), min_size=2, max_size=5),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=25)
def test_max_train_keeps_the_shares_of_the_labels_and_all_other_splits(sizes, share, seed):
    table = classes(**{"abcde"[i]: size for i, size in enumerate(sizes)})
    whole = split(table, split_seed=seed)
    available = len(whole.splits["train"])
    number = max(len(sizes), round(share * available))
    data = split(table, split_seed=seed, max_train=number)
    assert len(data.splits["train"]) == number
    assert set(data.splits["train"].examples) <= set(whole.splits["train"].examples)
    assert_true_to(data, table)
    for name in ("validation", "test"):
        assert data.splits[name].columns == whole.splits[name].columns
        assert data.splits[name].groups == whole.splits[name].groups
    before, after = count_labels(whole.splits["train"]), count_labels(data.splits["train"])
    assert data.label_names == tuple(sorted(after))
    for label, count in before.items():
        assert after[label] == pytest.approx(count * number / available, abs=1) or after[label] == 1
    assert (data.sha256 == whole.sha256) == (number == available)


def test_max_train_is_drawn_with_the_split_seed_from_the_whole_table():
    """The splits are the table's own, so that the seed draws nothing else."""
    table = classes(a=200, b=200)
    table["split"] = ["train", "train", "dev", "test"] * 100
    drawn = [set(split(table, max_train=20, split_seed=seed).splits["train"].examples) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0] & drawn[2]) < 8  # of 20; 2 by chance
    first = [row for start in (0, 200) for row in sorted(drawn[0]) if start <= row < start + 20]
    assert len(first) < 8  # not the first rows of each label


def test_a_smaller_max_train_is_part_of_a_larger_one():
    table = classes(a=200, b=100)
    small, large = (set(split(table, max_train=n).splits["train"].examples) for n in (30, 90))
    assert small < large


def test_a_rare_label_keeps_an_example():
    table = classes(a=500, b=500, c=6)
    assert count_labels(split(table, max_train=10).splits["train"])["c"] == 1


def test_max_train_leaves_the_tables_own_splits_as_they_are():
    table = classes(a=40, b=40)
    table["split"] = ["train", "train", "dev", "test"] * 20
    data = split(table, max_train=8)
    assert {name: len(part) for name, part in data.splits.items()} == {
        "train": 8,
        "validation": 20,
        "test": 20,
    }


def test_a_max_train_below_the_number_of_labels_is_refused_and_one_above_the_examples_is_said():
    table = classes(a=20, b=20, c=20)
    (problem,) = problems(table, max_train=2)
    assert problem == (
        "max_train is 2, and the training examples have 3 labels; each needs an example, so give at least 3"
    )
    train = len(split(table).splits["train"])
    assert split(table, max_train=train).remarks == ()
    (remark,) = split(table, max_train=1000).remarks
    assert remark == f"max_train is 1,000, and there are {train} training examples, which are all used"
    with pytest.raises(Mistake, match="max_train is 0; it must be at least 1"):
        split(table, max_train=0)


# Duplicates


def copies(data: st.DataObject) -> pd.DataFrame:
    """A table with repeated texts: unchanged, in capitals, with more spaces, with another label."""
    base = classes(a=data.draw(st.integers(20, 30)), b=data.draw(st.integers(20, 30)))
    variants = [
        str,
        str.upper,
        str.title,
        "  {} ".format,
        lambda t: t.replace(" ", "  "),
        lambda t: t.replace(" ", "\t"),
    ]
    copy = st.tuples(st.integers(0, len(base) - 1), st.sampled_from(variants), st.sampled_from("ab"))
    chosen = data.draw(st.lists(copy, min_size=1, max_size=12))
    more = frame(*[(change(base["text"][row]), label) for row, change, label in chosen])
    table = pd.concat([base, more], ignore_index=True)
    return table.sample(frac=1, random_state=data.draw(st.integers(0, 99))).reset_index(drop=True)


@given(st.data(), st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_duplicates_of_a_text_never_cross_a_split(data, seed):
    table = copies(data)
    task_data = split(table, split_seed=seed)
    assert_no_leaks(task_data)
    assert_true_to(task_data, table)
    assert task_data.dropped == 0
    assert sorted(places(task_data)) == list(range(len(table)))  # and no row is lost


def test_all_but_the_same_text_goes_together():
    variants = ["Sales rose", "sales rose", "SALES  ROSE", " Sales\trose ", "Sales\nrose", "Sales\u00a0rose"]
    table = pd.concat([frame(*[(text, "ab"[i % 2]) for i, text in enumerate(variants)]), classes(a=20, b=20)])
    for seed in range(8):
        where = places(split(table, split_seed=seed))
        assert len({where[number] for number in range(len(variants))}) == 1


def test_the_unicode_forms_of_a_text_are_the_same_text():
    table = pd.concat([frame(("Le café", "a"), ("Le cafe\u0301", "b")), classes(a=10, b=10)])
    for seed in range(8):
        where = places(split(table, split_seed=seed))
        assert where[0] == where[1]


def test_sharp_s_and_its_capitals_are_the_same_text():
    table = pd.concat([frame(("Die Straße", "a"), ("DIE STRASSE", "b")), classes(a=10, b=10)])
    for seed in range(8):
        where = places(split(table, split_seed=seed))
        assert where[0] == where[1]


def test_different_texts_are_not_taken_for_the_same():
    """Word order and punctuation distinguish texts."""
    table = pd.concat(
        [frame(("rose sales", "a"), ("sales rose", "a"), ("sales rose.", "a")), classes(a=9, b=12)]
    )
    seeds = [places(split(table, split_seed=seed)) for seed in range(20)]
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert any(where[first] != where[second] for where in seeds)


def test_shares_are_of_different_texts():
    """One text that occurs 500 times does not fill the test set."""
    table = pd.concat([classes(a=50, b=50), frame(*[("a text 0", "a")] * 500)])
    data = split(table)
    distinct = {name: len({plain(text) for text in part["text"]}) for name, part in data.splits.items()}
    assert distinct == {"test": 20, "validation": 10, "train": 70}


# Examples without labels, and groups that stay together


UNLABELLED = Roles(("prompt",), label=None, targets=("reply",), together=("group",))


def chats(count: int, turns: int = 3) -> pd.DataFrame:
    """Chats of some turns, which all have the same second prompt."""
    rows = [
        (f"tell {chat}" if turn == 0 else f"and {turn}", f"of {chat}", f"chat {chat}")
        for chat in range(count)
        for turn in range(turns)
    ]
    return pd.DataFrame(rows, columns=["prompt", "reply", "group"])


def split_chats(table: pd.DataFrame, roles: Roles = UNLABELLED, **changes: Any) -> TaskData:
    return make_splits(table, "chats", TaskFields(name="instruction", **changes), roles=roles)


@pytest.mark.parametrize("seed", range(4))
def test_a_group_is_in_one_split_and_no_row_is_lost(seed: int) -> None:
    data = split_chats(chats(30), split_seed=seed)
    assert {name: len(part) for name, part in data.splits.items()} == {
        "train": 63,
        "validation": 9,
        "test": 18,
    }
    assert (data.label_names, data.dropped, data.remarks) == ((), 0, ())
    homes: dict[str, str] = {}
    for name, part in data.splits.items():
        assert set(part.columns) == {"prompt", "reply"}
        for group in part.groups:
            assert homes.setdefault(group, name) == name
    assert len(homes) == 30


def test_of_the_tables_own_splits_a_group_keeps_the_last_one() -> None:
    table = chats(20).assign(split=lambda rows: ["test" if n < 15 else "train" for n in rows.index])
    data = split_chats(table)
    assert data.dropped == 0  # the same prompt within other chats is no copy
    table.loc[len(table)] = ["tell 1, again", "of 1", "chat 1", "train"]
    assert split_chats(table).dropped == 1
    by_prompt = Roles(("prompt",), label=None, targets=("reply",))
    assert split_chats(table, by_prompt).dropped > 20


def test_without_labels_the_splits_need_enough_different_groups() -> None:
    with pytest.raises(
        Mistake, match="chats has 4 different groups to take 'test' from; it needs at least 5"
    ):
        split_chats(chats(4))


def test_what_is_to_be_written_changes_the_hash_of_the_data() -> None:
    table = chats(10)
    assert split_chats(table).sha256 == split_chats(table.copy()).sha256
    for column in ("prompt", "reply", "group"):
        changed = table.assign(**{column: table[column].where(table.index > 0, "other")})
        assert split_chats(changed).sha256 != split_chats(table).sha256


def test_rows_without_a_prompt_are_refused() -> None:
    table = chats(10)
    table.loc[3, "prompt"] = " "
    with pytest.raises(Mistake, match="chats has 1 row without a prompt, the first is row 4"):
        split_chats(table)


# The table's own splits


def own(train: int = 12, test: int = 5) -> pd.DataFrame:
    base = classes(a=train, b=train).assign(split="train")
    held = classes(a=test, b=test).assign(split="test", text=lambda t: "held " + t["text"])
    return pd.concat([base, held], ignore_index=True)


def test_the_tables_own_test_set_is_kept_and_validation_is_taken_from_training():
    table = own()
    for seed in range(4):
        data = split(table, split_seed=seed, test_share=0.9, validation_share=0.05)
        assert list(data.splits["test"].examples) == list(range(24, 34))
        assert len(data.splits["validation"]) == 2
        assert sorted(places(data)) == list(range(34))
        assert data.dropped == 0


@pytest.mark.parametrize("name", ["validation", "dev", "valid"])
def test_the_tables_own_validation_set_is_kept(name):
    table = own()
    table.loc[[3, 15], "split"] = name
    data = split(table)
    assert list(data.splits["validation"].examples) == [3, 15]
    assert set(data.splits) == set(NAMES)


def test_further_splits_are_test_sets_by_their_names():
    table = pd.concat([own(), frame(("oddly put a", "a", "shifted"), ("oddly put b", "b", "another"))])
    data = split(table)
    assert data.test_sets == ("test", "another", "shifted")
    assert data.splits["shifted"]["text"] == ("oddly put a",)


@pytest.mark.parametrize("variant", ["held a text 1", "HELD  A text 1 ", "held\ta text 1"])
@pytest.mark.parametrize("label", ["a", "b"])
def test_a_training_text_that_leaks_into_the_tables_own_test_set_is_dropped_from_training(variant, label):
    table = pd.concat([own(), frame((variant, label, "train"))], ignore_index=True)
    data = split(table)
    assert_no_leaks(data)
    assert_true_to(data, table)
    assert data.dropped == data.describe()["dropped_duplicates"] == 1
    assert set(range(len(table))) - set(places(data)) == {len(table) - 1}


def test_the_last_split_keeps_a_text_that_occurs_in_three():
    rows = [
        ("Leak", "a", "train"),
        ("LEAK", "b", "validation"),
        ("leak ", "a", "test"),
        ("v", "b", "validation"),
    ]
    table = pd.concat([own(), frame(*rows)], ignore_index=True)
    data = split(table)
    assert_no_leaks(data)
    assert data.dropped == 2
    assert "leak " in data.splits["test"]["text"]
    assert data.splits["validation"]["text"] == ("v",)


def test_a_validation_text_beats_a_training_text():
    rows = [("Leak", "a", "train"), ("LEAK", "b", "validation")]
    data = split(pd.concat([own(), frame(*rows)], ignore_index=True))
    assert data.splits["validation"]["text"] == ("LEAK",)
    assert data.dropped == 1


@given(st.data(), st.lists(st.sampled_from(["train", "test"]), min_size=200, max_size=200))
@settings(deadline=None, max_examples=20)
def test_no_split_column_can_cause_a_leak(data, column):
    base = own().assign(text=lambda t: "own " + t["text"])
    table = copies(data)
    table["split"] = column[: len(table)]
    table = pd.concat([base, table], ignore_index=True)
    task_data = split(table)
    assert_no_leaks(task_data)
    assert_true_to(task_data, table)
    assert task_data.dropped == len(table) - len(places(task_data))
    test_rows = {number for number, name in enumerate(table["split"]) if name == "test"}
    assert set(map(int, task_data.splits["test"].examples)) == test_rows  # no test row is ever dropped


# Groups


@given(st.data())
@settings(deadline=None, max_examples=20)
def test_copies_of_a_text_are_one_group_and_different_texts_are_not(data):
    task_data = split(copies(data))
    texts = [plain(text) for part in task_data.splits.values() for text in part["text"]]
    groups = [group for part in task_data.splits.values() for group in part.groups]
    assert len(set(zip(texts, groups, strict=True))) == len(set(texts)) == len(set(groups))


def test_the_tables_own_groups_are_kept():
    table = classes(a=20, b=20).assign(group=[f"g{i // 4}" for i in range(40)])
    for part in split(table).splits.values():
        assert list(part.groups) == [f"g{i // 4}" for i in part.examples]


# The record of the data


def test_equal_data_has_equal_hashes_and_any_change_another():
    """With fixed splits, so that changing one cell changes only that cell."""
    table = own()
    table.loc[[3, 15], "split"] = "validation"
    first = split(table).sha256
    assert split(table.copy()).sha256 == first
    for row in (0, 3, len(table) - 1):
        for column, value in (("text", "another"), ("label", "b" if row < 12 else "a"), ("split", "shifted")):
            changed = table.copy()
            changed.loc[row, column] = value
            assert split(changed).sha256 != first, (row, column)
    assert split(table.iloc[::-1]).sha256 != first


def test_another_split_of_the_same_data_has_another_hash():
    table = table_of(4)
    assert split(table, split_seed=1).sha256 != split(table).sha256


def test_the_hash_tells_where_a_label_ends_and_a_text_begins():
    parts = ["train"] * 10 + ["validation"] * 2 + ["test"] * 4
    first = frame(*[(f"x{i}", f"a{i % 2}", part) for i, part in enumerate(parts)])
    second = frame(*[(f"{i % 2}x{i}", "a", part) for i, part in enumerate(parts)])
    more = [(f"y{i}", "z", part) for i, part in enumerate(("train", "validation", "test"))]
    first, second = (pd.concat([table, frame(*more)]) for table in (first, second))
    assert split(first).sha256 != split(second).sha256


def test_a_description_is_plain_and_says_what_was_used():
    data = split(classes(b=40, a=40))
    assert data.describe() == {
        "source": "my.csv", "sha256": data.sha256, "labels": ["a", "b"], "dropped_duplicates": 0,
        "sizes": {"test": 16, "train": 56, "validation": 8},
    }  # fmt: skip


def test_label_names_are_sorted_texts_and_numbers_become_texts():
    table = classes(a=10, b=10)
    data = split(table.assign(label=[2] * 10 + [10] * 10))
    assert data.label_names == ("10", "2")
    assert set(data.splits["test"]["label"]) == {"2", "10"}


def test_categories_go_with_their_rows_and_are_empty_where_there_are_none():
    table = classes(a=10, b=10).assign(category=[f"c{i}" for i in range(20)])
    for part in split(table).splits.values():
        assert list(part.categories) == [f"c{i}" for i in part.examples]
    for part in split(table.drop(columns="category")).splits.values():
        assert set(part.categories) == {""}


# Bad tables


def test_an_empty_table_is_reported():
    assert problems(table_of()[:0]) == ("my.csv holds no rows",)


@pytest.mark.parametrize("column", ["text", "label"])
@pytest.mark.parametrize("blank", ["", "  \t\n", None, float("nan")])
def test_an_empty_cell_is_reported_by_its_row(column, blank):
    table = table_of().astype(object)
    table.loc[[4, 9], column] = blank
    (message,) = problems(table)
    assert message.startswith(f"my.csv has 2 rows without a {column}, the first is row 5;")


def test_a_single_label_is_reported():
    (message,) = problems(classes(good=20))
    assert "one label only" in message
    assert "good" in message


def test_labels_that_look_like_ids_are_reported():
    table = table_of()
    (message,) = problems(table.assign(label=[f"id{i}" for i in range(len(table))]))
    assert f"{len(table)} labels in {len(table)} rows; is the label column the right one?" in message


@pytest.mark.parametrize("few", [1, 2, 3])
def test_a_label_with_too_few_texts_is_reported_by_name(few):
    (message,) = problems(classes(common=30, scarce=few))
    assert f"scarce has {few} text" in message
    assert "common has" not in message


def test_copies_of_a_text_do_not_make_it_several():
    table = pd.concat([classes(common=30, scarce=3), frame(*[("Scarce  TEXT 0", "scarce")] * 9)])
    (message,) = problems(table)
    assert "scarce has 3 texts" in message


def test_all_test_labels_missing_from_train_are_reported():
    rows = [("p", "new", "test"), ("q", "newer", "test"), ("r", "newest", "shifted")]
    messages = problems(pd.concat([own(), frame(*rows)]))
    assert len(messages) == 3
    for label, name in (("new", "test"), ("newer", "test"), ("newest", "shifted")):
        assert any(
            f"label '{label}' is in the split '{name}', but not in 'train'" in message for message in messages
        )


def test_a_label_that_loses_all_training_texts_as_leaks_is_reported():
    rows = [(f"leak {i}", "rare", name) for i in range(4) for name in ("train", "test")]
    table = pd.concat([own(), frame(*rows)])
    assert any(
        "label 'rare' is in the split 'test', but not in 'train'" in message for message in problems(table)
    )


def test_a_split_column_without_a_test_set_is_reported():
    table = own()
    table["split"] = table["split"].replace({"test": "shifted"})
    (message,) = problems(table)
    assert "no rows of its own for the split 'test'" in message
    assert "shifted" in message


# Public data


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("financial_phrasebank/Sentences_50Agree.txt", read_phrasebank),
        ("sms_spam/SMSSpamCollection", read_sms),
    ],
)
def test_the_duplicates_of_public_data_never_cross_a_split(shared_data, name, read):
    table = read(shared_data(name))
    data = split(table)
    assert len({plain(text) for text in table["text"]}) < len(table)  # the data set has some copies
    assert_no_leaks(data)
    assert_true_to(data, table)
    assert data.dropped == 0
    whole = table["label"].value_counts(normalize=True)
    for part in data.splits.values():
        counts = count_labels(part)
        for label, share in whole.items():
            assert counts[label] / len(part) == pytest.approx(share, abs=0.02)


def test_four_texts_a_label_are_too_few_and_five_are_enough():
    with pytest.raises(Mistake, match=r"a has 4 texts, b has 4 texts .* at least 5"):
        split(classes(a=4, b=4))
    assert set(split(classes(a=5, b=5)).splits) == {
        "train",
        "validation",
        "test",
    }


@pytest.mark.parametrize(
    ("size", "test", "validation"), [(50, 0.5, 0.49), (100, 0.9, 0.0999), (4, 0.85, 0.1)]
)
def test_shares_that_leave_too_little_are_a_mistake_and_not_an_sklearn_error(size, test, validation):
    with pytest.raises(Mistake, match=r"too few of each label|every label needs at least"):
        split(classes(a=size, b=size), test_share=test, validation_share=validation)


@pytest.mark.parametrize("name", ["Train", "training", "test"])
def test_a_split_column_that_names_no_training_rows_is_a_mistake(name):
    with pytest.raises(Mistake, match="train"):
        split(classes(a=10, b=10).assign(split=name))


def every_fourth():
    table = classes(a=20, b=20).assign(split="train")
    table.loc[table.index % 4 == 0, "split"] = "test"
    return table


@pytest.mark.parametrize("blank", [None, "", " "])
def test_an_empty_cell_in_the_split_column_is_reported(blank):
    table = every_fourth().astype(object)
    table.loc[3, "split"] = blank
    with pytest.raises(Mistake, match="row 4"):
        split(table)


@pytest.mark.parametrize("name", ["val", "Validation", "validation "])
def test_val_is_the_validation_set(name):
    table = every_fourth()
    table.loc[[1, 21], "split"] = name
    data = split(table)
    assert list(data.splits["validation"].examples) == [1, 21]


def test_a_validation_set_equal_to_the_test_set_does_not_vanish():
    held = classes(a=4, b=4).assign(text=lambda t: "held " + t["text"])
    table = pd.concat(
        [
            classes(a=20, b=20).assign(split="train"),
            held.assign(split="validation"),
            held.assign(split="test"),
        ]
    )
    try:
        data = split(table)
    except Mistake:
        return
    assert len(data.splits["validation"])  # KeyError: the trainer evaluates on splits["validation"]


@pytest.mark.parametrize("seed", range(6))
def test_validation_is_taken_after_leaks_are_dropped(seed):
    train = classes(a=20, b=20).assign(split="train")  # 16 of 20 a label leak into the table's own test set
    leaks = train[train.index % 20 < 16].assign(split="test", text=lambda t: t["text"].str.upper())
    data = split(pd.concat([train, leaks]), split_seed=seed)
    assert {"train", "validation", "test"} == set(data.splits)


def test_remarks_speak_of_the_rows_that_are_used() -> None:
    table = pd.DataFrame({"text": [f"text {n}" for n in range(200)], "label": ["a", "b"] * 100})
    table.loc[len(table)] = ["text 0", "b"]
    fields = TaskFields(name="classification")
    assert any("different labels" in remark for remark in make_splits(table, "a table", fields).remarks)
    left_out = [
        not any("different labels" in remark for remark in data.remarks)
        for data in (
            make_splits(table, "a table", fields.replace(max_train=4, split_seed=seed)) for seed in range(8)
        )
    ]
    assert any(left_out)  # where the copies are training examples that were not drawn
