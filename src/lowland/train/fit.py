"""Train the model of a job with Hugging Face's Trainer. Test data is not used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from lowland.flat import FlatLoRA
from lowland.ground.progress import Remark, no_remark
from lowland.ground.rng import stream_seed, untouched_generators
from lowland.lora import count_parameters
from lowland.models.formats import answer_in_fp32, attend_eagerly, hold_base_in
from lowland.models.load import LoadedModel
from lowland.models.positions import token_limit
from lowland.models.source import named_by
from lowland.tasks.examples import TRAIN, VALIDATION, Encoded, Outputs, Setup, Split
from lowland.train.adapted import AdaptedModel
from lowland.train.bag_of_words import fit_bag_of_words
from lowland.train.checkpoints import CheckpointNowAndThen, Checkpoints, seconds_before
from lowland.train.cost import Meter
from lowland.train.fitted import Diverged, Fitted
from lowland.train.job import Job
from lowland.train.methods import callbacks_of
from lowland.train.monitor import Monitor
from lowland.train.paired import EncodedSplit, PairedTrainer
from lowland.train.processes import from_first, is_first, process_count, process_rank
from lowland.train.trackers import PROJECT
from lowland.train.tracking import tracked, trackers_at_home


@dataclass(frozen=True)
class FittedNetwork(Fitted):
    """Trained network of transformers.

    Attributes:
        adapted: the trained model in memory.
        trainer: the Trainer that trained it, which also evaluates it.
    """

    adapted: AdaptedModel
    trainer: PairedTrainer

    @property
    def model_class(self) -> str:
        """Name of the model's class in transformers."""
        return type(self.adapted.base_model).__name__

    def encode(self, split: Split) -> Encoded:
        """Return the examples of a split as the model reads them."""
        return self.job.task.encode(split.columns, self.setup, "evaluate")

    def outputs(self, split: Split, encoded: Encoded) -> Outputs:
        """Return the model's outputs for the examples of a split."""
        return self.trainer.outputs(encoded)

    def save(self, folder: Path) -> None:
        """Save the trained weights: `adapter/` with the head, or `model/` with the complete model."""
        self.adapted.save(folder, self.job.model, self.setup.tokenizer)


def fit(
    job: Job,
    callbacks: Sequence[TrainerCallback] = (),
    remark: Remark = no_remark,
    checkpoints: Path | None = None,
    after_checkpoint: Callable[[], None] | None = None,
) -> Fitted:
    """Train one model, and evaluate it on the validation set after each epoch.

    The global generators (Python's, NumPy's, torch's) are restored afterwards.

    Args:
        job: the job.
        callbacks: further callbacks for the Trainer, to show progress, for instance.
        remark: function that is called with a sentence on anything that a user should know about model or data.
        checkpoints: folder for checkpoints; a training that left some there goes on from the last. None keeps none.
        after_checkpoint: function that is called when a checkpoint is complete.

    Raises:
        Mistake: if the method does not fit the model, or the task.
        Diverged: if the loss is not finite.
    """
    if job.method.method.counts_words:
        return fit_bag_of_words(job)
    kept = None if checkpoints is None else Checkpoints(checkpoints, job.dtype, after_checkpoint)
    return _fit_network(job, callbacks, remark, kept)


def _fit_network(
    job: Job, callbacks: Sequence[TrainerCallback], remark: Remark, checkpoints: Checkpoints | None
) -> FittedNetwork:
    """Train a network with the Trainer; see `fit`. Where several processes train it together, the others follow."""
    if is_first():
        from_first(job.name)
    setup = job.setup(job.task.load_reader(job.source.folder))
    with untouched_generators(), trackers_at_home(job), TemporaryDirectory() as scratch:
        adapted = _adapt(job, setup, remark)
        setup = replace(
            setup, max_length=token_limit(setup.tokenizer, adapted.base_model.config, job.max_length)
        )
        train = job.task.encode(job.data.splits[TRAIN].columns, setup, "train")
        validation = job.task.encode(job.data.splits[VALIDATION].columns, setup, "evaluate")
        truncation = train.truncation + validation.truncation
        if sentence := truncation.sentence(setup.max_length, job.max_length):
            remark(f"training and validation: {sentence}")
        last = None if checkpoints is None else from_first(checkpoints.last() if is_first() else None)
        before = seconds_before(last)
        if checkpoints is not None:
            callbacks = [*callbacks, CheckpointNowAndThen(checkpoints, before)]
        trainer = _trainer(job, adapted, setup, train, validation, scratch, callbacks)
        with tracked(trainer, job), Meter() as meter:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
    counts = count_parameters(adapted.model)
    scores = _last_evaluation(trainer.state.log_history, job.task.scores[0])
    return FittedNetwork(
        job=job,
        adapted=adapted,
        setup=replace(setup, chosen={name: scores[name] for name in job.task.chosen_on_validation}),
        trainer=trainer,
        history=[entry for entry in trainer.state.log_history if "train_loss" not in entry],
        validation={name: scores[name] for name in (*job.task.scores, "loss")},
        parameters={"trainable": counts.trainable, "total": counts.total, "share": counts.share},
        cost={"train_seconds": before + meter.seconds, "peak_bytes": meter.peak_bytes},
        truncated={TRAIN: train.truncation, VALIDATION: validation.truncation},
    )


