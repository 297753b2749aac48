"""A model and its tokenizer, loaded from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, reason_of
from lowland.lora import find_head
from lowland.lora.targets import is_under


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder; one without a padding token pads with its end of text."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        raise Mistake(f"{folder} holds no tokenizer that can be read ({reason_of(error)})") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise Mistake(f"the tokenizer in {folder} has no token to pad with; give it a pad_token and save it")
    return tokenizer


def token_limit(tokenizer: Any, config: Any, asked: int) -> int:
    """How many tokens of a text are read: as many as asked, but no more than the model has positions for."""
    positions = getattr(config, "max_position_embeddings", None) or asked
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        positions -= (config.pad_token_id or 0) + 1  # their positions begin after that of padding
    return int(min(asked, tokenizer.model_max_length, positions))


def load_classifier(folder: Path, label_names: Sequence[str], tokenizer: Any) -> Any:
    """A sequence classifier with one output a label, in float32.

    What its weights lack is drawn from the global generator; the modules that hold it are named in its attributes
    `fresh_head`, those of the head, and `fresh_modules`, all others.

    Raises:
        Mistake: if the folder holds no model that can classify sequences, or its weights do not fit its config.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(label_names),
            id2label=dict(enumerate(label_names)),
            label2id={name: number for number, name in enumerate(label_names)},
            problem_type="single_label_classification",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise Mistake(f"{folder} holds no model that can classify sequences ({reason_of(error)})") from None
    model.fresh_modules, model.fresh_head = _fresh_modules(model, loading, folder)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model


def _fresh_modules(
    model: Any, loading: Mapping[str, Any], folder: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules whose weights were not in the file: of the backbone (a pooler, but no whole layers), of the head."""
    head = find_head(model)
    mismatched = [one if isinstance(one, str) else one[0] for one in loading["mismatched_keys"]]
    if wrong := sorted(key for key in mismatched if not is_under(key, head)):
        raise Mistake(
            f"the weights in {folder} do not fit its config.json: {', '.join(wrong[:3])} have another size"
        )
    absent = sorted({*loading["missing_keys"], *mismatched})
    missing = [key for key in absent if not is_under(key, head)]
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    if sum(sizes.get(name, 0) for name in missing) > 0.1 * sum(sizes.values()):
        raise Mistake(
            f"the weights in {folder} lack a good part of what its config.json asks: {', '.join(missing[:3])}"
        )
    fresh = tuple(dict.fromkeys(name.rpartition(".")[0] for name in absent if name in sizes))
    return tuple(one for one in fresh if not is_under(one, head)), tuple(
        one for one in fresh if is_under(one, head)
    )


def outline(folder: Path) -> Any:
    """The model of a folder without its weights (on the meta device): enough to see whether a method fits it.

    Raises:
        Mistake: if the folder holds no model that can classify sequences.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        with torch.device("meta"):
            return AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise Mistake(f"{folder} holds no model that can classify sequences ({reason_of(error)})") from None


def read_model_config(folder: Path) -> Any:
    """The config of a model's folder; raises `Mistake` if there is none that transformers can read."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except Exception as error:  # a damaged or foreign file has transformers raise errors of many kinds
        raise Mistake(f"{folder} holds no config.json that can be read ({reason_of(error)})") from None


def some_of(names: Sequence[str]) -> str:
    """The first three names, for a message."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
