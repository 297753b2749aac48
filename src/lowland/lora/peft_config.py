"""`adapter_config.json`: PEFT's words for how a model was adapted, and what of them can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers.models.auto import modeling_auto

from lowland.ground.mistakes import Mistake
from lowland.lora.config import ALL_LINEAR, LoRAConfig, pattern_matches
from lowland.lora.targets import adaptable_layers, is_under, saved_names, target_names

CONFIG_FILE = "adapter_config.json"
HEADS_OF_CLASSIFIERS = ("classifier", "score")
"""What PEFT adds to `modules_to_save` of a model with task type SEQ_CLS."""
TASKS = {
    "SEQ_CLS": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "CAUSAL_LM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "SEQ_2_SEQ_LM": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}
"""PEFT's task types: the classes of transformers that they are for."""
READ = (
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
)
WITHOUT_EFFECT = (
    "task_type",
    "base_model_name_or_path",
    "revision",
    "auto_mapping",
    "peft_version",
    "inference_mode",
    "runtime_config",
    "fan_in_fan_out",  # each layer knows how it holds its weight
    "megatron_core",  # without megatron_config, which is refused
    "qalora_group_size",  # without use_qalora, which is refused
)
"""PEFT's fields that change nothing in what a loaded adapter computes. Any other field that is set is refused."""
STARTS = (True, False, "gaussian", "orthogonal")
"""Values of `init_lora_weights` that leave the base's weights alone."""


def describe(
    model: nn.Module, config: LoRAConfig, names: Sequence[str], base_model: str | None
) -> dict[str, Any]:
    """The content of `adapter_config.json` for an adapted model.

    Args:
        model: with adapters.
        config: that it was adapted by.
        names: of the adapted layers.
        base_model: name of the base; None for what the model says itself.
    """
    alpha = int(config.alpha) if float(config.alpha).is_integer() else config.alpha
    own_name = getattr(getattr(model, "config", None), "_name_or_path", None)
    exact = exact_targets(model, names)
    return {
        "peft_type": "LORA",
        "task_type": _task_type(model, config),
        "base_model_name_or_path": base_model or own_name or None,
        "inference_mode": True,
        "r": config.r,
        "lora_alpha": alpha,
        "lora_dropout": config.dropout,
        "target_modules": exact if isinstance(exact, str) else list(exact),
        "modules_to_save": list(config.modules_to_save) or None,
        "rank_pattern": dict(config.rank_pattern),
        "alpha_pattern": dict(config.alpha_pattern),
        "use_rslora": config.rslora,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": any(getattr(model.get_submodule(name), "transposed", False) for name in names),
        "init_lora_weights": True,
    }


def exact_targets(model: nn.Module, names: Sequence[str]) -> tuple[str, ...] | str:
    """Targets that mean these layers and no other: their names, or a regular expression.

    PEFT takes a name for an ending, too, and the name of one layer may be the ending of another's.
    """
    endings = tuple(f".{name}" for name in names)
    if any(name.endswith(endings) for name, _ in model.named_modules()):
        return "|".join(re.escape(name) for name in names)
    return tuple(names)


def read_json(folder: Path) -> dict[str, Any]:
    """The content of a folder's `adapter_config.json`, of whatever kind of adapter.

    Raises:
        Mistake: if it is missing or damaged.
    """
    path = folder / CONFIG_FILE
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise Mistake(f"{folder} holds no {CONFIG_FILE}; name an adapter's folder") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Mistake(f"{path} is damaged ({error})") from None
    if not isinstance(given, dict):
        raise Mistake(f"{path} is damaged (no JSON object)")
    return given


def read_config(folder: Path) -> dict[str, Any]:
    """The same for an adapter that lowland's own layers can load.

    Raises:
        Mistake: if it is missing or damaged, or the adapter is of another kind than LoRA and rsLoRA.
    """
    path, given = folder / CONFIG_FILE, read_json(folder)
    if "peft_type" not in given:
        raise Mistake(f"{path} names no peft_type; it is another tool's, and only PEFT's LoRA can be loaded")
    if given["peft_type"] != "LORA":
        raise Mistake(
            f"{folder} holds an adapter of kind {given['peft_type']}; LoRA and rsLoRA can be loaded"
        )
    if others := other_kinds(given):
        raise Mistake(
            f"{folder} holds an adapter with {', '.join(others)}; plain LoRA and rsLoRA can be loaded"
        )
    if missing := [name for name in ("r", "lora_alpha", "target_modules") if given.get(name) is None]:
        raise Mistake(f"{path} is damaged ({', '.join(missing)} missing)")
    return given


