"""Checks of an adapter's files: whether weights are there, are finite, and fit the config."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lowland.ground.mistakes import plural
from lowland.lora.peft_config import HEADS_OF_CLASSIFIERS
from lowland.lora.peft_targets import is_selected
from lowland.lora.peft_weights import WEIGHTS_FILE, is_adapter
from lowland.measure.adapter_files import AdapterFile
from lowland.measure.diagnosis.finding import Finding, first_of, layers_of


def without_factors(file: AdapterFile) -> list[Finding]:
    """Return why nothing can be measured: no layer has an A and a B."""
    path = file.folder / WEIGHTS_FILE
    if file.broken:
        return _broken_layers(file)
    if file.kind not in ("LORA", ""):
        return [Finding("note", "kind", f"it is {file.kind}; only LoRA has an A and a B to diagnose")]
    if file.convolutions:
        layers = plural(len(file.convolutions), "layer")
        return [Finding("note", "kind", f"its {layers} are convolutions, whose A and B are not diagnosed")]
    what = plural(len(file.tensors), "tensor")
    return [
        Finding(
            "FAIL",
            "no weights",
            f"{path} holds {what}, and A and B of no layer: the adapter was lost when it was saved; save it again with"
            " PEFT's save_pretrained (under DeepSpeed ZeRO-3 or FSDP with gathered weights)",
        )
    ]


def _broken_layers(file: AdapterFile) -> list[Finding]:
    """Check that each layer has an A and a B that fit together."""
    if not file.broken:
        return []
    tensors = {name: tensor for name, tensor in file.tensors.items() if is_adapter(name)}
    empty = sum(tensor.numel() == 0 for tensor in tensors.values())
    if empty:
        what = f"{empty} of {len(tensors)} matrices A and B are empty, as DeepSpeed ZeRO-3 leaves them"
        todo = "save it again with gathered weights (stage3_gather_16bit_weights_on_model_save)"
    else:
        what = f"A and B of {layers_of(file.broken)} do not fit together, or one of them is missing"
        todo = "save the adapter again"
    return [Finding("FAIL", "weights", f"{what}; {todo}")]


def _not_finite(file: AdapterFile) -> list[Finding]:
    """Check that all values are finite."""
    wrong = [
        name
        for name, tensor in file.tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if not wrong:
        return []
    return [
        Finding(
            "FAIL",
            "NaN",
            f"{len(wrong)} of {plural(len(file.tensors), 'tensor')} hold NaN or infinity ({first_of(wrong)}): training"
            " diverged, or values left the range of fp16; use an earlier checkpoint, or train with a lower learning"
            " rate or in bf16",
        )
    ]


def _wrong_ranks(file: AdapterFile) -> list[Finding]:
    """Check that A has the rank that the config names, and that there is a scale."""
    findings = []
    differing = {
        name: (len(layer.a), rank)
        for name, layer in file.factors.items()
        if (rank := file.rank_of(name)) is not None and rank != len(layer.a)
    }
    if differing:
        own, named = next(iter(differing.values()))
        findings.append(
            Finding(
                "FAIL",
                "rank",
                f"A of {layers_of(list(differing))} has {plural(own, 'row')}, and adapter_config.json says r = {named}:"
                " weights and config are of two trainings; put the right config beside the weights",
            )
        )
    if any(math.isnan(layer.scaling) for layer in file.factors.values()):
        findings.append(
            Finding(
                "FAIL", "scale", "adapter_config.json has no lora_alpha, so the scale is not known; add it"
            )
        )
    return findings


def _targets(file: AdapterFile) -> list[Finding]:
    """Check that config and weights name the same layers, as far as that is seen without the model."""
    targets = file.config.get("target_modules")
    if not isinstance(targets, list | str) or targets == "all-linear":
        return []
    layers = [*file.factors, *file.broken, *file.convolutions]
    plain = {"target_modules": targets}
    findings = []
    if isinstance(targets, list):
        missing = [
            t for t in targets if not any(is_selected(name, {"target_modules": [t]}) for name in layers)
        ]
        if missing:
            findings.append(
                Finding(
                    "FAIL",
                    "targets",
                    f"adapter_config.json targets {first_of(missing)}, and {WEIGHTS_FILE} holds no weights of such a"
                    " layer: they stay at their start, where B is zero; save the adapter again, or correct"
                    " target_modules",
                )
            )
    if others := [name for name in layers if not is_selected(name, plain)]:
        findings.append(
            Finding(
                "FAIL",
                "targets",
                f"{WEIGHTS_FILE} holds weights of {layers_of(others)}, which target_modules does not select: PEFT"
                " ignores them; correct target_modules",
            )
        )
    return findings


def _saved_modules(file: AdapterFile) -> list[Finding]:
    """Check that the modules that were trained in full are in the file, and a classifier's head among them."""
    whole = {name for name in file.tensors if not is_adapter(name)}
    entries = [str(entry) for entry in file.config.get("modules_to_save") or ()]
    if missing := [entry for entry in entries if not any(f".{entry}." in f".{name}" for name in whole)]:
        of_classifier = file.config.get("task_type") == "SEQ_CLS"
        missing = (
            [] if of_classifier and set(entries) - set(missing) else missing
        )  # PEFT adds both usual names
        if missing:
            return [
                Finding(
                    "FAIL",
                    "head",
                    f"modules_to_save names {first_of(missing)}, and {WEIGHTS_FILE} lacks it: it would be random; save"
                    " the adapter again with it",
                )
            ]
    heads = {part for name in whole for part in name.split(".")} & set(HEADS_OF_CLASSIFIERS)
    if file.config.get("task_type") == "SEQ_CLS" and not heads:
        return [
            Finding(
                "note",
                "head",
                "it is for a classifier, and holds no head (score or classifier): predictions are random unless the"
                " base has a trained one; save the adapter with the head in modules_to_save",
            )
        ]
    return []


BROKEN: Sequence[Callable[[AdapterFile], list[Finding]]] = (
    _broken_layers,
    _not_finite,
    _wrong_ranks,
    _targets,
    _saved_modules,
)
"""Checks of the files."""
