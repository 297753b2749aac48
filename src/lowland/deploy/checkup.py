"""Checklist for LoRA on a model: frozen base, gradients, merging, saving, and loading with PEFT."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from torch import Tensor, nn

from lowland.deploy.load import load_base
from lowland.deploy.merge.proof import fingerprints, noun_of
from lowland.deploy.settings import CheckSettings
from lowland.deploy.subject import LEARNING_RATE, TEXTS, ModelUnderTest, load_model_under_test
from lowland.ground.mistakes import reason_of
from lowland.lora import (
    find_head,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
    unmerge_lora,
)
from lowland.lora.inject import parameter_sizes
from lowland.models.load import first_names

Verdict = Literal["ok", "note", "FAIL"]
OK: Verdict = "ok"
NOTE: Verdict = "note"
FAIL: Verdict = "FAIL"

STEPS = 10
LARGE_SHARE = 0.1
"""Share of the parameters above which there is a note: much for LoRA, whose point is to train few."""
MERGE_TOLERANCE, ROUND_TRIP_TOLERANCE, PEFT_TOLERANCE = 1e-4, 1e-6, 1e-5
"""Largest differences of a logit that pass: after merging, after saving and loading, and with PEFT. They are multiplied
by the largest logit if it exceeds 1, as those of language models do: rounding grows with what is rounded."""

CheckResult = tuple[Verdict, str]
"""Verdict of a check, and the figures that it is based on."""


def check_model(settings: CheckSettings) -> Iterator[tuple[str, Verdict, str]]:
    """Run all checks on a model; yield name, verdict and figures as each is done.

    Raises:
        Mistake: if the model or the adapter cannot be loaded, or the options do not fit the model.
    """
    with TemporaryDirectory() as scratch:
        subject = load_model_under_test(settings, Path(scratch))
        for name, check in CHECKS.items():
            try:
                verdict, figures = check(subject)
            except Exception as error:  # a check that cannot be run has failed; the others go on
                verdict, figures = FAIL, f"{type(error).__name__}: {reason_of(error)}"
            yield name, verdict, figures


def check_adapters(subject: ModelUnderTest) -> CheckResult:
    """Count the adapters, and name the layers that have one."""
    layers = dict(lora_layers(subject.model))
    endings = list(dict.fromkeys(name.rpartition(".")[2] for name in layers))
    embeddings = sum(not hasattr(layer, "in_features") for layer in layers.values())
    beside = f" and {embeddings} embeddings" if embeddings else ""
    where = f"{len(layers) - embeddings} of {subject.linear} linear layers{beside} ({', '.join(endings)})"
    return (OK if layers else FAIL), f"{len(layers)} on {where}"


def check_share(subject: ModelUnderTest) -> CheckResult:
    """Compare the number of the adapters' parameters with that of the model without its head."""
    head = tuple(f"{name}." for name in find_head(subject.model))
    sizes = parameter_sizes(subject.model)
    total = sum(sizes[value] for name, value in subject.model.named_parameters() if not name.startswith(head))
    own = sum(layer.lora_A.numel() + layer.lora_B.numel() for _, layer in lora_layers(subject.model))
    figures = f"{own / total:.2%} of the parameters without the head: {own:,} of {total:,}"
    return (OK, figures) if own / total <= LARGE_SHARE else (NOTE, f"{figures}; a lower --rank trains fewer")


def check_first_answer(subject: ModelUnderTest) -> CheckResult:
    """Check that a new adapter changes no logit: B is zero."""
    gap = _gap(subject.logits(), subject.before)
    if subject.adapter is not None:
        return NOTE, f"the adapter changes logits by up to {gap:.2g}"
    if gap == 0:
        return OK, "logits equal the base's bit for bit"
    tolerance = ROUND_TRIP_TOLERANCE * _size(subject.before)
    return (OK if gap <= tolerance else FAIL), f"logits differ from the base's by up to {gap:.2g}"


def check_base_frozen(subject: ModelUnderTest) -> CheckResult:
    """Check that a backward pass leaves no gradient in the base model."""
    subject.backward()
    frozen = subject.frozen_parameters()
    leaks = [name for name, value in frozen.items() if value.requires_grad or value.grad is not None]
    if leaks:
        return FAIL, f"{len(leaks)} of its parameters have a gradient: {first_names(leaks)}"
    return OK, f"no gradient in any of its {len(frozen)} parameters after a backward pass"


