"""The statements of financial-demo's data card, checked on the CSV and on its banks."""

from __future__ import annotations

import csv
import functools
import importlib.util
import itertools
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "src" / "lowland" / "tasks" / "data"
BANKS = ROOT / "datasets" / "financial_demo"
SPLITS = ("train", "validation", "test", "shifted")
LABELS = {"negative", "neutral", "positive"}
CATEGORIES = {"plain", "numeric-context", "jargon", "forward-looking", "mixed-signal", "negation"}
SLOT = re.compile(r"\{(\w+)\}")
PAIRS = list(itertools.permutations(SPLITS, 2))

Row = dict[str, str]
Bank = dict[str, Any]


def load(path: Path) -> ModuleType:
    """Import a script by its path; scripts are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up here
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with (DATA / "financial_demo.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def banks() -> dict[str, Bank]:
    paths = {split: BANKS / f"{split}.yaml" for split in SPLITS}
    return {split: yaml.safe_load(path.read_text("utf-8")) for split, path in paths.items()}


@pytest.fixture(scope="module")
def make() -> ModuleType:
    return load(BANKS / "make.py")


def rows_of(rows: list[Row], split: str) -> list[Row]:
    return [row for row in rows if row["split"] == split]


def templates(bank: Bank) -> list[str]:
    cells = bank["templates"].values()
    return [text for labels in cells for texts in labels.values() for text in texts]


@functools.cache
def words(template: str) -> frozenset[str]:
    """The words of a template outside its slots."""
    return frozenset(re.findall(r"[a-z']+", SLOT.sub(" ", template.lower())))


def phrase_in(phrase: str, text: str) -> bool:
    """Whether ``phrase`` occurs in ``text`` as whole words, in any case."""
    return re.search(rf"(?<!\w){re.escape(phrase.lower())}(?!\w)", text.lower()) is not None


def test_file_is_utf8_with_line_feeds_and_five_columns(rows: list[Row]) -> None:
    raw = (DATA / "financial_demo.csv").read_bytes()
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    assert raw.decode("utf-8").splitlines()[0] == "text,label,split,category,group"
    assert all(None not in row and all(row.values()) for row in rows)


def test_sizes_of_the_splits(rows: list[Row]) -> None:
    sizes = Counter(row["split"] for row in rows)
    assert set(sizes) == set(SPLITS)
    assert len(rows) >= 1500
    assert 800 <= sizes["train"] <= 1000  # the demo trains nine models on it
    assert sizes["validation"] >= 120
    assert sizes["test"] >= 400
    assert sizes["shifted"] >= 200


@pytest.mark.parametrize("split", SPLITS)
def test_classes_are_balanced_in_every_category(rows: list[Row], split: str) -> None:
    part = rows_of(rows, split)
    cells = Counter((row["category"], row["label"]) for row in part)
    assert {category for category, _ in cells} == CATEGORIES
    assert {label for _, label in cells} == LABELS
    assert len(cells) == len(CATEGORIES) * len(LABELS)
    assert max(cells.values()) <= 1.25 * min(cells.values())


def test_every_category_of_test_has_fifty_sentences(rows: list[Row]) -> None:
    sizes = Counter(row["category"] for row in rows_of(rows, "test"))
    assert min(sizes.values()) >= 50


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_are_short(rows: list[Row], split: str) -> None:
    lengths = [len(row["text"].split()) for row in rows_of(rows, split)]
    assert max(lengths) <= 45
    assert 15 <= sum(lengths) / len(lengths) <= 25


def test_every_slot_is_filled_and_every_text_is_unique(rows: list[Row]) -> None:
    assert not [row["text"] for row in rows if re.search(r"[{}\[\]|]|  | ,", row["text"])]
    counts = Counter(re.sub(r"\W+", " ", row["text"].lower()).strip() for row in rows)
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(("source", "other"), PAIRS)
def test_no_filler_of_a_split_occurs_in_another(
    rows: list[Row], banks: dict[str, Bank], source: str, other: str
) -> None:
    text = "\n".join(row["text"] for row in rows_of(rows, other))
    fillers = [filler for fillers in banks[source]["fillers"].values() for filler in fillers]
    assert [filler for filler in fillers if phrase_in(filler, text)] == []


@pytest.mark.parametrize("split", SPLITS)
def test_every_list_of_fillers_has_a_slot(banks: dict[str, Bank], split: str) -> None:
    slots = {slot.rstrip("2") for text in templates(banks[split]) for slot in SLOT.findall(text)}
    assert set(banks[split]["fillers"]) <= slots


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(SPLITS, 2)))
def test_no_template_of_a_split_resembles_one_of_another(
    banks: dict[str, Bank], first: str, second: str
) -> None:
    """Fewer than half of the words of any two templates are shared (0.42 is the most measured)."""
    alike = [
        (template, other)
        for template, other in itertools.product(templates(banks[first]), templates(banks[second]))
        if 2 * len(words(template) & words(other)) >= len(words(template) | words(other))
    ]
    assert alike == []


def test_there_are_enough_templates(banks: dict[str, Bank]) -> None:
    counts = {split: len(set(templates(bank))) for split, bank in banks.items()}
    for split, least in {"train": 120, "validation": 35, "test": 90, "shifted": 60}.items():
        assert counts[split] >= least
    assert banks["train"]["sentences_per_template"] <= 8
    assert banks["test"]["sentences_per_template"] <= 5


def test_a_group_never_spans_two_splits_labels_or_categories(rows: list[Row]) -> None:
    for column in ("split", "label", "category"):
        pairs = {(row["group"], row[column]) for row in rows}
        assert len(pairs) == len({row["group"] for row in rows}), column


@pytest.mark.parametrize("split", SPLITS)
def test_a_group_holds_the_sentences_of_one_template(
    rows: list[Row], banks: dict[str, Bank], make: ModuleType, split: str
) -> None:
    bank = banks[split]
    groups: dict[str, set[str]] = {}
    for row in rows_of(rows, split):
        groups.setdefault(row["group"], set()).add(row["text"])
    in_order = [
        make.Template(split, category, label, text)
        for category in make.CATEGORIES
        for label in make.LABELS
        for text in bank["templates"][category][label]
    ]
    assert len(groups) == len(in_order)
    for number, template in enumerate(in_order, start=1):
        assert groups[f"{split}-{number:03d}"] == set(make.expand(template, bank))


def test_banks_give_the_csv_byte_for_byte(make: ModuleType) -> None:
    assert make.make_csv() == (DATA / "financial_demo.csv").read_bytes()


def test_check_finds_a_changed_file(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "financial_demo.csv"
    changed.write_bytes(make.make_csv().replace(b",positive,", b",neutral,", 1))
    monkeypatch.setattr(make, "CSV_PATH", changed)
    assert make.main(["--check"]) == 1
    assert make.main([]) == 0
    assert make.main(["--check"]) == 0


def test_numbers_drawn_together_are_ordered(make: ModuleType) -> None:
    for name, kind in make.KINDS.items():
        for seed in range(300):
            drawn = make.draw_numbers(kind, make.random.Random(seed))
            assert float(drawn["lo"]) < float(drawn["mid"]) < float(drawn["hi"]), (name, seed)


def test_a_template_with_too_few_slots_is_refused(make: ModuleType) -> None:
    template = make.Template("train", "plain", "neutral", "The same words each time.")
    with pytest.raises(ValueError, match="add a slot or a choice"):
        make.expand(template, {"fillers": {}, "sentences_per_template": 2})


def test_data_card_gives_the_sizes(rows: list[Row]) -> None:
    card = (DATA / "financial_demo.md").read_text(encoding="utf-8")
    for split in SPLITS:
        size, groups = len(rows_of(rows, split)), len({row["group"] for row in rows_of(rows, split)})
        assert re.search(rf"^\| {split} \| {size} \| {size // 3} \| {groups} \|", card, re.M), split
    assert f"line feeds): {', '.join(f'`{column}`' for column in rows[0])}. " in card


def test_word_counts_do_not_solve_the_test_split(rows: list[Row]) -> None:
    baseline = load(ROOT / "benchmarks" / "financial_demo_baseline.py")
    result = baseline.run(rows)
    assert result["best_test_accuracy"] < baseline.LIMIT == 0.85
    assert result["scores"]["majority"]["test"]["accuracy"] < 0.4
