"""The nearest name to one that does not exist, by its spelling and by what other libraries call the same thing."""

from __future__ import annotations

import difflib
from collections.abc import Collection

CUTOFF = 0.55
"""Least similarity of two names by `difflib`, from 0 to 1, for the one to be offered for the other."""
CUTOFF_OF_SYNONYMS = 0.8
"""Least similarity to a synonym. It is higher, because with many synonyms a slight similarity is often chance."""

SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("lr", "learning_rate", "peak_lr", "max_lr"),
    ("epochs", "num_epochs", "num_train_epochs", "n_epochs", "max_epochs"),
    ("batch_size", "per_device_train_batch_size", "train_batch_size", "micro_batch_size", "batch", "bs"),
    ("accumulation", "gradient_accumulation_steps", "gradient_accumulation", "accumulation_steps",
     "accumulate_grad_batches", "grad_accum"),
    ("weight_decay", "wd"),
    ("warmup", "warmup_ratio", "warmup_steps", "warmup_share"),
    ("rank", "r", "lora_r", "lora_rank", "lora_dim"),
    ("alpha", "lora_alpha"),
    ("dropout", "lora_dropout"),
    ("targets", "target_modules", "lora_target_modules"),
    ("rslora", "use_rslora"),
    ("lr_ratio", "loraplus_lr_ratio", "lora_plus_ratio"),
    ("rho", "sigma", "noise_strength"),
    ("neftune_alpha", "neftune_noise_alpha"),
    ("max_length", "max_seq_length", "max_seq_len", "max_len", "seq_length", "seq_len", "cutoff_len"),
    ("max_train", "max_train_samples", "max_train_examples", "train_size", "n_train"),
    ("model", "model_name", "model_name_or_path", "model_id", "base_model"),
    ("dtype", "torch_dtype", "number_format"),
    ("compile", "torch_compile"),
    ("seeds", "seed", "random_seed", "random_state"),
    ("methods", "method", "peft_type"),
    ("config", "recipe", "config_file", "recipe_file"),
    ("out", "output", "output_dir", "out_dir", "output_file", "save_dir"),
    ("fresh", "replace", "overwrite", "force", "overwrite_output_dir"),
    ("data", "dataset", "train_data", "train_file", "data_file", "data_path"),
    ("test_data", "test_file", "eval_data", "eval_file"),
    ("text_column", "text_col", "text_field"),
    ("label_column", "label_col", "label_field", "target_column"),
    ("separator", "delimiter", "sep"),
    ("limit", "max_samples", "num_samples"),
    ("max_tokens", "max_new_tokens"),
)  # fmt: skip
"""Names that mean the same in lowland and in PEFT, transformers, TRL and other trainers."""


def nearest(
    unknown: object, allowed: Collection[str], *, synonyms: bool = False, cutoff: float = CUTOFF
) -> str | None:
    """Return the allowed name that is nearest to a given one, if one is near.

    Args:
        unknown: the name that does not exist.
        allowed: the names that exist.
        synonyms: look among `SYNONYMS` of the allowed names, too.
        cutoff: least similarity of the two names.

    Examples:
        >>> nearest("leraning_rate", ["lr", "lr_ratio"], synonyms=True), nearest("maybe", ["no", "yes"])
        ('lr', None)
    """
    meant = {_folded(name): name for name in allowed}
    others: dict[str, str] = {}
    for group in SYNONYMS if synonyms else ():
        if target := next((meant[name] for name in group if name in meant), None):
            others |= {name: target for name in group if name not in meant}
    key = _folded(str(unknown))
    candidates = [
        *((_likeness(key, name), target) for name, target in meant.items()),
        *((_likeness(key, name), target) for name, target in others.items()),
    ]
    least = [cutoff] * len(meant) + [max(cutoff, CUTOFF_OF_SYNONYMS)] * len(others)
    near = [pair for pair, bound in zip(candidates, least, strict=True) if pair[0] >= bound]
    return max(near, key=lambda pair: pair[0])[1] if near else None


def _folded(name: str) -> str:
    """Return a name without what people write in different ways: case, leading dashes, dashes and underscores."""
    return name.casefold().lstrip("-").replace("-", "_").replace(" ", "_")


def _likeness(unknown: str, name: str) -> float:
    return difflib.SequenceMatcher(None, name, unknown).ratio()
