"""One training run, on Hugging Face's Trainer: from what was asked to a record, predictions and a history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed, untouched_generators
from lowland.ground.spec import RunSpec
from lowland.lora import count_parameters, lora_layers, save_adapter
from lowland.models.find import ModelSource
from lowland.models.formats import answer_in_fp32, hold_base_in, number_format
from lowland.models.load import load_classifier, load_tokenizer, outline, read_model_config, token_limit
from lowland.models.quantised import quantised_with
from lowland.tasks.classification import TRAIN, VALIDATION, TextData, score
from lowland.train.cost import Meter
from lowland.train.methods import method_named, perturbers
from lowland.train.paired import Encoded, PairedTrainer
from lowland.train.peft_methods import save_peft


class Diverged(RuntimeError):
    """The training loss, or what the model answers, is no finite number."""


@dataclass(frozen=True)
class Trained:
    """What came out of one training run.

    Attributes:
        scores: by test set.
        validation: scores after the last epoch.
        predictions: a row a test example (`lowland.ground.records.PREDICTION_COLUMNS`, `p_<label>`).
        history: the Trainer's log.
        parameters: trainable, total, share.
        cost: seconds and peak memory.
        model_class: of Hugging Face's.
    """

    scores: dict[str, dict[str, float]]
    validation: dict[str, float]
    predictions: pd.DataFrame
    history: list[dict[str, Any]]
    parameters: dict[str, float]
    cost: dict[str, float]
    model_class: str


def train(
    spec: RunSpec,
    data: TextData,
    source: ModelSource,
    folder: Path | None = None,
    callbacks: list[TrainerCallback] | None = None,
) -> Trained:
    """Train one model and evaluate it once on the test sets.

    The global generators (Python, NumPy, torch) are as they were afterwards.

    Args:
        spec: what is asked.
        data: of the task.
        source: of the model.
        folder: where to leave what was learned, `adapter/` or `model/`; None leaves nothing.
        callbacks: more of the Trainer's, to show progress.

    Raises:
        Mistake: if the method does not fit the model.
        Diverged: if the loss or the answers are not finite.
    """
    tokenizer = load_tokenizer(source.folder)
    with untouched_generators(), TemporaryDirectory() as scratch:
        model = _adapted(spec, data, source, tokenizer)
        length = token_limit(tokenizer, _base(model).config, spec.max_length)
        encoded = {name: Encoded(split, tokenizer, length) for name, split in data.splits.items()}
        trainer = _trainer(spec, model, tokenizer, encoded, scratch, callbacks or [])
        with Meter() as training:
            trainer.train()
        started = time.perf_counter()
        answers = {name: _answer(trainer, encoded[name]) for name in data.test_sets}
        test_seconds = time.perf_counter() - started
    if folder is not None and spec.keep_weights:
        keep(model, tokenizer, spec, folder)
    counts = count_parameters(model)
    return Trained(
        scores={name: score(data.splits[name].labels, one.argmax(-1)) for name, one in answers.items()},
        validation=_last_validation(trainer.state.log_history),
        predictions=_table(data, answers),
        history=trainer.state.log_history,
        parameters={"trainable": counts.trainable, "total": counts.total, "share": counts.share},
        cost={
            "train_seconds": training.seconds,
            "test_seconds": test_seconds,
            "peak_bytes": training.peak_bytes,
        },
        model_class=type(_base(model)).__name__,
    )


def check(specs: Sequence[RunSpec], source: ModelSource) -> None:
    """Try each method on the model's outline, before anything is trained.

    Raises:
        Mistake: naming all that does not fit: a target that the model has not, a rank larger than a layer.
    """
    load_tokenizer(source.folder)
    if quantised_with(read_model_config(source.folder)):
        raise Mistake(
            f"the weights in {source.folder} are quantised; Hugging Face's Trainer cannot train such a model with"
            " adapters of lowland's own: give the model as it was before, or train in a loop of your own with add_lora"
        )
    problems: dict[str, None] = {}
    for spec in {one.method: one for one in specs}.values():
        try:
            method_named(spec.method).adapt(outline(source.folder), spec)
        except Mistake as mistake:
            problems |= dict.fromkeys(mistake.problems)
    if problems:
        raise Mistake(*problems)


def keep(model: Any, tokenizer: Any, spec: RunSpec, folder: Path) -> None:
    """Leave what was learned in a run's folder: the adapter and head, or for full fine-tuning the whole model."""
    if any(True for _ in lora_layers(model)):
        save_adapter(model, folder / "adapter", base_model=spec.model)
    elif isinstance(model, PeftModel):
        save_peft(model, folder / "adapter", spec.model)
    else:
        try:
            model.save_pretrained(folder / "model")
        except SafetensorError as error:  # of the disk: it is full, for instance
            raise OSError(f"the weights cannot be written ({error})") from error
        tokenizer.save_pretrained(folder / "model")


