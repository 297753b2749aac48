"""Parts of a model to train: all, the head, the biases, or LoRA adapters of lowland's own."""

from __future__ import annotations

from collections.abc import Callable

from lowland.ground.mistakes import Mistake
from lowland.models.load import LoadedModel
from lowland.train.adapted import AdaptedModel
from lowland.train.settings import Settings


def train_everything(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Train every parameter: full fine-tuning."""
    return AdaptedModel(loaded.model.requires_grad_(True))


def train_head(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Train the head and the modules that the checkpoint lacked; freeze all other parameters.

    Raises:
        Mistake: if the model has no head of the task's own.
    """
    return _train_only(loaded, lambda name: False)


def train_biases(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Train the biases, the head and the modules that the checkpoint lacked: BitFit.

    Raises:
        Mistake: if the model has no biases.
    """
    names = [name for name, _ in loaded.model.named_parameters()]
    if not any(_is_bias(name) for name in names):
        raise Mistake(f"bitfit trains biases, and a {type(loaded.model).__name__} has none; leave bitfit out")
    return _train_only(loaded, _is_bias)


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2].endswith("bias")


def _train_only(loaded: LoadedModel, chosen: Callable[[str], bool]) -> AdaptedModel:
    """Train the parameters whose name is chosen, and those that adapters would leave trained in full."""
    from lowland.lora.targets import is_under

    whole, model = loaded.trained_whole, loaded.model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen(name) or is_under(name, whole))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise Mistake(
            f"head trains the task's own output layer, and a {type(model).__name__} answers by what it was trained"
            " with; leave head out"
        )
    return AdaptedModel(model)


def our_lora(loaded: LoadedModel, settings: Settings, seed: int, rslora: bool = False) -> AdaptedModel:
    """Train LoRA adapters, the head and the modules that the checkpoint lacked; freeze all other parameters."""
    from lowland.lora import add_lora

    config = settings.replace(rslora=rslora or settings.rslora).lora_config(loaded.trained_whole)
    return AdaptedModel(add_lora(loaded.model, config, seed=seed))
