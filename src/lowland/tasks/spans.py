"""Answers from the logits of their starts and ends: the best span of each example, and whether it has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.tasks.windows import Window

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """Best span of a window.

    Attributes:
        score: sum of the logits of its start and its end; -inf if the window holds no context.
        null: the same sum for "no answer".
        start: first character in the context.
        end: the character behind the last one.
    """

    score: float
    null: float
    start: int
    end: int


@dataclass(frozen=True)
class Candidate:
    """Best answer of an example, if it has one.

    Attributes:
        text: the answer.
        start: its first character in the context.
        end: the character behind its last one.
        margin: score of "no answer" minus score of the span; inf if there is no span.
    """

    text: str
    start: int
    end: int
    margin: float


def best_span(start: Floats, end: Floats, window: Window, max_tokens: int) -> Span:
    """Return the span with the largest sum of logits, with its end not before its start, and at most `max_tokens`.

    Args:
        start: (T,) logits of a start at each token of the window; padding may follow.
        end: (T,) logits of an end.
        window: the window.
        max_tokens: largest number of tokens of a span.
    """
    null = float(start[window.null] + end[window.null])
    count = len(window.offsets)
    starts, ends = (logits[window.first : window.first + count] for logits in (start, end))
    best, place = -np.inf, (0, 0)
    for longer in range(min(max_tokens, count)):
        sums = starts[: count - longer] + ends[longer:]
        first = int(sums.argmax())
        if sums[first] > best:
            best, place = float(sums[first]), (first, first + longer)
    if not count:
        return Span(best, null, 0, 0)
    return Span(best, null, int(window.offsets[place[0], 0]), int(window.offsets[place[1], 1]))


def candidate_of(spans: Sequence[Span], context: str) -> Candidate:
    """Return the best answer of an example from those of its windows.

    "No answer" has its least score in any window, as in BERT's code for SQuAD 2.0 (Devlin et al., 2019): an answer
    stands in few windows, and the others are right to hold none.
    """
    best = max(spans, key=lambda span: span.score)
    text = context[best.start : best.end]
    start = best.start + len(text) - len(text.lstrip())
    end = start + len(text.strip())
    return Candidate(text.strip(), start, end, min(span.null for span in spans) - best.score)


def best_threshold(margins: Floats, answered: Floats, unanswered: Floats) -> float:
    """Return the threshold t with the highest sum of scores, if examples with a margin above t are not answered.

    The sum changes at the margins alone, so that the middles between neighbours, and one number beyond each end, stand
    for all thresholds. Of several best ones, the middle one is taken.

    Args:
        margins: (n,) score of "no answer" minus score of the best span; inf for an example without a span.
        answered: (n,) score of the example if its span is the prediction.
        unanswered: (n,) score of the example if "no answer" is.
    """
    finite = np.isfinite(margins)
    if not finite.any():
        return 0.0
    levels, place = np.unique(margins[finite], return_inverse=True)
    gain = np.bincount(place, weights=(answered - unanswered)[finite])
    totals = np.concatenate([[0.0], gain.cumsum()])  # the first k levels are answered
    beyond = max(1.0, levels[-1] - levels[0])
    between = (levels[:-1] + levels[1:]) / 2
    thresholds = np.concatenate([[levels[0] - beyond], between, [levels[-1] + beyond]])
    best = np.flatnonzero(totals >= totals.max() - 1e-9)
    return float(thresholds[best[len(best) // 2]])
