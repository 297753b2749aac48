"""The bag of words against scikit-learn, in memory and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lowland.ground.mistakes import Mistake
from lowland.models.bag_of_words import ABSENT, WORD, BagOfWords

TEXTS = ["profit rose a lot", "profit fell", "sales rose", "sales fell 5", "no change", "nothing new"]
LABELS = [0, 1, 0, 1, 2, 2]


def oracle(texts: list[str], labels: list[int], asked: list[str]) -> np.ndarray:
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True)
    model = LogisticRegression(C=3.0, max_iter=5000).fit(words.fit_transform(texts), labels)
    return model.predict_proba(words.transform(asked))


@pytest.mark.parametrize("count", [2, 3])
def test_its_probabilities_are_scikit_learns(tmp_path: Path, count: int) -> None:
    texts, labels = TEXTS[: 2 * count], LABELS[: 2 * count]
    asked = ["profit 5", "no sales", "", "unknown words"]
    model = BagOfWords.train([texts], labels, count, 3.0)
    logits = model.logits([asked])
    assert np.allclose(softmax(logits, axis=-1), oracle(texts, labels, asked), atol=1e-9)
    model.save(tmp_path / "model")
    assert np.array_equal(BagOfWords.load(tmp_path / "model").logits([asked]), logits)
    assert model.parameter_count == model.coefficients.size + count


def test_columns_have_vocabularies_of_their_own(tmp_path: Path) -> None:
    first, second = ["a", "b", "a", "b"], ["b", "a", "b", "a"]
    model = BagOfWords.train([first, second], [0, 1, 0, 1], 2, 10.0)
    logits = model.logits([["a", "b"], ["b", "a"]])
    assert list(logits.argmax(-1)) == [0, 1]
    model.save(tmp_path)
    assert np.array_equal(BagOfWords.load(tmp_path).logits([["a", "b"], ["b", "a"]]), logits)


def test_a_label_without_examples_is_never_predicted() -> None:
    logits = BagOfWords.train([["x", "y"]], [0, 2], 3, 1.0).logits([["x", "y", "z"]])
    assert (logits[:, 1] == ABSENT).all()
    assert set(logits.argmax(-1)) == {0, 2}


def test_texts_without_words_and_files_that_are_damaged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="needs words"):
        BagOfWords.train([["!!!", "???"]], [0, 1], 2, 1.0)
    with pytest.raises(Mistake, match="holds no bag of words"):
        BagOfWords.load(tmp_path)
    BagOfWords.train([["x", "y"]], [0, 1], 2, 1.0).save(tmp_path)
    (tmp_path / "bag_of_words.npz").write_bytes(b"no archive")
    with pytest.raises(Mistake, match="holds no bag of words"):
        BagOfWords.load(tmp_path)
