"""Answers of a trained model: of a run, an adapter, or a folder with a whole (merged) model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lowland.deploy.find import LENGTH, SEQ_CLS, check_mergeable, find_adapted, finished_record
from lowland.deploy.load import fresh_modules, load_adapted, load_with_peft
from lowland.ground.mistakes import Mistake
from lowland.lora import merge_lora
from lowland.models.load import load_classifier, load_tokenizer, read_model_config, token_limit
from lowland.models.quantised import check_readable, compute_in_float32


@dataclass(frozen=True)
class Classifier:
    """A trained model that answers.

    Attributes:
        model: in evaluation mode.
        tokenizer: its own.
        label_names: of the outputs, in order.
        max_length: tokens a text at the most.
    """

    model: Any
    tokenizer: Any
    label_names: tuple[str, ...]
    max_length: int

    @torch.inference_mode()
    def predict(self, texts: Sequence[str], batch_size: int = 32) -> pd.DataFrame:
        """Labels with probabilities: the columns text, label, and `p_<label>` for each label, a row a text."""
        answers = []
        for start in range(0, len(texts), batch_size):
            batch = self.tokenizer(
                list(texts[start : start + batch_size]),
                truncation=True,
                max_length=self.max_length,
                padding=True,
                return_tensors="pt",
            )
            logits = self.model(**batch).logits  # (batch, labels)
            answers.append(logits.double().softmax(-1))
        probabilities = torch.cat(answers).numpy()
        columns = {f"p_{name}": probabilities[:, i] for i, name in enumerate(self.label_names)}
        labels = [self.label_names[i] for i in probabilities.argmax(-1)]
        return pd.DataFrame({"text": list(texts), "label": labels, **columns})


def load_classifier_of(folder: Path, *, merge: bool = False) -> Classifier:
    """The trained model of a run's folder, of an adapter's, or of one that holds a whole model (a merged one, say).

    Args:
        folder: of a run, of a Hugging Face model, or of an adapter in PEFT's format.
        merge: fold the adapter into the weights first.

    Raises:
        Mistake: if the folder holds none, or the base model is not the one that the run was trained on.
    """
    if (folder / "record.json").is_file():
        classifier = _of_run(folder, merge)
    elif (folder / "config.json").is_file():
        if merge:
            raise Mistake(f"{folder} holds a whole model, with nothing to merge; leave --merge out")
        classifier = _of_model(folder)
    elif (folder / "adapter_config.json").is_file():
        classifier = _of_adapter(folder, merge)
    else:
        raise Mistake(
            f"{folder} is neither a run (record.json) nor a model (config.json) nor an adapter (adapter_config.json)"
        )
    classifier.model.eval()
    return classifier


def _of_run(folder: Path, merge: bool) -> Classifier:
    record = finished_record(folder)
    if not (folder / "model").is_dir():
        return _of_adapter(folder, merge)
    if merge:
        raise Mistake(f"{folder} is a run of {record.method}, with nothing to merge; leave --merge out")
    return _of_model(folder / "model", tuple(record.data["labels"]), int(record.asked["max_length"]))


def _of_adapter(folder: Path, merge: bool) -> Classifier:
    adapted = find_adapted(folder)
    base = adapted.base
    if base.kind != SEQ_CLS:
        raise Mistake(f"the adapter in {folder} is for {base.kind}; labels come from one for {SEQ_CLS}")
    if merge:
        check_mergeable(adapted)
    if adapted.ours:
        model = load_adapted(adapted)
        model = merge_lora(model, keep=False, dtype=torch.float32) if merge else model
    else:
        model = load_with_peft(adapted)
    return Classifier(model, base.tokenizer, base.label_names, adapted.max_length)


def _of_model(folder: Path, labels: tuple[str, ...] | None = None, length: int = LENGTH) -> Classifier:
    config = read_model_config(folder)
    if labels is None:
        if not any("SequenceClassification" in name for name in config.architectures or ()):
            raise Mistake(f"the model in {folder} is no classifier of sequences; fine-tune it first")
        labels = tuple(config.id2label[number] for number in sorted(config.id2label))
    check_readable(config, folder)
    tokenizer = load_tokenizer(folder)
    model = compute_in_float32(load_classifier(folder, labels, tokenizer))
    if random := fresh_modules(model):
        raise Mistake(
            f"the weights in {folder} lack {', '.join(random)}: answers would be random; fine-tune it first"
        )
    return Classifier(model, tokenizer, labels, token_limit(tokenizer, config, length))
