"""Load a base model with its adapter; refuse adapters that would leave modules randomly initialised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from lowland.deploy.find import DEFAULT_MAX_LENGTH, Adapted, Base
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.rng import stream_seed, untouched_generators
from lowland.lora import load_adapter
from lowland.lora.init_methods import lost_init
from lowland.lora.inject import config_of
from lowland.lora.peft_config import read_json
from lowland.lora.peft_weights import PREFIX, WEIGHTS_FILE
from lowland.lora.targets import is_under
from lowland.lora.vocabulary import resize_to_saved
from lowland.models.language import load_language_model
from lowland.models.load import LoadedModel, read_model_config
from lowland.models.quantised import check_readable, compute_in_float32
from lowland.models.source import named_by
from lowland.train.peft_methods import quiet_peft


def load_base(base: Base, *, seed: int = 0) -> LoadedModel:
    """Load a base model in evaluation mode, computing in float32.

    Weights that its checkpoint lacks are a function of the seed. If an adapter brings a tokenizer and embeddings of its
    own, the embeddings are resized to have as many rows.

    Raises:
        Mistake: if the folder contains no such model, its weights are incomplete or do not fit its config, it is
            quantised in a way that cannot be read or needs a package that is missing, or the tokenizer has more tokens
            than the model has embeddings.
    """
    folder = base.source.folder
    with named_by(base.source), untouched_generators():
        check_readable(read_model_config(folder), folder)
        torch.manual_seed(stream_seed(seed, "head"))
        if base.task is None:
            loaded = load_language_model(folder, base.kind)
        else:
            loaded = base.task.load_model(folder, base.setup(DEFAULT_MAX_LENGTH))
        if base.resized_by is not None:
            fresh = resize_to_saved(loaded.model, base.resized_by, len(base.tokenizer))
            loaded = replace(loaded, fresh_backbone=(*loaded.fresh_backbone, *fresh))
    if base.task is None or base.task.reads == "text":
        _check_embeddings(base, loaded.model)
    compute_in_float32(loaded.model).eval()
    return loaded


def _check_embeddings(base: Base, model: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(base.tokenizer) > rows:
        raise Mistake(_too_few_rows(base, rows))


def _too_few_rows(base: Base, rows: int) -> str:
    sizes = (
        f"has {len(base.tokenizer)} tokens, and the model in {base.source.folder} has embeddings for {rows}"
    )
    if base.resized_by is None:
        return f"the tokenizer {sizes}; give a base model with as many with --model"
    return (
        f"the tokenizer in {base.resized_by} {sizes}; {base.resized_by / WEIGHTS_FILE} holds no embeddings for all of"
        " them: save the adapter by PEFT's save_pretrained with save_embedding_layers=True, or give a base model with"
        " as many with --model"
    )


def load_adapted(adapted: Adapted) -> Any:
    """Load a base model with its unmerged adapter, in float32 and in evaluation mode.

    Raises:
        Mistake: as `load_base`; or if the adapter is not LoRA or rsLoRA, is damaged or does not fit the base model, or
            modules have weights neither in the adapter nor in the base model.
    """
    return put_adapter(load_base(adapted.base), adapted).eval()


def put_adapter(loaded: LoadedModel, adapted: Adapted) -> Any:
    """Load an adapter into its base model, in place, and return the model.

    Raises:
        Mistake: as `load_adapted`, but for what concerns the base model alone.
    """
    load_adapter(loaded.model, adapted.folder)
    saved = config_of(loaded.model).modules_to_save
    _check_nothing_random(adapted, (name for name in loaded.fresh_modules if not is_under(name, saved)))
    return loaded.model


def load_with_peft(adapted: Adapted) -> Any:
    """Load a base model with an adapter of any kind, with PEFT.

    Raises:
        Mistake: as `load_base`; or if PEFT cannot load the adapter, or modules have weights neither in the adapter nor
            in the base model.
    """
    from peft import PeftModel, load_peft_weights

    if method := lost_init(read_json(adapted.folder)):
        raise Mistake(
            f"{adapted.folder} holds an adapter with {method}, with which PEFT changes the base's weights; PEFT does"
            " not repeat that when it loads the adapter, so its answers would not be those of the trained model; save"
            " the trained adapter by PEFT's save_pretrained with path_initial_model_for_weight_conversion"
        )
    loaded = load_base(adapted.base)
    folder = str(adapted.folder)
    try:
        saved = {name.removeprefix(PREFIX) for name in load_peft_weights(folder, device="cpu")}
        lacking = (name for name in loaded.fresh_modules if not _weights(loaded.model, name) <= saved)
        _check_nothing_random(adapted, lacking)
        with quiet_peft():
            return PeftModel.from_pretrained(loaded.model, folder).eval()
    except Mistake:
        raise
    except Exception as error:  # damaged files make PEFT raise errors of many kinds
        raise Mistake(f"PEFT cannot load the adapter in {adapted.folder} ({reason_of(error)})") from None


def _check_nothing_random(adapted: Adapted, random_modules: Iterable[str]) -> None:
    if names := sorted(random_modules):
        raise Mistake(
            f"neither the adapter in {adapted.folder} nor the base model {adapted.base.source.title} contains weights"
            f" for {', '.join(names)}, so predictions would be random; save the adapter with {', '.join(names)} in"
            " modules_to_save, or set base_model_name_or_path in its adapter_config.json to a model that contains them"
        )


def _weights(model: Any, name: str) -> set[str]:
    """Return the full names of a module's own parameters."""
    return {f"{name}.{key}" for key, _ in model.get_submodule(name).named_parameters(recurse=False)}
