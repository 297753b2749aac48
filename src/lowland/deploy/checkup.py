"""What a careful person checks by hand before trusting LoRA on a model of their own: a table of checks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.deploy.find import SEQ_CLS, Base, find_adapted, find_base
from lowland.deploy.load import load_base, put_adapter
from lowland.deploy.merge.proof import Batch, batches, fingerprints, logits_of
from lowland.ground.mistakes import reason_of
from lowland.lora import (
    LoRAConfig,
    add_lora,
    find_head,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
    unmerge_lora,
)
from lowland.lora.inject import config_of, parameter_sizes
from lowland.models.load import some_of, token_limit
from lowland.tasks.readers import read_embedded

OK, NOTE, FAIL = "ok", "note", "FAIL"
TEXTS, TOKENS = 8, 64
STEPS, LEARNING_RATE = 10, 1e-3
AIMED_SHARE = 0.003
MERGED, SAVED, PEFT_READS = 1e-4, 1e-6, 1e-5
"""The largest differences of a logit that pass: after merging, saved and loaded again, read by PEFT."""

Outcome = tuple[str, str]
"""OK, NOTE or FAIL, and figures."""


@dataclass
class Subject:
    """A model under the checks, which are run on it in their order.

    Attributes:
        base: where it comes from.
        adapter: the folder of an adapter that was given; None for a fresh one.
        model: base and adapter.
        linear: how many linear layers the base has.
        batch: token ids of a few texts.
        labels: what the model is to learn of them.
        before: the base's logits.
        frozen: SHA-256 of the base's parameters, by name.
        scratch: a folder to write into.
    """

    base: Base
    adapter: Path | None
    model: Any
    linear: int
    batch: Batch
    labels: Tensor
    before: Tensor
    frozen: Mapping[str, str]
    scratch: Path

    @torch.no_grad()
    def logits(self, model: Any = None) -> Tensor:
        """What the model, or another one, answers to the batch."""
        return logits_of(self.model if model is None else model, self.batch, self.base.kind)

    def backward(self) -> float:
        """The loss on the batch, in evaluation mode; its gradients are left in the parameters."""
        self.model.zero_grad()
        loss: Tensor = self.model(**self.batch, labels=self.labels).loss
        loss.backward()
        return float(loss.detach())

    def trained(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [one for one in self.model.parameters() if one.requires_grad]

    def optimizer(self) -> torch.optim.AdamW:
        """A fresh one."""
        return torch.optim.AdamW(self.trained(), lr=LEARNING_RATE)


def check_model(
    model: str | None, adapter: Path | None = None, config: LoRAConfig | None = None
) -> Iterator[tuple[str, str, str]]:
    """Run all checks on a model; yields (name, OK or NOTE or FAIL, figures) as each is done.

    Args:
        model: a model of the hub, or a folder; None for the base that the adapter names.
        adapter: folder of a trained adapter, or of a run, to check instead of a fresh one.
        config: of a fresh adapter.

    Raises:
        Mistake: if the model or the adapter cannot be had, or the config does not fit the model.
    """
    with TemporaryDirectory() as scratch:
        subject = _subject(model, adapter, config or LoRAConfig(), Path(scratch))
        for name, check in CHECKS.items():
            try:
                outcome, figures = check(subject)
            except Exception as error:  # a check that cannot be run has failed; the others go on
                outcome, figures = FAIL, f"{type(error).__name__}: {reason_of(error)}"
            yield name, outcome, figures


def adapters(subject: Subject) -> Outcome:
    """Where the adapters are."""
    layers = dict(lora_layers(subject.model))
    endings = list(dict.fromkeys(name.rpartition(".")[2] for name in layers))
    others = sum(not hasattr(layer, "in_features") for layer in layers.values())
    beside = f" and {others} embeddings" if others else ""
    where = f"{len(layers) - others} of {subject.linear} linear layers{beside} ({', '.join(endings)})"
    return (OK if layers else FAIL), f"{len(layers)} on {where}"


def share(subject: Subject) -> Outcome:
    """How many parameters the adapters have."""
    head = tuple(f"{name}." for name in find_head(subject.model))
    numbers = parameter_sizes(subject.model)
    sizes = [numbers[one] for name, one in subject.model.named_parameters() if not name.startswith(head)]
    own = sum(layer.lora_A.numel() + layer.lora_B.numel() for _, layer in lora_layers(subject.model))
    total = sum(sizes)
    told = f"{own / total:.2%} of the parameters without the head: {own:,} of {total:,}"
    return (OK if own / total <= AIMED_SHARE else NOTE), f"{told} (aim: at most {AIMED_SHARE:.1%})"


def first_answer(subject: Subject) -> Outcome:
    """A fresh adapter changes no answer: B is zero."""
    gap = _gap(subject.logits(), subject.before)
    if subject.adapter is not None:
        return NOTE, f"the adapter moves logits by up to {gap:.2g}"
    if gap == 0:
        return OK, "logits equal the base's bit for bit"
    return (OK if gap <= SAVED else FAIL), f"logits differ from the base's by up to {gap:.2g}"


def base_frozen(subject: Subject) -> Outcome:
    """A backward pass leaves no gradient in the base."""
    subject.backward()
    frozen = _frozen(subject.model)
    leaks = [name for name, one in frozen.items() if one.requires_grad or one.grad is not None]
    if leaks:
        return FAIL, f"{len(leaks)} of its parameters have a gradient: {some_of(leaks)}"
    return OK, f"no gradient in any of its {len(frozen)} parameters after a backward pass"


def gradients(subject: Subject) -> Outcome:
    """Every adapter has a gradient at once: in B, while B is zero; and after one step A has one, too."""
    layers = dict(lora_layers(subject.model))
    with _kept(subject):
        subject.backward()
        dead = [name for name, one in layers.items() if _dead(one.lora_A) and _dead(one.lora_B)]
        subject.optimizer().step()
        subject.backward()
        for part in ("lora_A", "lora_B"):
            dead += [f"{name}.{part}" for name, one in layers.items() if _dead(getattr(one, part))]
    if dead:
        return FAIL, f"{len(dead)} without any: {some_of(dead)}"
    return OK, f"in all {len(layers)} adapters at once, in A and B after one step"


def learning(subject: Subject) -> Outcome:
    """The loss falls on a small batch."""
    with _kept(subject):
        optimizer, losses = subject.optimizer(), [subject.backward()]
        for _ in range(STEPS):
            optimizer.step()
            losses.append(subject.backward())
    told = f"{losses[0]:.4f} -> {losses[-1]:.4f} in {STEPS} steps of AdamW (lr {LEARNING_RATE:g})"
    return (OK if losses[-1] < losses[0] else FAIL), f"{told} on {TEXTS} texts"


def merging(subject: Subject) -> Outcome:
    """The merged model answers as base and adapter."""
    apart = subject.logits()
    merge_lora(subject.model)
    try:
        return _within(_gap(subject.logits(), apart), MERGED)
    finally:
        unmerge_lora(subject.model)


def unmerging(subject: Subject) -> Outcome:
    """After all this the base is what it was."""
    unmerge_lora(merge_lora(subject.model))
    now = fingerprints(_frozen(subject.model))
    changed = [name for name, value in now.items() if subject.frozen[name] != value]
    if changed:
        return FAIL, f"{len(changed)} parameters of the base have changed: {some_of(changed)}"
    return OK, f"all {len(now)} parameters of the base are what they were, bit for bit"


def round_trip(subject: Subject) -> Outcome:
    """Saved, and loaded into a fresh base with another head, the adapter answers the same."""
    folder = save_adapter(subject.model, subject.scratch / "adapter", base_model=subject.base.source.name)
    fresh = load_adapter(load_base(subject.base, seed=1), folder).eval()
    return _within(_gap(subject.logits(fresh), subject.logits()), SAVED)


def peft_reads(subject: Subject) -> Outcome:
    """PEFT answers the same with the adapter's file (the one that was given, where one was)."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT has to say beside the answer
        folder = subject.adapter or subject.scratch / "adapter"
        model = PeftModel.from_pretrained(load_base(subject.base, seed=1), str(folder)).eval()
        return _within(_gap(subject.logits(model), subject.logits()), PEFT_READS)


