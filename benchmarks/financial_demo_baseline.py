"""How far do word counts get on financial-demo? The majority class and two linear baselines.

The data set is only worth fine-tuning on while a linear model on word counts cannot solve it. This
script fits TF-IDF plus logistic regression on ``train`` (words: 1-2-grams; characters: 2-5-grams
inside words), scores the other splits by category, and exits with code 1 when the best linear model
reaches 0.85 on ``test``.

    python benchmarks/financial_demo_baseline.py --out results.json
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sklearn
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

ROOT = Path(__file__).resolve().parents[1]
CSV_PATH = ROOT / "src" / "lowland" / "tasks" / "data" / "financial_demo.csv"
LIMIT = 0.85  # accuracy on test that no linear baseline may reach
EVALUATED = ("validation", "test", "shifted")

Row = dict[str, str]


def read_rows(path: Path = CSV_PATH) -> list[Row]:
    """Read the data set: a dict with ``text``, ``label``, ``split``, ``category`` and ``group`` a sentence."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def baselines() -> dict[str, Pipeline]:
    """Return the unfitted baselines by name; scikit-learn's defaults except for the n-grams."""
    words = TfidfVectorizer(ngram_range=(1, 2))
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    return {
        "majority": make_pipeline(TfidfVectorizer(), DummyClassifier(strategy="most_frequent")),
        "words-1-2": make_pipeline(words, LogisticRegression(max_iter=2000)),
        "chars-2-5": make_pipeline(characters, LogisticRegression(max_iter=2000)),
    }


def accuracy(model: Pipeline, rows: Sequence[Row]) -> float:
    """Share of ``rows`` whose label the fitted ``model`` predicts."""
    predicted = model.predict([row["text"] for row in rows])
    return sum(p == row["label"] for p, row in zip(predicted, rows, strict=True)) / len(rows)


def score(model: Pipeline, rows: Sequence[Row]) -> dict[str, Any]:
    """Fit ``model`` on train; return its accuracy on each other split, overall and by category."""
    train = [row for row in rows if row["split"] == "train"]
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    scores: dict[str, Any] = {}
    for split in EVALUATED:
        part = [row for row in rows if row["split"] == split]
        categories = sorted({row["category"] for row in part})
        scores[split] = {
            "accuracy": accuracy(model, part),
            "by_category": {
                name: accuracy(model, [row for row in part if row["category"] == name]) for name in categories
            },
        }
    return scores


def run(rows: Sequence[Row]) -> dict[str, Any]:
    """Score every baseline; return the results together with the versions that made them."""
    scores = {name: score(model, rows) for name, model in baselines().items()}
    best = max(scores, key=lambda name: scores[name]["test"]["accuracy"])
    return {
        "environment": {"python": platform.python_version(), "scikit-learn": sklearn.__version__},
        "limit": LIMIT,
        "best": best,
        "best_test_accuracy": scores[best]["test"]["accuracy"],
        "scores": scores,
    }


def table(result: dict[str, Any]) -> str:
    """Lay the results out as a Markdown table: a row a category, a column a baseline."""
    scores = result["scores"]
    lines = [
        "| split | category | " + " | ".join(scores) + " |",
        "|---|---|" + "---:|" * len(scores),
    ]
    for split in EVALUATED:
        overall = " | ".join(f"{scores[name][split]['accuracy']:.3f}" for name in scores)
        lines.append(f"| {split} | all | {overall} |")
        for category in next(iter(scores.values()))[split]["by_category"]:
            by_model = (scores[name][split]["by_category"][category] for name in scores)
            values = " | ".join(f"{value:.3f}" for value in by_model)
            lines.append(f"| {split} | {category} | {values} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the table, write JSON where asked to, return 1 when a linear baseline is too good."""
    parser = argparse.ArgumentParser(description="Linear baselines on financial-demo.")
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    args = parser.parse_args(argv)
    result = run(read_rows())
    print(table(result))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    best = result["best_test_accuracy"]
    verdict = "below" if best < LIMIT else "NOT below"
    print(f"\nbest linear: {result['best']}, {best:.3f} on test, {verdict} the limit of {LIMIT}")
    return 0 if best < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