class StopOnDivergence(TrainerCallback):
    """Callback that stops a run if its loss is not finite."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Raise Diverged if a logged loss is not finite."""
        for name in ("loss", "eval_loss"):
            if logs and not np.isfinite(logs.get(name, 0.0)):
                raise Diverged(f"{name} is {logs[name]} at step {state.global_step}; a smaller lr may help")


def _adapt(job: Job, setup: Setup, remark: Remark) -> AdaptedModel:
    """Load the model and apply the method, in the job's number format."""
    torch.manual_seed(stream_seed(job.seed, "head"))
    with named_by(job.source):
        loaded: LoadedModel = job.task.load_model(job.source.folder, setup)
    for sentence in loaded.remarks:
        remark(sentence)
    adapted = job.method.method.adapt(loaded, job.settings, job.seed)
    if job.dtype == "bf16":
        attend_eagerly(adapted.base_model)
        answer_in_fp32(adapted.base_model)
        if job.method.method.has_adapter and not isinstance(
            adapted.model, PeftModel
        ):  # PEFT's base stays in fp32
            hold_base_in(adapted.model, torch.bfloat16)
    return adapted


def _trainer(
    job: Job,
    adapted: AdaptedModel,
    setup: Setup,
    train: Encoded,
    validation: Encoded,
    scratch: str,
    callbacks: Sequence[TrainerCallback],
) -> PairedTrainer:
    method, settings = job.method.method, job.settings
    own, make = callbacks_of(method, settings, job.seed), method.optimizer
    trainer = PairedTrainer(
        adapted.model,
        _arguments(job, scratch, len(train)),
        train_dataset=EncodedSplit(train),
        eval_dataset=EncodedSplit(validation),
        data_collator=job.task.collator(setup, adapted.base_model),
        compute_metrics=lambda answer: _scores(
            job, validation.in_order(answer.predictions), validation, setup
        ),
        callbacks=[*own, StopOnDivergence(), *callbacks],
        order_seed=stream_seed(job.seed, "order"),
        infer=lambda model, batch: job.task.infer(model, batch, setup),
        parameter_groups=lambda model: method.parameter_groups(model, settings),
        make_optimizer=None if make is None else lambda groups: make(groups, settings),
    )
    trainer.remove_callback(PrinterCallback)
    flat = next((callback for callback in own if isinstance(callback, FlatLoRA)), None)
    trainer.add_callback(Monitor(trainer.log, len(train), flat))
    return trainer


def _arguments(job: Job, scratch: str, examples: int) -> TrainingArguments:
    settings = job.settings
    batches = -(-examples // settings.batch_size)
    processes, rank = process_count(), process_rank()
    steps = -(-batches // settings.accumulation) * settings.epochs
    bf16 = job.dtype == "bf16"
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size // processes,
        per_device_eval_batch_size=max(1, 2 * settings.batch_size // processes),
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        warmup_steps=round(settings.warmup * steps),
        # The Trainer seeds the global generators with it; each process draws masks of its own.
        seed=stream_seed(job.seed, "dropout", *([rank] if rank else [])) % 2**32,
        max_grad_norm=1.0 if job.method.method.clips_gradient else 0.0,
        bf16=bf16,  # the forward pass under autocast, in training and evaluation; logits and losses are fp32
        # Without it the Trainer refuses bf16 on a CPU, and does not share the examples among processes.
        use_cpu=(bf16 or processes > 1) and not torch.cuda.is_available(),
        torch_compile=job.compile,
        eval_strategy="epoch",
        save_strategy="no",  # `CheckpointNowAndThen` says when
        save_total_limit=1,
        logging_steps=10,
        logging_nan_inf_filter=False,
        report_to=list(job.trackers) or "none",
        run_name=job.name,
        project=PROJECT,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _scores(job: Job, outputs: Outputs, encoded: Encoded, setup: Setup) -> dict[str, float]:
    """Return the scores on the validation set, and the values that the task chooses on it."""
    split = job.data.splits[VALIDATION]
    chosen = job.task.choose(split, outputs, encoded, setup)
    answers = job.task.decode(outputs, encoded, replace(setup, chosen=chosen))
    return {**job.task.summarise(split, answers), **chosen}


def _last_evaluation(history: Sequence[Mapping[str, Any]], score: str) -> dict[str, float]:
    """Return what the last evaluation logged, by name: scores, chosen values, and the loss."""
    last = [entry for entry in history if f"eval_{score}" in entry][-1]
    return {name.removeprefix("eval_"): value for name, value in last.items()}
