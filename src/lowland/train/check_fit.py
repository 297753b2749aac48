"""Checks that methods fit their models and tasks, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from lowland.ground.mistakes import Mistake
from lowland.models.load import first_names, read_model_config
from lowland.models.quantised import quantised_with
from lowland.models.source import named_by
from lowland.train.bag_of_words import unfit_for_words
from lowland.train.job import Job
from lowland.train.prefixes import PREFIXES
from lowland.train.processes import process_count


def check_methods_fit(jobs: Sequence[Job]) -> None:
    """Apply each method to its model on the meta device, to find problems before training.

    Raises:
        Mistake: with a sentence for each problem, such as a target that the model lacks or a rank larger than a layer;
            or if a tokenizer or config cannot be read, or a model is quantised.
    """
    problems: dict[str, None] = {}
    for job in {(job.method.label, job.source.folder): job for job in jobs}.values():
        folder = job.source.folder
        if job.method.method.counts_words:
            problems |= dict.fromkeys(filter(None, [unfit_for_words(job.task)]))
            continue
        with named_by(job.source):
            job.task.load_reader(folder)
            _check_not_quantised(folder)
        try:
            with named_by(job.source):
                outline = job.task.outline(folder, job.fields)
            problems |= dict.fromkeys(_unfit(job, outline.model))
            job.method.method.adapt(outline, job.settings, job.seed)
        except Mistake as mistake:
            problems |= dict.fromkeys(mistake.problems)
    if problems:
        raise Mistake(*problems)


def _unfit(job: Job, model: torch.nn.Module) -> list[str]:
    """Return sentences on what keeps a method from working on this kind of model."""
    method, problems = job.method.method, list[str]()
    prefixes = [PREFIXES[name] for name in method.prefixes]
    problems += [
        f"{method.name} does not work with torch.compile; leave compile out, or the method"
        for prefix in prefixes
        if prefix.needs_eager and job.compile
    ]
    problems += [
        f"{method.name} does not work where {process_count()} processes train one run; train it in one process"
        for prefix in prefixes
        if prefix.needs_one_process and process_count() > 1
    ]
    if "neftune" in method.prefixes and job.task.reads != "text":
        problems.append(
            f"neftune adds noise to the embeddings of tokens; {job.fields.name} reads {job.task.reads}s"
        )
    norms = [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
    if norms and (clashing := [name for name in ("ema", "swa", "sam") if name in method.prefixes]):
        problems.append(
            f"{type(model).__name__} has batch norms ({first_names(norms)}), whose statistics are those of other"
            f" weights than {clashing[0]} tests or trains with; take a model without them"
        )
    if method.has_adapter and norms:
        problems.append(
            f"{type(model).__name__} has batch norms ({first_names(norms)}), whose statistics change in training and"
            " are not part of an adapter; train it by full, or take a model without them"
        )
    return problems


def _check_not_quantised(folder: Path) -> None:
    if quantised_with(read_model_config(folder)):
        raise Mistake(
            f"the weights in {folder} are quantised; Hugging Face's Trainer cannot train such a model with adapters of"
            " lowland's own: give the model as it was before, or train in a loop of your own with add_lora"
        )
