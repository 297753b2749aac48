"""NEFTune (Jain et al., 2023, arXiv 2310.05914): uniform noise on the input embeddings during training.

transformers has an implementation, too, but it does not fit here for two reasons. It draws from the global generator,
which changes all later dropout masks. And it adds the noise to the one layer that `get_input_embeddings` returns, which
T5 and BART do not call.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from lowland.ground.rng import stream_seed
from lowland.train.method_callback import MethodCallback


class NEFTune(MethodCallback):
    """Callback that adds noise to the embeddings of a Trainer's model: X + E, with E uniform on ± alpha / sqrt(L d).

    X is (batch, L, d): L tokens including the padding, as in transformers, and width d (section 2, algorithm 1). E
    depends only on the seed, the optimizer step, and the number of earlier draws in that step. In evaluation, and where
    gradients are disabled, no noise is added.

    Args:
        alpha: strength of the noise, above 0; the paper uses 5, 10 and 15.
        seed: seed of the noise.

    Raises:
        RuntimeError: in the backward pass, if gradient checkpointing computes the embeddings again.
    """

    def __init__(self, alpha: float, seed: int) -> None:
        self.alpha, self.seed = alpha, seed
        self.step, self.draws = 0, 0
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add the hooks to the embeddings, after removing those of an earlier run that an exception stopped."""
        self.remove()
        self._hooks = [
            layer.register_forward_hook(self._add_noise) for layer in input_embeddings(kwargs["model"])
        ]

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the draws of an optimizer step."""
        self.step, self.draws = state.global_step, 0

    def begin_again(self) -> None:
        """Start the draws of the step again."""
        self.draws = 0

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remove the hooks: the model is as it was."""
        self.remove()

    def remove(self) -> None:
        """Remove the hooks.

        After an exception in training, call this yourself: the Trainer does not call `on_train_end` then.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _add_noise(self, layer: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        """Return X + E (batch, L, d), computed in float32 or wider and rounded once; a forward hook."""
        if not (layer.training and torch.is_grad_enabled()):
            return out
        if torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                "gradient checkpointing computes the embeddings again in the backward pass, where NEFTune would draw"
                " different noise; leave them out of the gradient checkpoint"
            )
        seed = stream_seed(self.seed, "neftune", self.step, self.draws)
        self.draws += 1
        noise = torch.empty_like(out, dtype=torch.promote_types(out.dtype, torch.float32))
        size = self.alpha / math.sqrt(out.shape[-2] * out.shape[-1])
        generator = torch.Generator(out.device).manual_seed(seed)
        return (out + noise.uniform_(-size, size, generator=generator)).to(out.dtype)


def input_embeddings(model: Any) -> list[nn.Module]:
    """Return the layers that look up the embeddings of a model's tokens.

    They are the layer that the model names, and all others that share its weight: an encoder and a decoder have a layer
    each. The model may be adapted by lowland or wrapped by PEFT.
    """
    named: nn.Module = model.get_input_embeddings()
    if not isinstance(named, nn.Embedding):  # an adapter around an embedding, whose weight is not shared
        return [named]
    layers = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    return [layer for layer in layers if layer.weight is named.weight]
