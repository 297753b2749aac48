"""A small suite for the tiny models of the tests, and a model whose pass rates are known by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

SUITE = """\
name: toy
about: firms that gain and lose
cases: 12
slots:
  who: [the firm, its unit, a bank]
tests:
  - name: verbs
    capability: vocabulary
    kind: minimum functionality
    templates: {good: ["{who} gains", "{who} wins"], bad: ["{who} falls", "{who} loses"]}
  - name: names
    capability: named entities
    kind: invariance
    change: {exchange: who}
    templates: ["{who} gains", "{who} fails"]
  - name: added
    capability: added sentences
    kind: direction
    label: good
    must: not fall
    change: {append: [it wins, it fails]}
    templates: ["{who} gains", "{who} loses"]
"""
PASSED = {"verbs": 8, "names": 8, "added": 7}
"""Number of the 12 cases of each test that `Oracle` passes.

- verbs: `gains` without the bank (2 of 3), no `wins` (0 of 3), `falls` and `loses` (6 of 6);
- names: `gains` if the bank is in neither text (2 of 6), `fails` (6 of 6);
- added: `it wins` changes nothing (6 of 6), `it fails` lowers p by more than 0.1 but for `a bank loses`, whose p is 0.
"""


class Oracle:
    """Predictor with rules: p(good) is 0.9 for `gains`, else 0.2, and 0.5 less each for `fails` and for `a bank`."""

    task = SimpleNamespace(input_columns=("text",))
    setup = SimpleNamespace(max_length=128)

    def encode(self, columns: dict[str, list[str]]) -> Any:
        return SimpleNamespace(truncation=SimpleNamespace(sentence=lambda length: ""))

    def answer(self, columns: dict[str, list[str]]) -> pd.DataFrame:
        good = [self.p(text) for text in columns["text"]]
        predicted = ["good" if p > 0.5 else "bad" for p in good]
        return pd.DataFrame({"predicted": predicted, "p_good": good, "p_bad": [1 - p for p in good]})

    def p(self, text: str) -> float:
        p = 0.9 if "gains" in text else 0.2
        return max(0.0, p - 0.5 * ("fails" in text) - 0.5 * text.startswith("a bank"))


def write_suite(folder: Path, text: str = SUITE) -> Path:
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path
