"""A probe finds a signal that is there, and none in noise; its folds are the same for all models."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from lowland.deploy.forgetting.measure import C, probe
from lowland.ground.rng import stream_seed


def states_and_labels(signal: float, seed: int = 0, texts: int = 400) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(texts) % 2)
    states = rng.normal(size=(texts, 12))
    states[:, 3] += signal * (labels - 0.5)
    return states, ["up" if label else "down" for label in labels]


def test_a_signal_is_found_and_noise_is_none() -> None:
    assert probe(*states_and_labels(8.0)).mean() > 0.99
    noise = [probe(*states_and_labels(0.0, seed)).mean() for seed in range(10)]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.03)  # about four standard errors of 4,000 guesses


def test_scores_are_those_of_a_loop_over_fixed_folds() -> None:
    states, labels = states_and_labels(1.0)
    expected = np.zeros(len(labels))
    seed = stream_seed(0, "retention", "folds") % 2**32
    for fit, held_out in StratifiedKFold(5, shuffle=True, random_state=seed).split(states, labels):
        scaler = StandardScaler().fit(states[fit])
        classifier = LogisticRegression(C=C, max_iter=1000)
        classifier.fit(scaler.transform(states[fit]), np.array(labels)[fit])
        predicted = classifier.predict(scaler.transform(states[held_out]))
        expected[held_out] = predicted == np.array(labels)[held_out]
    np.testing.assert_array_equal(probe(states, labels), expected)
    np.random.seed(7)  # the folds do not depend on the global generator
    np.testing.assert_array_equal(probe(states, labels), expected)


def test_the_scale_of_the_states_does_not_matter() -> None:
    states, labels = states_and_labels(1.0)
    np.testing.assert_array_equal(probe(1000 * states + 5, labels), probe(states, labels))
