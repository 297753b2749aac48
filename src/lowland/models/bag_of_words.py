"""Bag of words: logistic regression on the frequencies of words and pairs of words. What fine-tuning should beat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lowland.ground.mistakes import Mistake

VOCABULARY_FILE, WEIGHTS_FILE = "vocabulary.json", "bag_of_words.npz"
WORD = r"(?u)\b\w+\b"
"""Pattern of a word; scikit-learn's own drops words of one letter."""
ABSENT = -100.0
"""Logit of a label that no training example has."""


@dataclass(frozen=True)
class BagOfWords:
    """Logistic regression on TF-IDF of words and of pairs of neighbouring words, by scikit-learn.

    Attributes:
        vectorizers: the TF-IDF of each input column.
        coefficients: (labels, features); features of the first column come first.
        intercepts: (labels,).
    """

    vectorizers: tuple[Any, ...]
    coefficients: npt.NDArray[np.float64]
    intercepts: npt.NDArray[np.float64]

    @classmethod
    def train(
        cls, columns: Sequence[Sequence[str]], labels: Sequence[int], label_count: int, strength: float
    ) -> Self:
        """Fit vocabulary and coefficients.

        Args:
            columns: the texts of each input column.
            labels: (n,) numbers of the labels.
            label_count: number of labels.
            strength: C, the inverse of the regularisation.

        Raises:
            Mistake: if no text has a word.
        """
        from scipy.sparse import hstack
        from sklearn.linear_model import LogisticRegression

        vectorizers = tuple(_vectorizer() for _ in columns)
        try:
            features = hstack(
                [
                    vectorizer.fit_transform(texts)
                    for vectorizer, texts in zip(vectorizers, columns, strict=True)
                ]
            )
        except ValueError:  # an empty vocabulary
            raise Mistake(
                "bag-of-words needs words, and the training texts have none; use another method"
            ) from None
        fitted = LogisticRegression(C=strength, max_iter=5000).fit(features.tocsr(), labels)
        rows, biases = fitted.coef_, fitted.intercept_
        if len(fitted.classes_) == 2:  # one row says how much the second label is more likely than the first
            rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
        coefficients = np.zeros((label_count, rows.shape[1]))
        intercepts = np.full(label_count, ABSENT)
        coefficients[fitted.classes_], intercepts[fitted.classes_] = rows, biases
        return cls(vectorizers, coefficients, intercepts)

    @property
    def parameter_count(self) -> int:
        """Number of coefficients and intercepts."""
        return self.coefficients.size + self.intercepts.size

    def logits(self, columns: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
        """Return the logits (n, labels) of texts, by input column."""
        from scipy.sparse import hstack

        features = hstack(
            [vectorizer.transform(texts) for vectorizer, texts in zip(self.vectorizers, columns, strict=True)]
        )
        return np.asarray(features @ self.coefficients.T + self.intercepts, dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Save the model in a folder, as JSON and arrays.

        Raises:
            OSError: if a file cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        words = [list(vectorizer.get_feature_names_out()) for vectorizer in self.vectorizers]
        (folder / VOCABULARY_FILE).write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        np.savez_compressed(
            folder / WEIGHTS_FILE,
            coefficients=self.coefficients,
            intercepts=self.intercepts,
            **{f"idf{number}": vectorizer.idf_ for number, vectorizer in enumerate(self.vectorizers)},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a saved model.

        Raises:
            Mistake: if the folder holds none.
        """
        try:
            words = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
            with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as arrays:
                vectorizers = tuple(
                    _vectorizer(vocabulary, arrays[f"idf{number}"]) for number, vocabulary in enumerate(words)
                )
                return cls(vectorizers, arrays["coefficients"], arrays["intercepts"])
        except (OSError, ValueError, LookupError) as error:
            raise Mistake(
                f"{folder} holds no bag of words that can be read ({error}); run it again"
            ) from None


def _vectorizer(words: Sequence[str] | None = None, idf: npt.NDArray[np.float64] | None = None) -> Any:
    """Return the TF-IDF of words and of pairs of words: unfitted, or with its vocabulary and weights."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True, vocabulary=words)
    if idf is not None:
        vectorizer.idf_ = idf
    return vectorizer
