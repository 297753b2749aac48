"""Reading and writing of `adapter_config.json`, PEFT's description of how a model was adapted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from torch import nn
from transformers.models.auto import modeling_auto

from lowland.ground.asked import Number, Text
from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake
from lowland.lora.config import ALL_LINEAR, ALPHA, EXTENDED, STANDARD, LoRAConfig, check_patterns
from lowland.lora.init_methods import INIT_FIELD, INIT_SETTINGS, init_problem
from lowland.lora.peft_targets import exact_targets, matching_entries, selected_names, shortest_endings
from lowland.lora.targets import aliased_names, is_under, saved_names

CONFIG_FILE = "adapter_config.json"
HEADS_OF_CLASSIFIERS = ("classifier", "score")
"""Modules that PEFT adds to `modules_to_save` of a model with task type SEQ_CLS."""
QUESTION_ANS = "QUESTION_ANS"
TASKS = {
    "SEQ_CLS": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "CAUSAL_LM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "SEQ_2_SEQ_LM": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    QUESTION_ANS: modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
}
"""PEFT's task types, and the model classes of transformers that belong to each."""
READ_FIELDS = (
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "trainable_token_indices",
    INIT_FIELD,
)
"""Fields of PEFT's that are read."""
_Names = TypeAdapter(str | list[str] | None)
_Text = TypeAdapter(str | None)
_Truth = TypeAdapter(bool | None)
TYPES: Mapping[str, TypeAdapter[Any]] = {
    "peft_type": _Text,
    "task_type": _Text,
    "base_model_name_or_path": _Text,
    "revision": _Text,
    "target_modules": _Names,
    "exclude_modules": _Names,
    "layers_pattern": _Names,
    "modules_to_save": TypeAdapter(list[str] | None),
    "layers_to_transform": TypeAdapter(int | list[int] | None),
    "rank_pattern": TypeAdapter(dict[str, Any] | None),
    "alpha_pattern": TypeAdapter(dict[str, Any] | None),
    "use_rslora": _Truth,
    "fan_in_fan_out": _Truth,
    INIT_FIELD: TypeAdapter(bool | str | None),
}
"""Types of PEFT's fields, as JSON has them; a text such as "false" would otherwise count as true."""
WITHOUT_EFFECT = (
    "task_type",
    "base_model_name_or_path",
    "revision",
    "auto_mapping",
    "peft_version",
    "inference_mode",
    "runtime_config",
    "fan_in_fan_out",  # lowland sees how each layer stores its weight
    "megatron_core",  # without megatron_config, which is refused
    "qalora_group_size",  # without use_qalora, which is refused
    *INIT_SETTINGS,
)
"""Fields of PEFT's that do not affect a loaded adapter's output. A file with any other field set is refused."""


class SavedConfig(LoRAConfig):
    """Configuration of LoRA as a file holds it. PEFT also accepts an alpha of 0, or below it."""

    alpha: Number = ALPHA
    alpha_pattern: Annotated[Mapping[Text, Number], AfterValidator(check_patterns)] = Field(
        default_factory=dict
    )


def describe(
    model: nn.Module, config: LoRAConfig, names: Sequence[str], base_model: str | None
) -> dict[str, Any]:
    """Return the content of `adapter_config.json` for an adapted model.

    Args:
        model: a model with adapters.
        config: the config with which it was adapted.
        names: names of the adapted layers.
        base_model: name of the base model; default: the name in the model's own config.
    """
    alpha = int(config.alpha) if float(config.alpha).is_integer() else config.alpha
    own_name = getattr(getattr(model, "config", None), "_name_or_path", None)
    in_attention = set(config.targets) <= {STANDARD, EXTENDED}  # PEFT does not know these words
    exact = shortest_endings(model, names) if in_attention else exact_targets(model, names)
    # PEFT would wrap a module that has several names under one of them only. It loads the others by their tensors.
    originals = {id(model.get_submodule(name)) for name in aliased_names(model)}
    wrapped = [name for name in config.modules_to_save if id(model.get_submodule(name)) not in originals]
    return {
        "peft_type": "LORA",
        "task_type": _task_type(model, config),
        "base_model_name_or_path": base_model or own_name or None,
        "inference_mode": True,
        "r": config.r,
        "lora_alpha": alpha,
        "lora_dropout": config.dropout,
        "target_modules": exact if isinstance(exact, str) else list(exact),
        "modules_to_save": wrapped or None,
        "rank_pattern": dict(config.rank_pattern),
        "alpha_pattern": dict(config.alpha_pattern),
        "use_rslora": config.rslora,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": any(getattr(model.get_submodule(name), "transposed", False) for name in names),
        "init_lora_weights": True,
        **_auto_mapping(model),
    }


