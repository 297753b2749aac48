"""A base model and its adapter, loaded; nothing that they answer with is random."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from lowland.deploy.find import AUTO_CLASSES, SEQ_CLS, Adapted, Base
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.rng import stream_seed, untouched_generators
from lowland.lora import load_adapter
from lowland.lora.checkpoint import PREFIX
from lowland.lora.inject import config_of
from lowland.lora.targets import is_under
from lowland.models.load import load_classifier, read_model_config, some_of
from lowland.models.quantised import check_readable, compute_in_float32
from lowland.train.peft_methods import quiet_peft


def load_base(base: Base, *, seed: int = 0) -> Any:
    """The base model, computing in float32, in evaluation mode; what its weights lack is a function of the seed.

    Raises:
        Mistake: if the folder holds no such model, or it is quantised in a way that cannot be read here.
    """
    check_readable(read_model_config(base.source.folder), base.source.folder)
    with untouched_generators():
        torch.manual_seed(stream_seed(seed, "head"))
        if base.kind == SEQ_CLS:
            model = load_classifier(base.source.folder, base.label_names, base.tokenizer)
        else:
            model = _load_language_model(base)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(base.tokenizer) > rows:
        raise Mistake(
            f"the tokenizer has {len(base.tokenizer)} tokens, and the model in {base.source.folder} embeddings for"
            f" {rows}; give the base model that the adapter was trained on with --model"
        )
    return compute_in_float32(model).eval()


def load_adapted(adapted: Adapted) -> Any:
    """The base model with its adapter beside it, in float32 and in evaluation mode.

    Raises:
        Mistake: if the adapter is none of LoRA or rsLoRA, is damaged, does not fit the base, or both lack something.
    """
    return put_adapter(load_base(adapted.base), adapted).eval()


def put_adapter(model: Any, adapted: Adapted) -> Any:
    """Load an adapter into its base model, in place; raises `Mistake` as `load_adapted` does."""
    load_adapter(model, adapted.folder)
    saved = config_of(model).modules_to_save
    _check_whole(adapted, (name for name in fresh_modules(model) if not is_under(name, saved)))
    return model


def load_with_peft(adapted: Adapted) -> Any:
    """The same for an adapter of any kind, by PEFT; raises `Mistake` if PEFT cannot load it, or as `load_adapted`."""
    from peft import PeftModel, load_peft_weights

    base = load_base(adapted.base)
    folder = str(adapted.folder)
    try:
        given = {name.removeprefix(PREFIX) for name in load_peft_weights(folder, device="cpu")}
        _check_whole(adapted, (name for name in fresh_modules(base) if not _weights(base, name) <= given))
        with quiet_peft():
            return PeftModel.from_pretrained(base, folder).eval()
    except Mistake:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise Mistake(f"PEFT cannot load the adapter in {adapted.folder} ({reason_of(error)})") from None


def fresh_modules(model: Any) -> tuple[str, ...]:
    """The modules of a loaded base model that its weights lacked, the head's, too: they are random."""
    return (*getattr(model, "fresh_modules", ()), *getattr(model, "fresh_head", ()))


def _check_whole(adapted: Adapted, random: Iterable[str]) -> None:
    if names := sorted(random):
        raise Mistake(
            f"the adapter in {adapted.folder} needs {', '.join(names)}, which neither it nor the base model"
            f" {adapted.base.source.name} holds: answers would be random; save it again with these in modules_to_save,"
            " or have its adapter_config.json name the base model that holds them"
        )


def _weights(model: Any, name: str) -> set[str]:
    return {f"{name}.{key}" for key, _ in model.get_submodule(name).named_parameters(recurse=False)}


def _load_language_model(base: Base) -> Any:
    auto = getattr(transformers, AUTO_CLASSES[base.kind])
    folder = base.source.folder
    try:
        model, loading = auto.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Mistake(f"{folder} holds no model for {base.kind} ({reason_of(error)})") from None
    if missing := sorted(loading["missing_keys"]):
        raise Mistake(f"the weights in {folder} lack what a model for {base.kind} needs: {some_of(missing)}")
    return model
