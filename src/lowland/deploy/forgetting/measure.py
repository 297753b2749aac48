"""Retention of one frozen model: the accuracy of a probe on its hidden states, or its loss on texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.deploy.forgetting.states import Frozen, Step, pooled_states, token_losses
from lowland.deploy.forgetting.texts import FOLDS, OtherTexts
from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed

C = 0.01
"""Inverse of the probe's regularisation. It is fixed, so that no model gets a better tuned probe than another."""
MOST_STEPS = 1000
"""Largest number of steps of the probe's solver."""
PROBE, LIKELIHOOD = "probe_accuracy", "log-likelihood per token"
"""Names of the score of a text: right or wrong by the probe, and the mean log-likelihood of its tokens in nats."""


@dataclass(frozen=True)
class Measured:
    """Retention of one model.

    Attributes:
        scores: (n,) the score of each text; higher is better.
        figures: of all texts: `accuracy` of a probe; or `loss`, the mean of the texts' losses per token in nats, and
            `perplexity`, exp of the loss of all tokens.
    """

    scores: npt.NDArray[np.float64]
    figures: Mapping[str, float]


def score_of(texts: OtherTexts) -> str:
    """Return the name of the score that texts get: with labels that of a probe, without them that of a decoder."""
    return LIKELIHOOD if texts.labels is None else PROBE


def measure(frozen: Frozen, texts: OtherTexts, step: Step) -> Measured:
    """Measure one model on texts of another task.

    Args:
        frozen: the model; a decoder if the texts have no labels.
        texts: the texts.
        step: called after each batch with the number of texts.

    Raises:
        Mistake: if its outputs are not finite, or a text is too short to have a loss.
    """
    if texts.labels is not None:
        states = pooled_states(frozen, texts.texts, step)
        _check_finite(states)
        right = probe(states, texts.labels)
        return Measured(right, {"accuracy": float(right.mean())})
    sums, counts = token_losses(frozen, texts.texts, step)
    _check_finite(sums)
    scores = -sums / counts
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(sums.sum() / counts.sum()))
    return Measured(scores, {"loss": float(-scores.mean()), "perplexity": perplexity})


def probe(states: npt.NDArray[np.float64], labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return 1 for each text whose label a linear probe predicts without having seen the text, else 0 (n,).

    The probe is logistic regression on standardised states, fitted on four folds and tested on the fifth, in turn. The
    folds depend on the labels and their order alone: all models get the same.

    Args:
        states: (n, hidden size).
        labels: n labels, of each at least as many as there are folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seed = stream_seed(0, "retention", "folds") % 2**32  # scikit-learn takes 32 bits
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=MOST_STEPS))
    predicted = cross_val_predict(classifier, states, np.array(labels, dtype=object), cv=folds)
    return np.asarray(predicted == np.array(labels, dtype=object), dtype=np.float64)


def _check_finite(outputs: npt.NDArray[np.float64]) -> None:
    if not np.isfinite(outputs).all():
        raise Mistake(
            "the model's outputs on the texts are NaN or infinite, so nothing can be measured on it"
        )
