"""Properties of the readers of items: rows come back as they were written, and damage is a sentence with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.items import ITEMS_FOLDER, KINDS, facts, languages, messy_items
from lowland.stress.asking.prices import read_prices
from tests.strategies import CELLS, VALUES, mutated

SHARED = settings(suppress_health_check=list(HealthCheck))
FILLED = CELLS.filter(lambda text: text.strip() != "")
ROW = st.fixed_dictionaries(
    {
        "topic": FILLED,
        "kind": st.sampled_from(KINDS),
        "question": FILLED,
        "answers": st.lists(FILLED, min_size=1, max_size=3),
    }
)
GOOD = {"id": "x", "topic": "t", "kind": "name", "question": "q?", "answers": ["a"], "protect": ["q"]}


@settings(SHARED, max_examples=40)
@given(rows=st.lists(ROW, min_size=1, max_size=4), ascii=st.booleans())
def test_items_come_back_as_they_were_written(
    tmp_path: Path, rows: list[dict[str, Any]], ascii: bool
) -> None:
    path = tmp_path / "items.jsonl"
    numbered = [{"id": f"item-{number}", **row} for number, row in enumerate(rows)]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=ascii) for row in numbered), encoding="utf-8")
    read = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in vars(item).items()}
        for item in messy_items(path)
    ]
    assert [{name: item[name] for name in row} for item, row in zip(read, numbered, strict=True)] == numbered


@settings(SHARED, max_examples=80)
@given(name=st.sampled_from([*GOOD, "colour"]), value=VALUES)
@example("protect", 10**5000 // 7)
@example("answers", "a")
@example("answers", [1])
def test_any_value_of_an_item_is_read_or_refused_with_its_line(tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "items.jsonl"
    text = "1" * 5000 if isinstance(value, int) and abs(value) > 10**4000 else json.dumps(value)
    row = json.dumps({**GOOD, name: "?"}).replace('"?"', text, 1)
    path.write_text(f"{json.dumps({**GOOD, 'id': 'other'})}\n{row}\n", encoding="utf-8")
    try:
        item = messy_items(path)[1]
    except Mistake as mistake:
        problems = mistake.problems
    else:
        kept = getattr(item, name)
        assert (list(kept) if isinstance(kept, tuple) else kept) == value
        return
    assert all("line 2" in problem for problem in problems)


@settings(SHARED, max_examples=40)
@given(data=st.data(), name=st.sampled_from(["messy.jsonl", "facts.jsonl", "prices.yaml"]))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, data: st.DataObject, name: str) -> None:
    path = tmp_path / name
    prices = b"a/b: {input: 3, output: 15}\nc/d: {input: .5, output: 1e1}\n"
    content = prices if name == "prices.yaml" else (ITEMS_FOLDER / name).read_bytes()[:5000]
    path.write_bytes(data.draw(mutated(content)))
    read = {"messy.jsonl": messy_items, "facts.jsonl": facts, "prices.yaml": read_prices}[name]
    mistake = None
    try:
        read(path)
    except Mistake as error:
        mistake = error
    assert mistake is None or all(str(tmp_path) in problem for problem in mistake.problems)


@settings(SHARED, max_examples=25)
@given(data=st.data())
def test_a_damaged_language_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "languages").mkdir(exist_ok=True)
    content = (ITEMS_FOLDER / "languages" / "english.json").read_bytes()
    (tmp_path / "languages" / "english.json").write_bytes(data.draw(mutated(content)))
    mistake = None
    try:
        languages(tmp_path)
    except Mistake as error:
        mistake = error
    assert mistake is None or all(str(tmp_path) in problem for problem in mistake.problems)


def test_a_language_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "english.json").write_text('{"a":' * 100_000)
    with pytest.raises(Mistake, match=r"english\.json: cannot be read as JSON \(it is nested too deeply\)"):
        languages(tmp_path)