CHECKS: Mapping[str, Callable[[Subject], Outcome]] = {
    "adapters": adapters,
    "trainable share": share,
    "first answer": first_answer,
    "base frozen": base_frozen,
    "gradients": gradients,
    "loss falls": learning,
    "merge": merging,
    "unmerge": unmerging,
    "save and load": round_trip,
    "PEFT reads it": peft_reads,
}
"""The checks, in the order in which they are run: a fresh adapter is trained by some, and merged by later ones."""


def _subject(model: str | None, adapter: Path | None, config: LoRAConfig, scratch: Path) -> Subject:
    adapted = find_adapted(adapter, model) if adapter else None
    base = adapted.base if adapted else find_base(model or "")
    plain = load_base(base)
    texts = read_embedded("financial_demo.csv")[0]["text"]
    length = token_limit(base.tokenizer, plain.config, TOKENS)
    (batch,) = batches(list(texts[:: len(texts) // TEXTS][:TEXTS]), base.tokenizer, length, TEXTS)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    if base.kind == SEQ_CLS:
        labels = torch.arange(TEXTS) % len(base.label_names)
    subject = Subject(
        base=base,
        adapter=adapted.folder if adapted else None,
        model=plain,
        linear=sum(isinstance(one, nn.Linear | Conv1D) for one in plain.modules()),
        batch=batch,
        labels=labels,
        before=torch.empty(0),
        frozen=fingerprints({_plain_name(name): one for name, one in plain.named_parameters()}),
        scratch=scratch,
    )
    subject.before = subject.logits()
    if adapted:
        put_adapter(plain, adapted)
    else:
        trained = (*find_head(plain), *plain.fresh_modules) if base.kind == SEQ_CLS else ()
        add_lora(plain, config.replace(modules_to_save=trained))
    return subject


@contextmanager
def _kept(subject: Subject) -> Iterator[None]:
    """Put a given adapter back as it was; a fresh one stays trained, or there would be nothing to merge."""
    before = [one.detach().clone() for one in subject.trained()] if subject.adapter else []
    yield
    with torch.no_grad():
        for one, value in zip(subject.trained() if before else [], before, strict=True):
            one.copy_(value)
    subject.model.zero_grad()


def _frozen(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are neither an adapter's nor trained in full, by the names that they have in the base."""
    own = {id(one) for _, layer in lora_layers(model) for one in (layer.lora_A, layer.lora_B)}
    for name in config_of(model).modules_to_save:
        own |= {id(one) for one in model.get_submodule(name).parameters()}
    return {_plain_name(name): one for name, one in model.named_parameters() if id(one) not in own}


def _plain_name(name: str) -> str:
    return name.replace(".base.", ".")  # of an adapted layer; on both sides, so another "base" does no harm


def _dead(parameter: nn.Parameter) -> bool:
    return parameter.grad is None or not bool(parameter.grad.any())


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _within(gap: float, tolerance: float) -> Outcome:
    told = "logits are equal bit for bit" if gap == 0 else f"logits differ by up to {gap:.2g}"
    return (OK if gap <= tolerance else FAIL), f"{told} (at most {tolerance:g})"
