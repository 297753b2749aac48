"""Report of a merge: a JSON file, and a short table for the terminal."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

import lowland
from lowland.deploy.merge.proof import LayerError, LogitDifference
from lowland.ground.mistakes import plural
from lowland.ground.records import title_of
from lowland.models.load import first_names
from lowland.models.quantised import NF4

MAX_LOST = 0.5
"""Largest share of the adapter's effect, or of a layer's update, that a merge may lose (exclusive). A merge without
s·BA loses 1."""


@dataclass(frozen=True)
class MergeReport:
    """Result of a merge: how far the merged model is from base and adapter.

    Attributes:
        adapter: the run's or adapter's folder.
        base: about the base model: name, origin, SHA-256, the package that quantised it (None: none), and
            whether some of its layers round their inputs (those in 8 bits without an adapter).
        task_type: PEFT's name of the kind of task.
        task: lowland's task; None if no record names it. `lowland predict` reads it from the file.
        input_names: names of the task's input columns in the file that the run was trained on; None without a record.
        dtype: number format of the merged model: fp32, fp16, bf16 or nf4.
        precision: data type of the sum W + s·BA.
        tolerance: largest difference of a logit that passes.
        texts: `origin`, `number`, `kind` (texts or images), and `instead`: why they are not the run's validation
            examples (None if they are, if a file was named, or if the adapter has no record of a run).
        logits: difference between the merged model as it was saved, computed in fp32 (as in `lowland predict`), and
            the unmerged model in fp32: the effect of merging and of rounding the weights.
        own_dtype: the same, with the merged model computed in its own dtype, which rounds every layer's output, too;
            for nf4 as bitsandbytes computes on this machine.
        effect: difference of the unmerged model's logits with and without s·BA. A merge without s·BA would differ by as
            much.
        layers: for each merged layer, the distance of the saved W' from W + s·BA.
        setup: `fields`, `max_length`, `labels` and `chosen` of the run, with which `lowland predict` answers as the run
            did; None without a record.
    """

    adapter: str
    base: Mapping[str, Any]
    task_type: str
    task: str | None
    input_names: Mapping[str, str] | None
    dtype: str
    precision: str
    tolerance: float
    texts: Mapping[str, Any]
    logits: LogitDifference
    own_dtype: LogitDifference
    effect: LogitDifference
    layers: Mapping[str, LayerError]
    setup: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether the merged model's logits agree with those of the unmerged one: `failures` is empty."""
        return not self.failures()

    def failures(self) -> list[str]:
        """Return the reasons why the merge did not pass.

        It fails if

        - the largest difference of a logit is NaN or above the tolerance;
        - a difference computed in the model's own dtype is not finite;
        - the largest difference is at least `MAX_LOST` of the adapter's effect;
        - in fp32, a layer loses at least that share of its update. In fp16 and bf16, which may round a small update
          away, a layer's error makes it fail only if it is not finite; other lost layers are in `warnings`.

        If the base rounds its inputs to 8 bits, the logits differ by that rounding, too. Then, except in nf4, the third
        rule does not apply, and the fourth one applies as in fp32.
        """
        sentences = []
        if not self.logits.largest <= self.tolerance:
            sentences.append(
                f"the merged model differs from base and adapter by more than the tolerance ({self.tolerance:g});"
                f" {'' if self.dtype == 'fp32' else 'use --dtype fp32, or '}allow a larger difference with --tolerance"
            )
        if not math.isfinite(self.own_dtype.largest):
            sentences.append(f"computed {self._own_way}, some logits are not finite; use another --dtype")
        by_layers = (
            self.base["rounds_inputs"] and self.dtype != NF4
        )  # the logits hold the base's own rounding
        effect = self.effect.largest
        if effect and not by_layers and not self.logits.largest < MAX_LOST * effect:
            sentences.append(
                f"the merged model differs from base and adapter by {self.logits.largest:.2g}, which is not less than"
                f" half of the adapter's effect ({effect:.2g}); {self._kept_by}"
            )
        lost = self._lost_layers()
        finite = all(math.isfinite(self.layers[name].of_update) for name in lost)
        if lost and (self.dtype == "fp32" or by_layers or (self.dtype != NF4 and not finite)):
            sentences.append(
                f"{len(lost)} layers have lost half of their update or more ({first_names(lost)}); {self._kept_by}"
            )
        return sentences

    def _lost_layers(self) -> list[str]:
        return [name for name, error in self.layers.items() if not error.of_update < MAX_LOST]

    @property
    def _kept_by(self) -> str:
        """Advice for a merge that loses what was learned."""
        return "keep the adapter unmerged" + ("" if self.dtype == "fp32" else ", or use --dtype fp32")

    def warnings(self) -> list[str]:
        """Return the warnings to show before the result."""
        sentences = []
        if self.texts["instead"]:
            sentences.append(
                f"{self.texts['instead']}; compared on other {self.texts['kind']}: {self.texts['origin']}"
            )
        if self.base["rounds_inputs"]:
            sentences.append(
                "layers of the base without an adapter round their inputs to 8 bits, and the merged model does not:"
                " part of the difference comes from that"
            )
        if self.base["quantised"]:
            sentences.append(
                f"the base is quantised ({self.base['quantised']}): the adapter is merged into its dequantised weights,"
                f" and the merged model, in {self.dtype}, is larger than the base"
            )
        if self.dtype != "fp32":
            sentences.append(
                f"rounding the weights to {self.dtype} changes logits by up to {self.logits.largest:.2g}"
                f" (mean {self.logits.mean:.2g}) and {self.logits.changed} of {self.logits.predictions} predictions;"
                f" computing {self._own_way} as well, by up to {self.own_dtype.largest:.2g} and"
                f" {plural(self.own_dtype.changed, 'prediction')}. To avoid this, keep the adapter unmerged, as"
                f" `lowland predict` does, or merge {self._instead}"
            )
        if self.dtype != "fp32" and (lost := self._lost_layers()):
            sentences.append(
                f"{len(lost)} layers have lost half of their update or more: {first_names(lost)}"
            )
        return sentences

    @property
    def _own_way(self) -> str:
        return "with bitsandbytes" if self.dtype == NF4 else f"in {self.dtype}"

    @property
    def _instead(self) -> str:
        wide = "with --dtype fp32"
        return f"{wide} (or bf16, which loses less than nf4)" if self.dtype == NF4 else wide

    def as_json(self) -> str:
        """Return the content of `merge_report.json`."""
        versions = {
            "lowland": lowland.__version__,
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }
        content = {**dataclasses.asdict(self), "passed": self.passed, "versions": versions}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """Return the report as a table for the terminal."""
        weight, update = (
            max(self.layers, key=lambda name: getattr(self.layers[name], kind))
            for kind in ("of_weight", "of_update")
        )
        rows = {
            "merged": f"{len(self.layers)} layers of {title_of(self.base)}, summed in {self.precision},"
            f" stored in {self.dtype}",
            "compared on": f"{self.texts['number']} {self.texts['kind']}: {self.texts['origin']}",
            "largest difference of a logit": f"{self.logits.largest:.2g}; tolerance {self.tolerance:g}",
            "mean difference of a logit": f"{self.logits.mean:.2g}; logits reach {self.logits.largest_logit:.2g}",
            "effect of the adapter": f"changes logits by up to {self.effect.largest:.2g} (mean {self.effect.mean:.2g})",
            "changed predictions": f"{self.logits.changed} of {self.logits.predictions}",
            "largest relative error of a weight": f"{self.layers[weight].of_weight:.2g} ({weight})",
            "largest relative loss of an update": f"{self.layers[update].of_update:.2g} ({update})",
        }
        if self.dtype != "fp32":
            own = self.own_dtype
            rows[f"computed {self._own_way}, too"] = (
                f"largest {own.largest:.2g}, mean {own.mean:.2g}, changed {own.changed} of {own.predictions}"
            )
        width = max(map(len, rows))
        return "\n".join(f"{name.ljust(width)}  {words}" for name, words in rows.items())
