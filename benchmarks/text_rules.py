"""How often do the rules of `lowland errors` for kinds of texts err?

Precision and recall of each rule on two sets of tags: the categories of `financial-demo` (a sentence has one category,
so precision is a lower bound: a rule may be right about a sentence of another category), and tags of 200 sentences of
Financial PhraseBank, which two readers set independently by the definitions below (any number of tags for a sentence;
the first reader's count, Cohen's kappa compares both). The rules were written on the splits `train` and `validation` of
`financial-demo`, and on other sentences of PhraseBank.

    python benchmarks/text_rules.py --phrasebank Sentences_50Agree.txt --out docs/results/text-rules.json

Definitions of the tags:

- numeric-context: the sentence says how a figure relates to another value (last year's, a forecast, a limit): it rose,
  fell, was unchanged, exceeded, missed. A figure without a comparison is none.
- jargon: a term of accounting, corporate finance, credit or the stock market that an educated reader without training
  in finance may not understand. Sales, profit, loss, revenue, shares, contract, dividend, stake are none.
- forward-looking: what somebody expects, plans, forecasts, or what is to happen.
- mixed-signal: good news and bad news for one company or market.
- negation: something is denied (not, no, never, without, neither, fails to).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.metrics import cohen_kappa_score

from lowland.evidence.text_rules import TEXT_RULES

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "src" / "lowland" / "tasks" / "data" / "financial_demo.csv"
TAGS = ROOT / "tests" / "evidence" / "data" / "phrasebank_tags.csv"
TAGGED = tuple(name for name in TEXT_RULES if name != "long")


def scores(flagged: Sequence[bool], tagged: Sequence[bool]) -> dict[str, Any]:
    """Return counts, precision and recall; None where a denominator is 0."""
    both = sum(a and b for a, b in zip(flagged, tagged, strict=True))
    return {
        "flagged": sum(flagged),
        "tagged": sum(tagged),
        "precision": both / sum(flagged) if any(flagged) else None,
        "recall": both / sum(tagged) if any(tagged) else None,
    }


def on_demo(splits: Sequence[str]) -> dict[str, Any]:
    """Score the rules on the categories of some splits of `financial-demo`."""
    with DEMO.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in splits]
    return {
        name: scores(
            [TEXT_RULES[name].holds(row["text"]) for row in rows], [row["category"] == name for row in rows]
        )
        for name in TAGGED
    }


def on_phrasebank(path: Path) -> dict[str, Any]:
    """Score the rules on the labelled sentences, which are found by the SHA-256 of their texts."""
    lines = path.read_text(encoding="latin-1").splitlines()
    sentences = [line.rsplit("@", 1)[0].strip() for line in lines if line.strip()]
    by_hash = {hashlib.sha256(text.encode()).hexdigest()[:16]: text for text in sentences}
    with TAGS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    results = {}
    for name in TAGGED:
        first, second = ([name in row[reader].split() for row in rows] for reader in ("first", "second"))
        flagged = [TEXT_RULES[name].holds(by_hash[row["sha256"]]) for row in rows]
        agreement = float(cohen_kappa_score(first, second)) if any(first) and any(second) else None
        results[name] = {**scores(flagged, first), "kappa_of_readers": agreement}
    return results


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--phrasebank", type=Path, help="Sentences_50Agree.txt of Financial PhraseBank")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    results = {
        "financial-demo, train and validation (written on)": on_demo(("train", "validation")),
        "financial-demo, test and shifted": on_demo(("test", "shifted")),
    }
    if arguments.phrasebank is not None:
        results["Financial PhraseBank, 200 sentences"] = on_phrasebank(arguments.phrasebank)
    for title, rules in results.items():
        print(f"\n{title}")
        for name, values in rules.items():
            shown = {
                key: f"{value:.2f}" if isinstance(value, float) else value for key, value in values.items()
            }
            print(f"  {name:16} {shown}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
