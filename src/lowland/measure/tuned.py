"""Runs and adapters to measure: their files, their base model, and what training added to each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from lowland.deploy.find import Base, base_of_run, find_adapted
from lowland.deploy.load import load_with_peft
from lowland.deploy.predict import load
from lowland.deploy.runs import check_weights, finished_record
from lowland.ground.listing import no_such_run
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord
from lowland.lora import LoRAConfig
from lowland.lora.bases import weight_of
from lowland.lora.peft_weights import listed
from lowland.lora.spectrum import SVD, LowRank, svd
from lowland.lora.targets import target_names
from lowland.measure.adapter_files import AdapterFile, read_adapter
from lowland.train.methods import method_named


@dataclass(frozen=True)
class Dense:
    """Difference W' - W (out, in) of a layer whose update has no factors."""

    difference: Tensor

    def matrix(self) -> Tensor:
        """Return the difference."""
        return self.difference

    def svd(self) -> SVD:
        """Return its singular value decomposition."""
        return svd(self.difference)


Update = LowRank | Dense
"""Change of a layer's weight (out, in) by training."""


@dataclass(frozen=True)
class Tuned:
    """Run or adapter to measure.

    Attributes:
        folder: folder of the run, or of the adapter.
        adapter: its adapter; None for a run that trained the model's own weights.
        record: record of the run; None for an adapter that comes without one.
        base: its base model; None if that cannot be found.
        without_base: why the base model cannot be found, in sentences.
    """

    folder: Path
    adapter: AdapterFile | None
    record: RunRecord | None
    base: Base | None
    without_base: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """Name of the run's task; "" without a record."""
        return "" if self.record is None else self.record.task

    @property
    def method(self) -> str:
        """Label of the run's method; for an adapter without a record, its folder."""
        return str(self.folder) if self.record is None else self.record.method

    @property
    def seed(self) -> int | None:
        """Seed of the run; None without a record."""
        return None if self.record is None else self.record.seed

    def updates(self, base: nn.Module | None) -> dict[str, Update]:
        """Return what training added to each layer, by the layer's name.

        For LoRA these are the factors of each adapted layer; otherwise the differences of the base's linear layers but
        those of the head, for which the trained model is loaded.

        Args:
            base: the base model; None if it cannot be found.

        Raises:
            Mistake: if it cannot be told without the base model, or the weights cannot be loaded or are not finite.
        """
        if self.adapter is not None and self.adapter.adds_product:
            return self._products(self.adapter)
        if base is None:
            raise Mistake(f"{self._without_product()}; {'; '.join(self.without_base)}")
        trained = self._trained_model()
        modules = dict(trained.named_modules())
        names = [name for name in target_names(base, LoRAConfig()) if name in modules]
        with torch.no_grad():
            return {
                name: Dense(weight_in(trained, name) - weight_in(base, name)) for name in names
            }  # (out, in)

    def _products(self, adapter: AdapterFile) -> dict[str, Update]:
        """Return the factors of a LoRA adapter; raise `Mistake` if it cannot be measured."""
        hint = f"lowland check --adapter {adapter.folder} says more"
        if adapter.broken or not adapter.factors:
            what = f"A and B of {listed(adapter.broken)} do not fit together" if adapter.broken else ""
            raise Mistake(f"{adapter.folder} is damaged: {what or 'it holds A and B of no layer'}; {hint}")
        wrong = [name for name, layer in adapter.factors.items() if not _is_finite(layer)]
        if wrong:
            raise Mistake(f"{adapter.folder} has NaN or infinity in {listed(wrong)}; {hint}")
        return dict(adapter.factors)

    def _without_product(self) -> str:
        """Return why the update is known only beside the base model."""
        if self.adapter is None:
            return f"{self.folder} is a run of {self.method}, whose update is measured against its base model"
        kind = ", ".join([self.adapter.kind or "an unknown kind", *self.adapter.variants])
        return f"{self.folder} holds an adapter of {kind}, whose update is measured against its base model"

    def _trained_model(self) -> Any:
        """Load the trained model, with its adapter merged."""
        of_run = self.record is not None
        model = load(self.folder).model if of_run else load_with_peft(find_adapted(self.folder))
        return model.merge_and_unload() if isinstance(model, PeftModel) else model


def find_tuned(folder: Path, model: str | None = None) -> Tuned | None:
    """Find a run or an adapter, and its base model if that is on this machine.

    Args:
        folder: folder of a run, or of an adapter in PEFT's format.
        model: base model of an adapter without a run; default: the one that it names.

    Returns:
        What was found; None for a run that trains no network.

    Raises:
        Mistake: if the folder holds neither, the run failed, or its weights are gone or damaged.
    """
    if (folder / "record.json").is_file():
        return _of_run(folder)
    if (folder / "adapter_config.json").is_file():
        adapter = read_adapter(folder)
        try:
            return Tuned(folder, adapter, None, find_adapted(folder, model).base)
        except Mistake as mistake:
            return Tuned(folder, adapter, None, None, tuple(mistake.problems))
    if not folder.exists():
        raise Mistake(no_such_run(folder) or f"{folder} does not exist; name a run, or an adapter's folder")
    raise Mistake(f"{folder} holds no run (record.json) and no adapter (adapter_config.json)")


def _of_run(folder: Path) -> Tuned | None:
    record = finished_record(folder)
    if method_named(record.asked["method"]["name"]).counts_words:
        return None
    check_weights(folder, record)
    adapter = read_adapter(folder / "adapter") if (folder / "adapter").is_dir() else None
    if adapter is None and not (folder / "model").is_dir():
        raise Mistake(f"{folder} kept no weights; run it again with keep_weights: true and --fresh")
    try:
        return Tuned(folder, adapter, record, base_of_run(folder, record))
    except Mistake as mistake:
        return Tuned(folder, adapter, record, None, tuple(mistake.problems))


def weight_in(model: nn.Module, name: str) -> Tensor:
    """Return the weight (out, in) of a layer in float32 or wider; of an embedding (features, tokens)."""
    layer = model.get_submodule(name)
    weight = weight_of(layer).detach()
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    return wide.T if isinstance(layer, nn.Embedding) else wide


def base_weight(
    modules: Mapping[str, nn.Module], model: nn.Module, name: str, update: Update
) -> Tensor | None:
    """Return the base's weight of a layer; None if the base has no such layer, or one of another size."""
    if not isinstance(getattr(modules.get(name), "weight", None), Tensor):
        return None
    weight = weight_in(model, name)
    size = (len(update.b), update.a.shape[1]) if isinstance(update, LowRank) else update.difference.shape
    return weight if tuple(weight.shape) == tuple(size) else None


def _is_finite(layer: LowRank) -> bool:
    return bool(layer.a.isfinite().all() and layer.b.isfinite().all())
