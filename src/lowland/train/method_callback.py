"""Callback of a method: takes part in an optimizer step where the events of a Trainer's callback do not suffice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor
from transformers import TrainerCallback


class MethodCallback(TrainerCallback):
    """Trainer's callback with further events, which `PairedTrainer` calls. By default each does nothing.

    An optimizer step under `PairedTrainer` runs so:

        on_step_begin                          draw noise
        before_batches(gradient)               an ascent step; may call gradient(), a pass over all batches of the step
        with around_batch():                   forward and backward pass, for each batch of the step
        before_clipping                        the gradient is complete
        on_pre_optimizer_step                  the gradient is complete and clipped; undo the ascent step
        on_optimizer_step                      the parameters have changed
        on_step_end                            drop noise, update an average
    """

    def before_batches(self, gradient: Callable[[], None]) -> None:
        """Run before the first batch of an optimizer step.

        Args:
            gradient: function that runs forward and backward passes over all batches of the step, and so leaves the
                gradient of the step's whole loss in each parameter's `grad`. The global generators are restored after
                it: the passes that train see the same dropout masks, which are those of the method without a first
                pass. The gradients are dropped when `before_batches` returns.
        """

    def begin_again(self) -> None:
        """Begin the draws of an optimizer step again: another pass over its batches follows, under the same noise."""

    def around_batch(self) -> AbstractContextManager[None]:
        """Return a context for the forward and backward pass of one batch."""
        return nullcontext()

    def before_clipping(self) -> None:
        """Look at the gradient of the whole step before it is clipped."""

    def around_evaluation(self) -> AbstractContextManager[None]:
        """Return a context for an evaluation during the training."""
        return nullcontext()

    def state(self) -> Mapping[str, Tensor]:
        """Return the tensors that a resumed training needs, by name; they are saved with each checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the state of a checkpoint; called before `on_train_begin`."""