def config_for(model: nn.Module, given: Mapping[str, Any], path: Path) -> tuple[LoRAConfig, list[str]]:
    """How PEFT would adapt a model by a config file: our config, and the names of the layers.

    Raises:
        Mistake: if a value is of another kind than PEFT writes.
    """
    try:
        entries = [one for one in given.get("modules_to_save") or () if saved_names(model, [one])]
        names = _names_meant(model, given, entries)
        patterns = {
            field: _those_that_mean(given.get(field) or {}, names)
            for field in ("rank_pattern", "alpha_pattern")
        }
        targets = exact_targets(model, names) or ALL_LINEAR
        config = LoRAConfig(
            r=given["r"],
            alpha=given["lora_alpha"],
            dropout=given.get("lora_dropout", 0.0),
            targets=(targets,) if isinstance(targets, str) else targets,
            rslora=bool(given.get("use_rslora")),
            modules_to_save=tuple(entries),
            **patterns,
        )
    except Mistake as mistake:
        raise Mistake(*(f"{path} is damaged: {problem}" for problem in mistake.problems)) from None
    except (TypeError, AttributeError, re.error) as error:
        raise Mistake(f"{path} is damaged ({error})") from None
    return config, names


def other_kinds(given: Mapping[str, Any]) -> list[str]:
    """The fields that ask for what plain LoRA is not."""
    others = [
        f"{name} = {json.dumps(value)}"
        for name, value in given.items()
        if name not in (*READ, *WITHOUT_EFFECT, "init_lora_weights")
        and value not in (None, False, "none", [], {})
    ]
    if (start := given.get("init_lora_weights", True)) not in STARTS:
        others.append(f"init_lora_weights = {json.dumps(start)}, which changes the base's weights")
    return others


def _names_meant(model: nn.Module, given: Mapping[str, Any], entries: Sequence[str]) -> list[str]:
    targets = given["target_modules"]
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        return target_names(model, LoRAConfig(modules_to_save=tuple(entries)))
    saved = saved_names(model, entries)
    return [name for name in adaptable_layers(model) if not is_under(name, saved) and _is_meant(name, given)]


def _is_meant(name: str, given: Mapping[str, Any]) -> bool:
    """PEFT's rule for whether it adapts a layer."""
    targets, excluded = given["target_modules"], given.get("exclude_modules")
    if (excluded and _among(name, excluded)) or not _among(name, targets):
        return False
    numbers = given.get("layers_to_transform")
    if isinstance(targets, str) or name in targets or numbers in (None, []):
        return True
    return _layer_number(name, given.get("layers_pattern")) in (
        [numbers] if isinstance(numbers, int) else numbers
    )


def _among(name: str, wanted: str | Collection[str]) -> bool:
    if isinstance(wanted, str):
        return re.fullmatch(wanted, name) is not None
    return name in wanted or name.endswith(tuple(f".{one}" for one in wanted))


def _layer_number(name: str, patterns: str | Sequence[str] | None) -> int | None:
    """The number of the layer that a module is in: of the first name that a pattern means, or of any."""
    patterns = [patterns] if isinstance(patterns, str) else patterns
    rules = [rf"(?:^|.*?\.){one}\.(\d+)\." for one in patterns or ()] or [r".*?\.[^.]*\.(\d+)\."]
    found = next((match for rule in rules if (match := re.match(rule, name))), None)
    return int(found.group(1)) if found else None


def _those_that_mean(patterns: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """PEFT passes over patterns that name nothing."""
    return {
        key: value for key, value in patterns.items() if any(pattern_matches(key, name) for name in names)
    }


def _task_type(model: nn.Module, config: LoRAConfig) -> str | None:
    """PEFT's word for what the model is for.

    PEFT takes the heads of a SEQ_CLS model out of the adapter's file; where one is not there, the task is not told.
    """
    kind = type(model).__name__
    task = next((task for task, known in TASKS.items() if kind in known.values()), None)
    heads = saved_names(model, HEADS_OF_CLASSIFIERS)
    told = all(is_under(head, config.modules_to_save) for head in heads)
    return task if told or task != "SEQ_CLS" else None
