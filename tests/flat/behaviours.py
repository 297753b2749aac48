"""Behaviours of PEFT's models: functions that use a model, and return all that is seen of it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    PeftModel,
    get_layer_status,
    get_model_status,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.helpers import check_if_peft_model, disable_input_dtype_casting, rescale_adapter_scale
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.hotswap import hotswap_adapter
from torch import Tensor

from tests.flat.conftest import canonical, filled, net, rows

Model = Any


def answer(model: Model, x: Tensor | None = None, **options: Any) -> Tensor:
    """Return the output in evaluation mode, and restore the mode."""
    training = model.training
    y = model.eval()(rows() if x is None else x, **options).detach()
    model.train(training)
    return y


def up(model: Model) -> Any:
    return canonical(model)["up"]


def config_of(model: Model, **changes: Any) -> Any:
    """Return a config like that of the model's adapter."""
    config = copy.deepcopy(model.peft_config["default"])
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def with_other(model: Model, **changes: Any) -> Model:
    """Add a filled adapter "more"; the others keep their numbers, and the active one stays active."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.add_adapter("more", config_of(model, **changes))
    filled(model)
    model.load_state_dict(before, strict=False)
    return model


def flags(model: Model) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def plainly(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) else value


def outcome(action: Callable[[], Any]) -> Any:
    """Return a result, or the class and the text of an error."""
    try:
        return action()
    except Exception as error:
        return type(error).__name__, str(error)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(9), b.nan_to_num(9))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def is_shown(model: Model, folder: Path) -> Any:
    names = [(name, type(part).__name__) for name, part in model.named_modules()]
    return (
        repr(model),
        repr(up(model)),
        names,
        isinstance(up(model), BaseTunerLayer),
        check_if_peft_model("x") is False,
    )


def has_parameters(model: Model, folder: Path) -> Any:
    return flags(model), model.get_nb_trainable_parameters(), dict(model.state_dict())


def has_status(model: Model, folder: Path) -> Any:
    return [plainly(layer) for layer in get_layer_status(model)], plainly(get_model_status(model))


def states(model: Model, folder: Path) -> Any:
    state = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    zero = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    set_peft_model_state_dict(model, zero)
    cleared = answer(model)
    set_peft_model_state_dict(model, state)
    return state, cleared, answer(model)


def saves_and_loads(model: Model, folder: Path) -> Any:
    model.save_pretrained(folder)
    loaded = PeftModel.from_pretrained(net("Conv1D" in folder.parent.name), folder)
    loaded.base_model.model.head.load_state_dict(model.base_model.model.head.state_dict())
    return sorted(path.name for path in folder.iterdir()), answer(loaded)


def loads_a_further_adapter(model: Model, folder: Path) -> Any:
    model.save_pretrained(folder)
    model.load_adapter(folder, "loaded")
    model.set_adapter("loaded")
    return answer(model), model.active_adapters, flags(model)


def merges_and_unmerges(model: Model, folder: Path) -> Any:
    before = copy.deepcopy(model.state_dict())
    model.merge_adapter()
    merged = answer(model), up(model).merged, up(model).merged_adapters[:]
    model.unmerge_adapter()
    unmerged = answer(model)
    model.load_state_dict(before)  # unmerging rounds
    return *merged, unmerged


def merges_safely(model: Model, folder: Path) -> Any:
    return answer(copy.deepcopy(model).merge_and_unload(safe_merge=True)), answer(model)


def refuses_to_merge_nan(model: Model, folder: Path) -> Any:
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in up(model).parameters():
            if parameter.requires_grad:
                parameter.fill_(float("nan"))
    refusal = outcome(lambda: model.merge_and_unload(safe_merge=True) and None)
    model.load_state_dict(before)
    return refusal


def is_merged_and_unloaded(model: Model, folder: Path) -> Any:
    merged = model.merge_and_unload()
    return answer(merged), [type(part) for part in merged.modules()], isinstance(merged, PeftModel)


def is_unloaded(model: Model, folder: Path) -> Any:
    plain = model.unload()
    return answer(plain), [type(part) for part in plain.modules()]


def changes_adapters(model: Model, folder: Path) -> Any:
    with_other(model)
    seen = [answer(model)]
    model.set_adapter("more")
    seen += [answer(model), model.active_adapters, flags(model)]
    model.set_adapter("default")
    model.delete_adapter("more")
    return [*seen, answer(model), model.active_adapters, list(model.peft_config), flags(model)]


def changes_to_an_untrained_adapter(model: Model, folder: Path) -> Any:
    with_other(model).set_adapter("more", inference_mode=True)
    seen = flags(model)
    model.set_adapter("default")
    return seen, flags(model)


def runs_two_adapters(model: Model, folder: Path) -> Any:
    with_other(model).base_model.set_adapter(["default", "more"])
    return answer(model), model.active_adapters, flags(model)


def deletes_its_adapter(model: Model, folder: Path) -> Any:
    with_other(model).set_adapter("more")
    model.delete_adapter("default")
    return answer(model), list(model.peft_config), model.active_adapters


def is_disabled(model: Model, folder: Path) -> Any:
    with model.disable_adapter():
        inside = answer(model), model(rows()).detach(), up(model).disable_adapters
    with pytest.raises(KeyError), model.disable_adapter():
        raise KeyError
    return *inside, answer(model), up(model).disable_adapters, flags(model)


def is_disabled_while_merged(model: Model, folder: Path) -> Any:
    before = copy.deepcopy(model.state_dict())
    model.merge_adapter()
    with model.disable_adapter():
        inside = answer(model)
    merged = up(model).merged
    if merged:
        model.unmerge_adapter()
    model.load_state_dict(before)
    return inside, merged


def layers_are_disabled(model: Model, folder: Path) -> Any:
    model.base_model.disable_adapter_layers()
    off = answer(model), model(rows()).detach(), flags(model)
    model.base_model.enable_adapter_layers()
    return *off, answer(model), flags(model)


def is_copied(model: Model, folder: Path) -> Any:
    twin = copy.deepcopy(model)
    first = answer(twin), flags(twin), list(twin.state_dict())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    return *first, answer(model)


def is_pickled(model: Model, folder: Path) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return answer(pickle.loads(pickle.dumps(model))), answer(torch.load(file, weights_only=False))


def mixes_adapters_in_a_batch(model: Model, folder: Path) -> Any:
    if not hasattr(up(model), "lora_A") or model.peft_config["default"].use_dora:
        return None  # PEFT supports it for LoRA alone
    names = ["default", "more", "__base__", "default", "more"]
    with_other(model)
    return outcome(lambda: model(rows(), adapter_names=names)), answer(model, adapter_names=names)


def weighs_adapters(model: Model, folder: Path) -> Any:
    with_other(model)
    answers = []
    for kind in ("linear", "cat", "svd", "dare_linear", "magnitude_prune"):
        torch.manual_seed(3)
        options = {} if kind in ("linear", "cat", "svd") else {"density": 0.5}
        model.add_weighted_adapter(["default", "more"], [0.7, 0.4], kind, combination_type=kind, **options)
        model.set_adapter(kind)
        answers.append(answer(model))
    model.set_adapter("default")
    return answers, list(model.peft_config)


def is_scaled(model: Model, folder: Path) -> Any:
    up(model).scale_layer(0.5)
    half = answer(model)
    up(model).unscale_layer()
    with rescale_adapter_scale(model, 0.25):
        quarter = answer(model)
    up(model).set_scale("default", 2)
    return half, quarter, answer(model)


def is_hotswapped(model: Model, folder: Path) -> Any:
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if "lora_B" in name:
                parameter.mul_(2)
    twin.save_pretrained(folder)
    hotswap_adapter(model, str(folder), "default")
    return answer(model), flags(model)


def is_in_half_precision(model: Model, folder: Path) -> Any:
    model.to(torch.bfloat16)
    low = answer(model, rows(torch.bfloat16)), {parameter.dtype for parameter in model.parameters()}
    model(rows(torch.bfloat16)).float().pow(2).sum().backward()
    finite = all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
    model.zero_grad()
    model.double()
    return *low, finite, answer(model, rows(torch.float64)), model.float() is model


def gets_inputs_of_another_type(model: Model, folder: Path) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = answer(model)
    with disable_input_dtype_casting(model):
        as_it_is = answer(model)
    return under_autocast, as_it_is, outcome(lambda: answer(model, rows(torch.float64)))


def has_hooks(model: Model, folder: Path) -> Any:
    calls: list[str] = []
    parts = {"layer": up(model), "model": model, "head": canonical(model)["head"]}
    for name in ("lora_A", "lora_B", "lora_dropout"):
        if (part := getattr(up(model), name, None)) is not None and len(part):
            parts[name] = part["default"]
    handles = [
        part.register_forward_hook(lambda *args, name=name: calls.append(name))
        for name, part in parts.items()
    ]
    handles += [
        part.register_forward_pre_hook(lambda *args, n=name: calls.append(n)) for name, part in parts.items()
    ]
    handles += [up(model).register_full_backward_hook(lambda *args: calls.append("backward"))]
    model(rows().requires_grad_()).sum().backward()
    for handle in handles:
        handle.remove()
    model.zero_grad()
    return sorted(calls)


def has_gradients_where_it_trains(model: Model, folder: Path) -> Any:
    model(rows()).pow(2).sum().backward()
    grads = {name: (p.grad is not None, p.dtype, tuple(p.shape)) for name, p in model.named_parameters()}
    model.zero_grad()
    return grads


def keeps_its_loss_falling(model: Model, folder: Path) -> Any:
    before, start = copy.deepcopy(model.state_dict()), answer(model).pow(2).sum()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        model(rows()).pow(2).sum().backward()
        optimizer.step()
    fell = bool(answer(model).pow(2).sum() < start)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    kept = all(torch.equal(model.state_dict()[name], before[name]) for name in frozen)
    model.zero_grad()
    model.load_state_dict(before)
    return fell, kept


def gives_its_parts(model: Model, folder: Path) -> Any:
    base = model.get_base_model()
    weight = up(model).get_base_layer().weight
    delta = up(model).get_delta_weight("default") if hasattr(up(model), "get_delta_weight") else None
    return (
        type(base),
        answer(base),
        weight,
        delta,
        model.peft_type,
        sorted(model.base_model.targeted_module_names),
    )


BEHAVIOURS: dict[str, Callable[[Model, Path], Any]] = {
    function.__name__: function
    for function in (
        is_shown,
        has_parameters,
        has_status,
        states,
        saves_and_loads,
        loads_a_further_adapter,
        merges_and_unmerges,
        merges_safely,
        refuses_to_merge_nan,
        is_merged_and_unloaded,
        is_unloaded,
        changes_adapters,
        changes_to_an_untrained_adapter,
        runs_two_adapters,
        deletes_its_adapter,
        is_disabled,
        is_disabled_while_merged,
        layers_are_disabled,
        is_copied,
        is_pickled,
        mixes_adapters_in_a_batch,
        weighs_adapters,
        is_scaled,
        is_hotswapped,
        is_in_half_precision,
        gets_inputs_of_another_type,
        has_hooks,
        has_gradients_where_it_trains,
        keeps_its_loss_falling,
        gives_its_parts,
    )
}
