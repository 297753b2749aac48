"""Data of the replication's further questions (docs/results/flat-protocol.md): wrong labels, and another domain.

    python benchmarks/replication_data.py --sst2 FOLDER --phrasebank Sentences_50Agree.txt --out FOLDER

writes

- `sst2-flipped-10.csv`, `-20`, `-40`: the replication's 5,000 training sentences of SST-2, with that share of labels
  flipped; validation and test sentences as they are. The sentences flipped at 10 % are flipped at 20 and 40 %, too.
- `phrasebank-polarity.csv`: the positive and negative sentences of PhraseBank, each once.

They hold other people's texts, so keep them out of the repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from lowland.ground.rng import stream
from lowland.tasks.examples import TaskData
from lowland.tasks.table import load_data, task_fields

TRAINING, SHARES = 5000, (10, 20, 40)
"""Number of training sentences of the main study, and percentages of flipped labels."""
VALIDATION_SHARE = 0.02
"""Share of all sentences that the main study held out for validation."""
LABELS = ("negative", "positive")


def flipped(data: TaskData, percent: int) -> pd.DataFrame:
    """Return all splits as one table with the columns text, label and split; in train some labels are flipped.

    Args:
        data: a task with the labels `LABELS`.
        percent: share of training labels to flip.
    """
    tables = [
        pd.DataFrame({"text": split["text"], "label": split["label"], "split": name})
        for name, split in data.splits.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    train = table.index[table["split"] == "train"].to_numpy()
    chosen = stream(0, "flipped labels").permutation(train)[: round(percent / 100 * len(train))]
    other = dict(zip(LABELS, reversed(LABELS), strict=True))
    table.loc[chosen, "label"] = table.loc[chosen, "label"].map(other)
    return table


def polarity(data: TaskData) -> pd.DataFrame:
    """Return the positive and negative texts of all splits, each once, with the columns text and label."""
    tables = [
        pd.DataFrame({"text": split["text"], "label": split["label"]}) for split in data.splits.values()
    ]
    table = pd.concat(tables, ignore_index=True)
    return table[table["label"].isin(LABELS)].drop_duplicates("text", ignore_index=True)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sst2", type=Path, required=True)
    parser.add_argument("--phrasebank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = {"data": options.sst2 / "train.tsv", "test_data": options.sst2 / "test.tsv"}
    sst2 = load_data(
        task_fields(
            "sst2",
            max_train=TRAINING,
            validation_share=VALIDATION_SHARE,
            **{name: str(path) for name, path in names.items()},
        )
    )
    for percent in SHARES:
        flipped(sst2, percent).to_csv(options.out / f"sst2-flipped-{percent}.csv", index=False)
    news = load_data(task_fields("financial-phrasebank", data=str(options.phrasebank)))
    polarity(news).to_csv(options.out / "phrasebank-polarity.csv", index=False)


if __name__ == "__main__":
    main()
