"""Load a pretrained model and its tokenizer from a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, reason_of
from lowland.models.heads import draw_again, order_rows, output_layer, redrawn_sentence, rows_of_labels
from lowland.models.padding import settle_padding

CLASSIFY = "classify sequences"
"""Purpose of a classifier, as the end of "no model that can …"."""


@dataclass(frozen=True)
class LoadedModel:
    """A pretrained model, and which of its modules the checkpoint lacked.

    Attributes:
        model: transformers model, in float32.
        fresh_head: names of the head's modules with weights that are not in the checkpoint.
        fresh_backbone: names of such modules outside the head: a pooler, for instance.
        remarks: sentences on what a user should know about the model.
        train_head: whether methods with adapters train the head in full: a classifier's, not a language model's.
    """

    model: Any
    fresh_head: tuple[str, ...] = ()
    fresh_backbone: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    train_head: bool = True

    @property
    def fresh_modules(self) -> tuple[str, ...]:
        """Names of all modules whose weights are random."""
        return (*self.fresh_backbone, *self.fresh_head)

    @property
    def trained_whole(self) -> list[str]:
        """Names of the modules that are trained in full with adapters: the head, and those that the backbone lacked."""
        from lowland.lora import find_head

        return [*(find_head(self.model) if self.train_head else ()), *self.fresh_backbone]


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model's folder; one without a padding token pads with its end-of-text token.

    Raises:
        Mistake: if the folder holds no tokenizer, or the tokenizer has no token to pad with.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        if (folder / "preprocessor_config.json").is_file():
            raise Mistake(
                f"the model in {folder} reads images, not texts; train it with --task image-classification, or give a"
                " model of texts"
            ) from None
        raise Mistake(f"{folder} holds no tokenizer that can be read ({reason_of(error)})") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise Mistake(f"the tokenizer in {folder} has no token to pad with; give it a pad_token and save it")
    return tokenizer


def load_classifier(folder: Path, label_names: Sequence[str], tokenizer: Any) -> LoadedModel:
    """Load a sequence classifier with one output for each label, in float32.

    Weights that the checkpoint lacks are drawn from torch's global generator. If the checkpoint is a classifier of the
    same labels already, its head is kept, with its rows in the order of `label_names`; if of other labels, its output
    layer is drawn anew, and a remark says so. The model pads as the tokenizer does.

    Raises:
        Mistake: if the folder holds no model that can classify sequences, or its weights do not fit its config.
    """
    loaded = load_with_head(folder, "AutoModelForSequenceClassification", CLASSIFY, label_names)
    remark = settle_padding(loaded.model, tokenizer)
    return replace(loaded, remarks=(*loaded.remarks, *([remark] if remark else [])))


def load_with_head(folder: Path, auto_class: str, purpose: str, label_names: Sequence[str]) -> LoadedModel:
    """Load a model with a head that has one output for each label; see `load_classifier`.

    Args:
        folder: folder of the model.
        auto_class: name of the class of transformers that loads the model.
        purpose: what the model is for, as the end of "no model that can …".
        label_names: the labels, in the order of the outputs.

    Raises:
        Mistake: if the folder holds no such model, or its weights do not fit its config.
    """
    from lowland.lora import find_head

    names = read_model_config(folder).id2label
    model, loading = load_pretrained(
        folder,
        auto_class,
        purpose,
        num_labels=len(label_names),
        id2label=dict(enumerate(label_names)),
        label2id={name: number for number, name in enumerate(label_names)},
        problem_type="single_label_classification",
    )
    loaded = with_fresh_modules(model, loading, folder)
    layer = output_layer(model, find_head(model))
    if layer is not None and f"{layer}.weight" not in loading["missing_keys"]:
        loaded = _match_head(loaded, layer, names, label_names)
    return loaded


def outline_classifier(folder: Path) -> LoadedModel:
    """Build a folder's sequence classifier on the meta device, without loading weights.

    Raises:
        Mistake: if the folder holds no model that can classify sequences.
    """
    return outline_with_head(folder, "AutoModelForSequenceClassification", CLASSIFY)


def outline_with_head(folder: Path, auto_class: str, purpose: str, **changes: Any) -> LoadedModel:
    """Build a model with a head on the meta device, without loading weights.

    Args:
        folder: folder of the model.
        auto_class: name of the class of transformers.
        purpose: what the model is for, as the end of "no model that can …".
        **changes: changes to its config.

    Raises:
        Mistake: if the folder holds no such model.
    """
    import torch
    import transformers

    try:
        with torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(folder, **changes)
            return LoadedModel(getattr(transformers, auto_class).from_config(config))
    except (OSError, ValueError) as error:
        raise Mistake(f"{folder} holds no model that can {purpose} ({reason_of(error)})") from None


def load_pretrained(
    folder: Path, auto_class: str, purpose: str, **changes: Any
) -> tuple[Any, Mapping[str, Any]]:
    """Load a model by one of transformers' auto classes; return it with the names of the weights that it lacked.

    Args:
        folder: folder of the model.
        auto_class: name of the class.
        purpose: what the model is for, as the end of "no model that can …".
        **changes: changes to its config.

    Raises:
        Mistake: if the folder holds no such model.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    try:
        with _without_load_report():
            model, loading = getattr(transformers, auto_class).from_pretrained(
                folder,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **changes,
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise Mistake(f"{folder} holds no model that can {purpose} ({reason_of(error)})") from None
    return model, loading


def read_model_config(folder: Path) -> Any:
    """Read the config of a model's folder.

    Raises:
        Mistake: if there is no config that transformers can read.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except Exception as error:  # a damaged or foreign file makes transformers raise errors of many kinds
        raise Mistake(f"{folder} holds no config.json that can be read ({reason_of(error)})") from None


@contextmanager
def _without_load_report() -> Iterator[None]:
    """Silence the warning on weights that a checkpoint lacks: `LoadedModel` holds them, and a trained head is such."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def first_names(names: Sequence[str]) -> str:
    """Return the first three names for a message."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _match_head(
    loaded: LoadedModel, layer: str, names: Mapping[int, str], label_names: Sequence[str]
) -> LoadedModel:
    """Match the rows of the checkpoint's output layer with the labels by name; draw it anew if the names differ."""
    rows = rows_of_labels(names, label_names)
    if rows is not None:
        order_rows(loaded.model.get_submodule(layer), rows)
        return loaded
    if layer not in loaded.fresh_head:  # transformers has drawn it anew where the number of labels differs
        draw_again(loaded.model, loaded.model.get_submodule(layer))
    return replace(
        loaded,
        fresh_head=tuple(dict.fromkeys((*loaded.fresh_head, layer))),
        remarks=(*loaded.remarks, redrawn_sentence(names, label_names)),
    )


def with_fresh_modules(model: Any, loading: Mapping[str, Any], folder: Path) -> LoadedModel:
    """Find the modules whose weights were not in the file: in the head, and in the backbone (but no whole layers)."""
    from lowland.lora import find_head
    from lowland.lora.targets import is_under

    head = find_head(model)
    mismatched = [key if isinstance(key, str) else key[0] for key in loading["mismatched_keys"]]
    if wrong := sorted(key for key in mismatched if not is_under(key, head)):
        raise Mistake(
            f"the weights in {folder} do not fit its config.json: {', '.join(wrong[:3])} have another size"
        )
    absent = sorted({*loading["missing_keys"], *mismatched})
    missing = [key for key in absent if not is_under(key, head)]
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    if sum(sizes.get(name, 0) for name in missing) > 0.1 * sum(sizes.values()):
        raise Mistake(
            f"the weights in {folder} lack more than 10 % of the model that config.json describes:"
            f" {', '.join(missing[:3])}"
        )
    modules = tuple(dict.fromkeys(name.rpartition(".")[0] for name in absent if name in sizes))
    return LoadedModel(
        model,
        fresh_head=tuple(name for name in modules if is_under(name, head)),
        fresh_backbone=tuple(name for name in modules if not is_under(name, head)),
    )