class StopOnDivergence(TrainerCallback):
    """Ends a run whose loss is no number any more: what follows could only waste time."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Look at every loss that is logged."""
        for name in ("loss", "eval_loss"):
            if logs and not np.isfinite(logs.get(name, 0.0)):
                raise Diverged(f"{name} is {logs[name]} at step {state.global_step}; a smaller lr may help")


def _adapted(spec: RunSpec, data: TextData, source: ModelSource, tokenizer: Any) -> Any:
    """The model as the method trains it, in the number format asked for."""
    torch.manual_seed(stream_seed(spec.seed, "head"))
    model = load_classifier(source.folder, data.label_names, tokenizer)
    model = method_named(spec.method).adapt(model, spec)
    if number_format(spec.dtype) == "bf16":
        answer_in_fp32(_base(model))
        if not isinstance(model, PeftModel):  # whose adapters are trained as PEFT has them: on a base of fp32
            hold_base_in(model, torch.bfloat16)
    return model


def _base(model: Any) -> Any:
    """The Hugging Face model, without PEFT around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _arguments(spec: RunSpec, scratch: str, examples: int) -> TrainingArguments:
    asked = spec.training
    batches = -(-examples // asked["batch_size"])
    steps = -(-batches // asked["accumulation"]) * asked["epochs"]
    bf16 = number_format(spec.dtype) == "bf16"
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=asked["epochs"],
        per_device_train_batch_size=asked["batch_size"],
        per_device_eval_batch_size=2 * asked["batch_size"],
        gradient_accumulation_steps=asked["accumulation"],
        learning_rate=asked["lr"],
        weight_decay=asked["weight_decay"],
        warmup_steps=round(asked["warmup"] * steps),
        seed=stream_seed(spec.seed, "dropout") % 2**32,  # the Trainer seeds the global generators with it
        bf16=bf16,  # the forward pass under autocast, in training and evaluation; logits and losses are fp32
        use_cpu=bf16 and not torch.cuda.is_available(),  # or it refuses bf16 on a CPU
        torch_compile=spec.compile,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=10,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _trainer(
    spec: RunSpec,
    model: Any,
    tokenizer: Any,
    encoded: dict[str, Encoded],
    scratch: str,
    callbacks: list[TrainerCallback],
) -> PairedTrainer:
    method = method_named(spec.method)
    trainer = PairedTrainer(
        model,
        _arguments(spec, scratch, len(encoded[TRAIN])),
        train_dataset=encoded[TRAIN],
        eval_dataset=encoded[VALIDATION],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda answer: score(answer.label_ids, answer.predictions.argmax(-1)),
        preprocess_logits_for_metrics=lambda out, labels: out[0] if isinstance(out, tuple) else out,
        callbacks=[*perturbers(method, spec), StopOnDivergence(), *callbacks],
        order_seed=stream_seed(spec.seed, "order"),
        groups=lambda model: method.optimise(model, spec),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _answer(trainer: Trainer, encoded: Encoded) -> np.ndarray:
    """Logits (n, labels) in float64."""
    logits = np.asarray(trainer.predict(encoded).predictions, dtype=np.float64)
    if not np.isfinite(logits).all():
        raise Diverged("the trained model answers with numbers that are not finite; a smaller lr may help")
    return logits


def _last_validation(history: list[dict[str, Any]]) -> dict[str, float]:
    last = [entry for entry in history if "eval_accuracy" in entry][-1]
    return {name: last[f"eval_{name}"] for name in ("accuracy", "macro_f1", "weighted_f1", "loss")}


def _table(data: TextData, answers: dict[str, np.ndarray]) -> pd.DataFrame:
    names = np.array(data.label_names, dtype=object)
    parts = []
    for name, logits in answers.items():
        split = data.splits[name]
        probabilities = torch.from_numpy(logits).softmax(-1).numpy()
        columns = {
            "split": name,
            "example": split.examples,
            "group": list(split.groups),
            "category": list(split.categories),
            "label": names[split.labels],
            "predicted": names[logits.argmax(-1)],
        }
        columns |= {f"p_{label}": probabilities[:, i] for i, label in enumerate(names)}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