def check_gradients(subject: ModelUnderTest) -> CheckResult:
    """Check that every adapter has a gradient in the first step, and both A and B after it (B starts at zero)."""
    layers = dict(lora_layers(subject.model))
    with subject.restore_user_adapter():
        subject.backward()
        dead = [
            name
            for name, layer in layers.items()
            if _has_no_gradient(layer.lora_A) and _has_no_gradient(layer.lora_B)
        ]
        subject.optimizer(LEARNING_RATE).step()
        subject.backward()
        for part in ("lora_A", "lora_B"):
            dead += [
                f"{name}.{part}" for name, layer in layers.items() if _has_no_gradient(getattr(layer, part))
            ]
    if dead:
        return FAIL, f"no gradient in {len(dead)} adapters or matrices: {first_names(dead)}"
    return OK, f"in all {len(layers)} adapters at once, in A and B after one step"


def check_learning(subject: ModelUnderTest) -> CheckResult:
    """Check that the loss falls on a small batch."""
    with subject.restore_user_adapter():
        optimizer, losses = subject.optimizer(LEARNING_RATE), [subject.backward()]
        for _ in range(STEPS):
            optimizer.step()
            losses.append(subject.backward())
    figures = f"{losses[0]:.4f} -> {losses[-1]:.4f} in {STEPS} steps of AdamW (lr {LEARNING_RATE:g})"
    return (OK if losses[-1] < losses[0] else FAIL), f"{figures} on {TEXTS} {noun_of(subject.base)}s"


def check_merging(subject: ModelUnderTest) -> CheckResult:
    """Check that merging changes no logit by more than `MERGE_TOLERANCE`."""
    apart = subject.logits()
    merge_lora(subject.model)
    try:
        return _within(subject.logits(), apart, MERGE_TOLERANCE)
    finally:
        unmerge_lora(subject.model)


def check_unmerging(subject: ModelUnderTest) -> CheckResult:
    """Check that the base model's parameters are unchanged, bit for bit, after all these checks."""
    unmerge_lora(merge_lora(subject.model))
    now = fingerprints(subject.frozen_parameters())
    changed = [name for name, value in now.items() if subject.frozen[name] != value]
    if changed:
        return FAIL, f"{len(changed)} parameters of the base have changed: {first_names(changed)}"
    return OK, f"all {len(now)} parameters of the base are unchanged, bit for bit"


def check_round_trip(subject: ModelUnderTest) -> CheckResult:
    """Check that the saved adapter gives the same logits when it is loaded into a base model with another head."""
    folder = save_adapter(subject.model, subject.scratch / "adapter", base_model=subject.base.source.name)
    loaded = load_adapter(load_base(subject.base, seed=1).model, folder).eval()
    return _within(subject.logits(loaded), subject.logits(), ROUND_TRIP_TOLERANCE)


def check_peft_reads_it(subject: ModelUnderTest) -> CheckResult:
    """Check that PEFT computes the same logits from the user's adapter, or from that saved by `check_round_trip`."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's other notes
        folder = subject.adapter or subject.scratch / "adapter"
        base: nn.Module = load_base(subject.base, seed=1).model
        model = PeftModel.from_pretrained(base, str(folder)).eval()
        return _within(subject.logits(model), subject.logits(), PEFT_TOLERANCE)


CHECKS: Mapping[str, Callable[[ModelUnderTest], CheckResult]] = {
    "adapters": check_adapters,
    "trainable share": check_share,
    "first answer": check_first_answer,
    "base frozen": check_base_frozen,
    "gradients": check_gradients,
    "loss falls": check_learning,
    "merge": check_merging,
    "unmerge": check_unmerging,
    "save and load": check_round_trip,
    "PEFT reads it": check_peft_reads_it,
}
"""The checks, in the order in which they are run: some train a new adapter, and later ones merge it."""


def _has_no_gradient(parameter: nn.Parameter) -> bool:
    return parameter.grad is None or not bool(parameter.grad.any())


def _gap(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


def _size(logits: Tensor) -> float:
    """Return the largest absolute logit, but at least 1; 1 if a logit is not finite."""
    largest = float(logits.abs().max())
    return max(1.0, largest) if math.isfinite(largest) else 1.0


def _within(ours: Tensor, theirs: Tensor, tolerance: float) -> CheckResult:
    gap, size = _gap(ours, theirs), _size(theirs)
    figures = "logits are equal bit for bit" if gap == 0 else f"logits differ by up to {gap:.2g}"
    allowed = f"at most {tolerance * size:.2g}" + (
        "" if size == 1 else f", {tolerance:g} of the largest logit"
    )
    return (OK if gap <= tolerance * size else FAIL), f"{figures} ({allowed})"
