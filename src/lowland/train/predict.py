"""Answers of a trained model: of a run's folder, or of a folder with a whole (merged) model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoConfig

from lowland.lora import load_adapter, merge_lora
from lowland.mistakes import Mistake
from lowland.records import read_record
from lowland.train.models import find_model, load_classifier, load_tokenizer, token_limit


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
    """The trained model of a run's folder, or of a folder that holds a whole model (a merged one, for instance).

    Args:
        folder: of a run, or of a Hugging Face model.
        merge: fold the run's adapter into the weights first.

    Raises:
        Mistake: if the folder holds neither, or the base model is not the one that the run was trained on.
    """
    if (folder / "record.json").is_file():
        classifier = _of_run(folder, merge)
    elif (folder / "config.json").is_file():
        if merge:
            raise Mistake(f"{folder} holds a whole model, with nothing to merge; leave --merge out")
        classifier = _of_model(folder)
    else:
        raise Mistake(f"{folder} is neither a run (record.json) nor a model (config.json)")
    classifier.model.eval()
    return classifier


def _of_run(folder: Path, merge: bool) -> Classifier:
    record = read_record(folder)
    if record.status != "finished":
        raise Mistake(f"the run in {folder} failed ({record.failure}); it has nothing to answer with")
    labels, length = tuple(record.data["labels"]), int(record.asked["max_length"])
    if (folder / "model").is_dir():
        if merge:
            raise Mistake(f"{folder} is a run of {record.method}, with nothing to merge; leave --merge out")
        return _of_model(folder / "model", labels, length)
    if not (folder / "adapter").is_dir():
        raise Mistake(f"{folder} kept no weights; run it again with keep_weights: true and --fresh")
    source = find_model(record.asked["model"], record.asked["revision"])
    for part, words in (("sha256", "weights"), ("files_sha256", "config and tokenizer")):
        if source.describe()[part] != record.model[part]:
            raise Mistake(
                f"the {words} of the base model {source.name} have SHA-256 {source.describe()[part]};"
                f" the run in {folder} was trained on {record.model[part]}"
            )
    tokenizer = load_tokenizer(source.folder)
    model = load_adapter(load_classifier(source.folder, labels, tokenizer), folder / "adapter")
    length = token_limit(tokenizer, model.config, length)
    return Classifier(merge_lora(model, keep=False) if merge else model, tokenizer, labels, length)


def _of_model(folder: Path, labels: tuple[str, ...] | None = None, length: int = 512) -> Classifier:
    config = AutoConfig.from_pretrained(folder)
    if labels is None:
        if not any("SequenceClassification" in name for name in config.architectures or ()):
            raise Mistake(f"the model in {folder} is no classifier of sequences; fine-tune it first")
        labels = tuple(config.id2label[number] for number in sorted(config.id2label))
    tokenizer = load_tokenizer(folder)
    model = load_classifier(folder, labels, tokenizer)
    return Classifier(model, tokenizer, labels, token_limit(tokenizer, config, length))
