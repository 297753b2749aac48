"""Fine-tuning as it is usually scripted: Trainer and PEFT in fp32, one run after another. `main_job.py` times it.

    python benchmarks/plain_script.py --data FOLDER --seeds 42 1337 --epochs 1 --padding longest --out scores.json

FOLDER holds train.csv, validation.csv and test.csv with the columns text and label. Flat-LoRA's noise is added to the
frozen weights before each forward pass, and subtracted after the backward pass.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from add_and_subtract import AddAndSubtract

LENGTH = 256  # tokens that --padding length pads to


class Noise(TrainerCallback):
    """Noise on the frozen weights, with rho rising along a cosine from 0 to `rho`."""

    def __init__(self, model: Any, rho: float) -> None:
        self.noise, self.rho = AddAndSubtract(model, rho), rho

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add noise to the weights."""
        self.noise.rho = self.rho * (1 - math.cos(math.pi * state.global_step / state.max_steps)) / 2
        self.noise.begin_step(state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Subtract it."""
        self.noise.end_step()


def encoded(folder: Path, name: str, tokenizer: Any, padding: str, labels: dict[str, int]) -> Dataset:
    """Return the examples of a file, tokenised."""
    table = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
    how = {"padding": "max_length"} if padding == "length" else {}
    inputs = tokenizer(list(table["text"]), truncation=True, max_length=LENGTH, **how)
    return Dataset.from_dict({**inputs, "labels": [labels[label] for label in table["label"]]})


def accuracy_of(method: str, seed: int, arguments: argparse.Namespace) -> float:
    """Train a model, and return its accuracy on the test set."""
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    names = sorted(set(pd.read_csv(arguments.data / "train.csv", keep_default_na=False)["label"]))
    labels = {label: number for number, label in enumerate(names)}
    sets = {
        name: encoded(arguments.data, name, tokenizer, arguments.padding, labels)
        for name in ("train", "validation", "test")
    }
    base = AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=len(labels))
    config = LoraConfig(TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules="all-linear")
    model = get_peft_model(base, config)
    with TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            TrainingArguments(
                scratch,
                num_train_epochs=arguments.epochs,
                per_device_train_batch_size=arguments.batch_size,
                per_device_eval_batch_size=2 * arguments.batch_size,
                learning_rate=arguments.lr,
                warmup_steps=0.06,  # below 1: a share of all steps
                eval_strategy="epoch",
                save_strategy="no",
                train_sampling_strategy="group_by_length" if arguments.padding == "longest" else "random",
                report_to="none",
                seed=seed,
                use_cpu=True,
            ),
            train_dataset=sets["train"],
            eval_dataset=sets["validation"],
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Noise(model, arguments.rho)] if method == "flat-lora" else [],
        )
        trainer.train()
        answers = trainer.predict(sets["test"])
    return float(np.mean(answers.predictions.argmax(-1) == answers.label_ids))


def main() -> None:
    """Train every method with every seed, and write the accuracies."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True, help="folder of the model")
    parser.add_argument("--methods", nargs="+", default=["lora", "flat-lora"], choices=["lora", "flat-lora"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--rho", type=float, default=0.05)
    parser.add_argument("--padding", choices=["length", "longest"], default="length")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    scores = {
        method: [accuracy_of(method, seed, arguments) for seed in arguments.seeds]
        for method in arguments.methods
    }
    arguments.out.write_text(json.dumps(scores), encoding="utf-8")


if __name__ == "__main__":
    main()
