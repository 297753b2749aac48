"""Hugging Face Trainer with a seeded data order, so that runs with the same seed can be paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from lowland.ground.rng import stream_seed, untouched_generators
from lowland.tasks.examples import Encoded, Outputs
from lowland.train.adapted import ParameterGroups
from lowland.train.checkpoints import load_changed, save_changed
from lowland.train.method_callback import MethodCallback

Infer = Callable[[Any, Mapping[str, Any]], tuple[torch.Tensor | None, dict[str, torch.Tensor]]]
"""Runs a model on a batch: the mean loss if the batch has labels, and outputs row by row."""


class EncodedSplit(Dataset[dict[str, Any]]):
    """Encoded examples as torch's data set; the collator pads, batch by batch."""

    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.encoded[index]


class EpochSampler(LengthGroupedSampler):
    """Order of the examples by length, whose draws are a function of the seed and the epoch.

    Args:
        batch_size: number of examples in an optimizer step.
        lengths: (n,) length of each example.
        seed: seed of the order.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; accelerate calls it."""
        self.generator.manual_seed(stream_seed(self.seed, "epoch", epoch))


class PairedTrainer(Trainer):
    """Trainer with a seeded order of the data: the same seed gives the same batches to every method.

    Args:
        *args: arguments of `Trainer`.
        order_seed: seed of the order of the data.
        infer: function that runs the model on a batch: the loss if there are labels, and outputs row by row.
        parameter_groups: function that returns the parameter groups for a model, or None for the Trainer's own.
        make_optimizer: function that returns the optimizer for parameter groups; None for AdamW.
        **kwargs: keyword arguments of `Trainer`. Among its callbacks may be a `MethodCallback` of each class.
    """

    def __init__(
        self,
        *args: Any,
        order_seed: int,
        infer: Infer,
        parameter_groups: Callable[[Any], ParameterGroups | None],
        make_optimizer: Callable[[ParameterGroups], torch.optim.Optimizer] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.order_seed = order_seed
        self.infer = infer
        self.parameter_groups = parameter_groups
        self.make_optimizer = make_optimizer
        self._batches: list[Any] = []  # of the optimizer step

    @property
    def method_callbacks(self) -> dict[str, MethodCallback]:
        """The method's callbacks, by the names of their classes."""
        return {
            type(callback).__name__: callback
            for callback in self.callback_handler.callbacks
            if isinstance(callback, MethodCallback)
        }

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the method's optimizer, or AdamW, on the method's parameter groups."""
        if self.optimizer is not None:
            return self.optimizer
        groups = self.parameter_groups(self.model if model is None else model)
        if self.make_optimizer is not None:
            self.optimizer = self.make_optimizer(groups or self._groups_by_decay(model or self.model))
        elif groups:
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = optimizer_class(groups, **options)
        return super().create_optimizer(model)

    def _groups_by_decay(self, model: Any) -> ParameterGroups:
        """Return the Trainer's parameter groups: one with weight decay, and one without, for norms and biases."""
        decaying = set(self.get_decay_parameter_names(model))
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        with_decay = [value for name, value in trained.items() if name in decaying]
        without = [value for name, value in trained.items() if name not in decaying]
        return [
            {"params": with_decay, "weight_decay": self.args.weight_decay},
            {"params": without, "weight_decay": 0.0},
        ]

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], Any]:
        """Return the batches of an optimizer step, and their number of targets."""
        self._batches, targets = super().get_batch_samples(*args)
        return self._batches, targets

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Run a batch's forward and backward pass; before a step's first batch, what its method's callbacks do there.

        The loss returned, and so logged, is that of the passes that train.
        """
        if self._batches and inputs is self._batches[0]:
            self._begin_step(model, num_items_in_batch)
        return self._run_batch(model, inputs, num_items_in_batch)

    def _begin_step(self, model: Any, targets: Any) -> None:
        """Let the method's callbacks run before the batches of an optimizer step."""
        callbacks = self.method_callbacks.values()
        passes = 0

        def gradient() -> None:
            nonlocal passes
            passes += 1
            model.zero_grad()
            with untouched_generators():
                for batch in self._batches:
                    self._run_batch(model, batch, targets)
            for callback in callbacks:
                callback.begin_again()

        for callback in callbacks:
            callback.before_batches(gradient)
        if passes:
            model.zero_grad()

    def _run_batch(self, model: Any, inputs: Any, targets: Any) -> torch.Tensor:
        with ExitStack() as stack:
            for callback in self.method_callbacks.values():
                stack.enter_context(callback.around_batch())
            return super().training_step(model, inputs, targets)

    def _clip_grad_norm(self, model: Any) -> Any:
        for callback in self.method_callbacks.values():
            callback.before_clipping()
        return super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate on the validation set; during a training, with the weights that the method evaluates."""
        with ExitStack() as stack:
            for callback in self.method_callbacks.values():
                stack.enter_context(callback.around_evaluation())
            return super().evaluate(*args, **kwargs)

    def outputs(self, encoded: Encoded) -> Outputs:
        """Return the model's outputs for encoded examples, in their order; no score is computed."""
        metrics, self.compute_metrics = self.compute_metrics, None
        try:
            predictions: Any = self.predict(EncodedSplit(encoded)).predictions
        finally:
            self.compute_metrics = metrics
        return encoded.in_order(predictions)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return a batch's part of the mean loss over all targets of an optimizer step.

        The Trainer leaves it to the model to divide by the number of targets in all accumulated batches, and takes a
        forward pass with `**kwargs` for a sign that the model does so. BERT and CLIP, for instance, do not: their
        losses would be too large by the number of batches.
        """
        loss, outputs = super().compute_loss(
            model, inputs, return_outputs=True
        )  # mean over this batch's targets
        if num_items_in_batch is not None:
            labels = inputs["labels"][..., 1:] if self._loss_shifts_labels else inputs["labels"]
            share = labels.ne(-100).sum() / num_items_in_batch
            if self.args.average_tokens_across_devices:  # gradients are averaged over the processes
                share = share * self.accelerator.num_processes
            loss = loss * share
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, Any, Any]:
        """Return the loss, the outputs, and row numbers in the place of targets.

        The Trainer computes scores only if a batch has targets; the task takes them from the split.
        """
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.infer(model, inputs)
        outputs = {name: tensor.detach() for name, tensor in outputs.items()}
        rows = torch.arange(len(next(iter(outputs.values()))), device=self.args.device)
        return None if loss is None else loss.detach().mean(), outputs, rows

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        assert isinstance(self.train_dataset, EncodedSplit)
        step = self.args.gradient_accumulation_steps * self.args.world_size
        batch = self.args.train_batch_size * step
        lengths = self.train_dataset.encoded.lengths
        return EpochSampler(batch, lengths, self.order_seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        assert isinstance(eval_dataset, EncodedSplit)
        return eval_dataset.encoded.by_length.tolist()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what the training has changed into a checkpoint's folder."""
        assert output_dir is not None
        if self.args.should_save:
            save_changed(self.model, self.method_callbacks, Path(output_dir))  # type: ignore[arg-type]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_changed(self.model, self.method_callbacks, folder)  # type: ignore[arg-type]  # there is a model