def read_json(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's `adapter_config.json`, for an adapter of any kind.

    Raises:
        Mistake: if the file is missing or damaged.
    """
    path = folder / CONFIG_FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise Mistake(f"{folder} holds no {CONFIG_FILE}; name an adapter's folder") from None
    except (NotJSON, Mistake, UnicodeDecodeError, OSError) as error:
        raise Mistake(f"{path} is damaged ({error})") from None
    if not isinstance(content, dict):
        raise Mistake(f"{path} is damaged (it is not a JSON object)")
    for name, kind in TYPES.items():
        try:
            kind.validate_python(content.get(name), strict=True)
        except ValidationError:
            raise Mistake(f"{path} is damaged ({name} is {content[name]!r:.60})") from None
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of `adapter_config.json`, for an adapter that lowland's own layers can load.

    Raises:
        Mistake: if the file is missing or damaged, or the adapter is neither LoRA nor rsLoRA.
    """
    path, peft_config = folder / CONFIG_FILE, read_json(folder)
    if "peft_type" not in peft_config:
        raise Mistake(f"{path} has no peft_type; adapters with peft_type LORA can be loaded")
    if peft_config["peft_type"] != "LORA":
        raise Mistake(
            f"{folder} holds an adapter of kind {peft_config['peft_type']}; LoRA and rsLoRA can be loaded"
        )
    if others := other_kinds(peft_config):
        raise Mistake(
            f"{folder} holds an adapter with {', '.join(others)}; plain LoRA and rsLoRA can be loaded"
        )
    if problem := init_problem(peft_config):
        raise Mistake(f"{folder} holds an adapter with {problem}")
    required = ("r", "lora_alpha", "target_modules")
    if missing := [name for name in required if peft_config.get(name) is None]:
        raise Mistake(f"{path} is damaged ({', '.join(missing)} missing)")
    return peft_config


def config_for(
    model: nn.Module, peft_config: Mapping[str, Any], path: Path, embeddings: Sequence[str] = ()
) -> tuple[LoRAConfig, list[str]]:
    """Return how PEFT would adapt a model by a config file: a `LoRAConfig`, and the names of the layers.

    Args:
        model: the base model.
        peft_config: content of the config file, from `read_config`.
        path: path of the config file, for errors.
        embeddings: names of embeddings that the adapter's file holds whole; they become modules to save.

    Raises:
        Mistake: if a value has a type that PEFT does not write, or is out of its range.
    """
    try:
        listed = (*(peft_config.get("modules_to_save") or ()), *embeddings)
        entries = [entry for entry in listed if saved_names(model, [entry])]
        names = selected_names(model, peft_config, entries)
        patterns = {
            field: matching_entries(peft_config.get(field) or {}, names)
            for field in ("rank_pattern", "alpha_pattern")
        }
        targets = exact_targets(model, names) or ALL_LINEAR
        config = SavedConfig(
            r=peft_config["r"],
            alpha=peft_config["lora_alpha"],
            dropout=peft_config.get("lora_dropout", 0.0),
            targets=(targets,) if isinstance(targets, str) else targets,
            rslora=bool(peft_config.get("use_rslora")),
            modules_to_save=tuple(entries),
            **patterns,
        )
    except Mistake as mistake:
        raise Mistake(*(f"{path} cannot be used: {problem}" for problem in mistake.problems)) from None
    except (TypeError, AttributeError, re.error) as error:
        raise Mistake(f"{path} is damaged ({error})") from None
    return config, names


def other_kinds(peft_config: Mapping[str, Any]) -> list[str]:
    """Return the fields, with their values, that ask for something else than plain LoRA or rsLoRA."""
    return [
        f"{name} = {json.dumps(value)}"
        for name, value in peft_config.items()
        if name not in (*READ_FIELDS, *WITHOUT_EFFECT) and value not in (None, False, "none", [], {})
    ]


def task_of_class(name: str) -> str | None:
    """Return PEFT's task type for a class of transformers, or None."""
    return next((task for task, known in TASKS.items() if name in known.values()), None)


def _task_type(model: nn.Module, config: LoRAConfig) -> str | None:
    """Return PEFT's task type for the model, or None.

    For SEQ_CLS, PEFT reads the model's heads from the adapter's file. So the result is None if they are not saved. For
    question answering it is None, too: PEFT's class for QUESTION_ANS (0.21) does not pass token types on to the model.
    """
    task = task_of_class(type(model).__name__)
    if task == QUESTION_ANS:
        return None
    heads = saved_names(model, HEADS_OF_CLASSIFIERS)
    complete = all(is_under(head, config.modules_to_save) for head in heads)
    return task if complete or task != "SEQ_CLS" else None


def _auto_mapping(model: nn.Module) -> dict[str, Any]:
    """Return the field by which PEFT, too, says the model's class where it writes no task type."""
    if task_of_class(type(model).__name__) != QUESTION_ANS:
        return {}
    names = {"base_model_class": type(model).__name__, "parent_library": type(model).__module__}
    return {"auto_mapping": names}
