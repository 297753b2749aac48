"""GLUE's tasks of single sentences: SST-2 (sentiment) and CoLA (acceptability)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.tasks.classification import Classification
from lowland.tasks.examples import TEST, TRAIN, VALIDATION, Split
from lowland.tasks.folders import FolderClassification, SplitFiles
from lowland.tasks.readers.forms import read_text
from lowland.tasks.readers.glue import glue_from_hub, name_labels
from lowland.tasks.readers.originals import read_original_table
from lowland.tasks.readers.other_tasks import hint_at_original

SENTENCE = {"text": "sentence"}
SENTIMENTS = {"0": "negative", "1": "positive"}
ACCEPTABILITY = {"0": "unacceptable", "1": "acceptable"}
COLA_FILES: SplitFiles = {
    "in_domain_train.tsv": TRAIN,
    "in_domain_dev.tsv": TEST,
    "out_of_domain_dev.tsv": TEST,
}
"""CoLA as its authors distribute it. GLUE's dev.tsv is both dev files in one."""


@dataclass(frozen=True)
class Acceptability(FolderClassification):
    """Classification whose first score is the Matthews correlation, as CoLA's authors score it.

    It is in [-1, 1], and 0 if the predictions say nothing of the labels or are all the same (Matthews, 1975; Warstadt
    et al., 2019). It belongs to a whole test set, and a single example has none. So methods are compared by right and
    wrong, as in every classification: the sentences of a report speak of accuracy, its tables begin with the
    correlation.
    """

    scores: ClassVar[tuple[str, ...]] = ("matthews_correlation", *Classification.scores)

    def summarise(self, split: Split, answers: pd.DataFrame) -> dict[str, float]:
        """Return the Matthews correlation, accuracy, macro F1 and weighted F1."""
        from sklearn.metrics import matthews_corrcoef

        labels, predicted = list(split["label"]), list(answers["predicted"])
        vary = len({*labels, *predicted}) > 1  # scikit-learn warns if all are the same
        correlation = float(matthews_corrcoef(labels, predicted)) if vary else 0.0
        return {"matthews_correlation": correlation, **super().summarise(split, answers)}


def sst2_files(folder: Path) -> SplitFiles:
    """Return the files of SST-2; where test.tsv has no labels, as GLUE distributes it, dev.tsv is the test set."""
    test = folder / "test.tsv"
    if test.is_file():
        header = read_text(test, "utf-8-sig").partition("\n")[0].strip().split("\t")
        if "label" in header or "sentence" not in header:  # a file of another data set is refused when read
            return {"train.tsv": TRAIN, "dev.tsv": VALIDATION, "test.tsv": TEST}
    return {"train.tsv": TRAIN, "dev.tsv": TEST}


def cola_files(folder: Path) -> SplitFiles:
    """Return the files of CoLA, in its authors' distribution or in GLUE's."""
    glue: SplitFiles = {"train.tsv": TRAIN, "dev.tsv": TEST}
    return glue if any((folder / name).is_file() for name in glue) else COLA_FILES


def read_sst2(path: Path, fields: object = None) -> pd.DataFrame:
    """Read a file of SST-2 as GLUE distributes it (Socher et al., 2013; Wang et al., 2019).

    Raises:
        Mistake: if it is another file, or a label is neither 0 nor 1.
    """
    table = read_original_table(path, {**SENTENCE, "label": "label"}, "SST-2 with labels")
    return name_labels(path, table, SENTIMENTS)


def read_cola(path: Path, fields: object = None) -> pd.DataFrame:
    """Read a file of CoLA (Warstadt et al., 2019): source, 0 or 1, the author's mark and the sentence, without header.

    Returns:
        The columns `text` and `label`, and the `category` "out of domain" for a file of that name, else "in domain" or,
        where a file does not say, "".

    Raises:
        Mistake: if it is another file, or a label is neither 0 nor 1.
    """
    rows = []
    for number, line in enumerate(read_text(path, "utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) != 4 or cells[1] not in ACCEPTABILITY:
            raise Mistake(
                f"{path}, line {number}: expected a line of CoLA: source, 0 or 1, mark and sentence, with tabs between"
                f" them; got {line.strip()[:60]!r}{hint_at_original(line)}"
            )
        rows.append((cells[3].strip(), ACCEPTABILITY[cells[1]]))
    kind = next((kind for kind in ("in", "out_of") if path.name.startswith(f"{kind}_domain")), None)
    category = f"{kind.replace('_', ' ')} domain" if kind else ""
    return pd.DataFrame(rows, columns=["text", "label"]).assign(category=category)


SST2_FROM_HUB = glue_from_hub("sst2", SENTENCE, tuple(SENTIMENTS.values()), "validation")
COLA_FROM_HUB = glue_from_hub("cola", SENTENCE, tuple(ACCEPTABILITY.values()), "validation")
