"""Trained run to measure: its model in float32 in two spaces of weights, and a fixed sample of its examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.deploy.batches import batches
from lowland.deploy.predict import Predictor, WordCounter, load
from lowland.deploy.runs import data_of
from lowland.deploy.study_runs import TrainedRun
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord
from lowland.ground.rng import stream
from lowland.lora import LoRAConfig, lora_layers
from lowland.lora.embedding import LoRAEmbedding
from lowland.lora.layer import LoRALayer
from lowland.lora.targets import target_names
from lowland.measure.space import ADAPTER, FULL, Branch, Point, Space
from lowland.models.quantised import quantised_with
from lowland.tasks.base import Task
from lowland.tasks.examples import Batch, Setup, Split


@dataclass(frozen=True)
class Sample:
    """Some examples of one split, as batches.

    Attributes:
        batches: padded batches with their targets.
        examples: (rows,) the example's number in the source, for each row of the batches in turn.
        groups: (rows,) the group of alike examples, for each row.
    """

    batches: tuple[Batch, ...]
    examples: npt.NDArray[np.int64]
    groups: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """Number of rows of each batch."""
        return [len(next(iter(batch.values()))) for batch in self.batches]


@dataclass(frozen=True)
class Subject:
    """Trained run to measure.

    Attributes:
        folder: folder of the run.
        record: its record.
        task: its task.
        setup: what its examples are encoded with.
        model: the model with its base weights, in float32 and in evaluation mode; adapters are taken out.
        spaces: the spaces by name; "adapter" only for LoRA and rsLoRA.
    """

    folder: Path
    record: RunRecord
    task: Task
    setup: Setup
    model: Any
    spaces: Mapping[str, Space]

    def __str__(self) -> str:
        return f"{self.record.method}, seed {self.record.seed}"

    def space(self, name: str) -> Space:
        """Return a space by its name.

        Raises:
            Mistake: if the run has no such space.
        """
        if name not in self.spaces:
            raise Mistake(
                f"{self.folder} is a run of {self.record.method}, which has no factors A and B: it has no space of an"
                f" adapter; measure it in the full space (--spaces {FULL})"
            )
        return self.spaces[name]

    def sample(
        self,
        split: str,
        *,
        limit: int,
        batch_size: int,
        data: Path | None = None,
        test_data: Path | None = None,
        by_length: bool = True,
    ) -> Sample:
        """Return a sample of a split: the same examples in the same batches for every run of a study.

        Args:
            split: name of the split.
            limit: largest number of examples, drawn from the named stream of the split.
            batch_size: number of rows in a batch.
            data: the data file, if it has moved.
            test_data: the file with the test set, if it has moved.
            by_length: whether a batch holds examples of like lengths, which is fast; else each is drawn at random.

        Raises:
            Mistake: if the data cannot be read or have changed, or there is no such split.
        """
        splits = data_of(self.folder, self.record, data, test_data).splits
        if split not in splits:
            raise Mistake(f"the run in {self.folder} has no split {split!r}; it has {', '.join(splits)}")
        chosen = _drawn(splits[split], split, limit)
        encoded = self.task.encode(chosen.columns, self.setup, "train")
        shuffled = stream(0, "measure", split, "order").permutation(len(encoded))
        order = encoded.by_length if by_length else shuffled
        rows = encoded.examples[order]
        return Sample(
            tuple(batches(self.task, encoded, self.setup, batch_size, self.model, order)),
            chosen.examples[rows],
            tuple(chosen.groups[row] for row in rows),
        )


def missing_splits(runs: Sequence[TrainedRun], splits: Sequence[str]) -> list[str]:
    """Return a sentence for each split that runs do not have, before any of them is measured."""
    return [
        f"the run in {run.folder} has no split {split!r}; it has {', '.join(run.record.data['sizes'])}"
        for run in runs[:1]  # they are of one study
        for split in splits
        if split not in run.record.data["sizes"]
    ]


def _drawn(split: Split, name: str, limit: int) -> Split:
    """Return at most `limit` examples of a split, in their order."""
    if len(split) <= limit:
        return split
    rows = np.sort(stream(0, "measure", name).permutation(len(split))[:limit])
    return Split(
        {column: tuple(values[row] for row in rows) for column, values in split.columns.items()},
        split.examples[rows],
        tuple(split.groups[row] for row in rows),
        tuple(split.categories[row] for row in rows),
    )


def load_network(folder: Path, purpose: str) -> tuple[Predictor, RunRecord]:
    """Load the trained network of a run, and its record.

    Args:
        folder: folder of the run.
        purpose: what the record is needed for, as the end of a sentence.

    Raises:
        Mistake: if the folder holds no finished run of a network, or its weights are gone or changed, or its base model
            cannot be found.
    """
    predictor = load(folder)
    record = predictor.record
    if record is None:
        raise Mistake(f"{folder} is not the folder of a run (it has no record.json), {purpose}")
    if isinstance(predictor, WordCounter):
        raise Mistake(f"{folder} is a run of {record.method}, which trains no network; leave it out")
    return predictor, record


def load_subject(folder: Path, remark: Callable[[str], None]) -> Subject:
    """Load the trained model of a run, to measure it in float32.

    The full space holds the merged weight of each linear layer but the head, adapted or not, so that it is the same for
    every method. The adapter's space holds A and B.

    Args:
        folder: folder of the run.
        remark: called with a sentence if it was trained in another number format.

    Raises:
        Mistake: if the folder holds no finished run of a network, its weights are gone or changed, or its base model
            cannot be found or is quantised.
    """
    predictor, record = load_network(folder, "whose data measures need")
    if kind := quantised_with(predictor.model.config):
        raise Mistake(
            f"the base model of {folder} is quantised ({kind}), and its weights cannot be moved; give a run on a model"
            " that is not"
        )
    if predictor.dtype != "fp32":
        remark("runs trained in bf16 are measured in float32")
    model, branches, factors = _taken_apart(predictor.model)
    model.requires_grad_(False)
    if model._can_set_attn_implementation():
        model.set_attn_implementation("eager")  # fused attention has no second derivative
    return Subject(folder, record, predictor.task, predictor.setup, model, _spaces(model, branches, factors))


def _taken_apart(model: Any) -> tuple[Any, dict[str, Branch], dict[str, Tensor]]:
    """Return a model without its adapters, where their factors enter it, and the factors.

    PEFT's adapters of other kinds than LoRA are merged, and leave no factors.
    """
    if isinstance(model, PeftModel):
        return model.merge_and_unload(), {}, {}
    branches: dict[str, Branch] = {}
    factors: dict[str, Tensor] = {}
    for name, layer in dict(lora_layers(model)).items():
        a, b = f"{name}.lora_A", f"{name}.lora_B"
        factors[a], factors[b] = layer.lora_A.detach().float(), layer.lora_B.detach().float()
        branches[f"{name}.weight"] = Branch(a, b, layer.scaling, _stores_columns(layer))
        model.set_submodule(name, layer.base)
    return model, branches, factors


def _stores_columns(layer: LoRALayer) -> bool:
    return layer.transposed or isinstance(layer, LoRAEmbedding)


def _spaces(model: Any, branches: Mapping[str, Branch], factors: Point) -> dict[str, Space]:
    """Return a model's spaces by name."""
    shifted = not model.config.is_encoder_decoder
    layers: dict[str, nn.Module] = dict(model.named_modules())
    weights = {f"{name}.weight" for name in target_names(model, LoRAConfig())} | branches.keys()
    own: dict[str, Tensor] = {
        name: parameter.detach() for name, parameter in model.named_parameters() if name in weights
    }
    with torch.no_grad():
        center = {
            name: weight + branches[name].delta(factors) if name in branches else weight
            for name, weight in own.items()
        }
    columns = frozenset(name for name in center if isinstance(layers[name.removesuffix(".weight")], Conv1D))
    spaces = {FULL: Space(FULL, model, center, columns, {}, shifted)}
    if branches:
        spaces[ADAPTER] = Space(ADAPTER, model, factors, frozenset(), branches, shifted)
    return spaces
