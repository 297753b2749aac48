"""Averages of the trained parameters over the optimizer steps: EMA and SWA.

The training goes on from its own parameters, the raw ones. Validation at each epoch's end, the test and the saved
weights have the average of the parameters so far.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lowland.train.method_callback import MethodCallback

Update = Callable[[Any, Any, Any], None]
"""Moves averages towards the current parameters: called with both lists, and the number of parameters averaged."""


class Average(MethodCallback):
    """Callback that keeps an average of the trained parameters: torch's `AveragedModel` of them alone.

    Args:
        update: how the average moves; None for the mean of all parameters averaged.
    """

    def __init__(self, update: Update | None = None) -> None:
        self._update = update
        self._trained: nn.ParameterList = nn.ParameterList()
        self._average: AveragedModel | None = None
        self._saved: Mapping[str, Tensor] = {}

    @abstractmethod
    def counts(self, step: int, total: int) -> bool:
        """Return whether the parameters after optimizer step `step` (from 1 to `total`) enter the average."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Begin the average, or go on with that of a checkpoint."""
        self._trained = nn.ParameterList(value for value in model.parameters() if value.requires_grad)
        self._average = AveragedModel(self._trained, multi_avg_fn=self._update)
        if self._saved:
            self._average.load_state_dict(dict(self._saved))
            self._saved = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the parameters after the step into the average."""
        assert self._average is not None
        if self.counts(state.global_step, state.max_steps):
            self._average.update_parameters(self._trained)

    @contextmanager
    def around_evaluation(self) -> Iterator[None]:
        """Put the average in place of the parameters, and these back afterwards."""
        raw = [value.detach().clone() for value in self._trained]
        self._put_in_place()
        try:
            yield
        finally:
            _copy(raw, list(self._trained))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the average in place of the parameters for good: it is tested and saved."""
        self._put_in_place()

    def state(self) -> Mapping[str, Tensor]:
        """Return the average, and how many parameters it is of."""
        return {} if self._average is None else self._average.state_dict()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the average of a checkpoint; `on_train_begin` goes on with it."""
        self._saved = state

    def _put_in_place(self) -> None:
        if self._average is not None and self._average.n_averaged > 0:
            _copy(list(self._average.module.parameters()), list(self._trained))


class EMA(Average):
    """Callback for an exponential moving average of the trained parameters.

    After step t (from 1 on) average = d · average + (1 − d) · parameters, with d = min(decay, t / (9 + t)). It starts
    as the parameters after step 1. The smaller d of the first steps lets it forget them (TensorFlow's
    `ExponentialMovingAverage` has the rule, too; the average of a training's iterates is Polyak & Juditsky's, 1992).

    Args:
        decay: the weights of about 1 / (1 − decay) steps count.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(self.update)
        self.decay = decay

    def counts(self, step: int, total: int) -> bool:
        """Return True: every step counts."""
        return True

    @torch.no_grad()
    def update(self, averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor) -> None:
        """Move the averages towards the current parameters."""
        t = int(count) + 1  # steps with this one
        decay = min(self.decay, t / (9 + t))
        torch._foreach_lerp_(list(averages), list(current), 1 - decay)


class SWA(Average):
    """Callback for stochastic weight averaging (Izmailov et al., 2018, arXiv 1803.05407): a mean over the last steps.

    The mean is over the parameters after each optimizer step of the last part of the training. The learning rate stays
    that of the schedule, which falls; the paper's is constant or cyclic there. Before that part, evaluations have the
    raw parameters.

    Args:
        share: share of the training's steps that are averaged, at its end.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def counts(self, step: int, total: int) -> bool:
        """Return whether a step is among the last."""
        return step > total - max(1, round(self.share * total))


@torch.no_grad()
def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
