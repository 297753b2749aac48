"""NEFTune (Jain et al., 2023, arXiv 2310.05914): uniform noise on the input embeddings while the model trains.

transformers has it, too, but draws from the global generator, which changes every dropout mask that follows, and puts
it on the one embedding that `get_input_embeddings` names, which T5 and BART do not call.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lowland.ground.rng import stream_seed


class NEFTune(TrainerCallback):
    """Trains a Trainer's model under noise on the embeddings: X + E, with E uniform on ± alpha / sqrt(L d).

    X is (batch, L, d): L tokens with the padding, as in transformers, and width d (section 2, algorithm 1). E is a pure
    function of (seed, optimizer step, how many draws that step has had). There is none where the model does not train.

    Args:
        alpha: above 0; 5, 10 and 15 in the paper.
        seed: of the noise.
    """

    def __init__(self, alpha: float, seed: int) -> None:
        self.alpha, self.seed = alpha, seed
        self.step, self.draws = 0, 0
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hook the embeddings; the hooks that a run left that was stopped by an exception go first."""
        self.remove()
        self._hooks = [one.register_forward_hook(self._noisy) for one in input_embeddings(kwargs["model"])]

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the noise of an optimizer step."""
        self.step, self.draws = state.global_step, 0

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the model as it was."""
        self.remove()

    def remove(self) -> None:
        """Take the hooks off, also after a run that was stopped by an exception, of which the Trainer tells nobody."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @torch.compiler.disable
    def _noisy(self, layer: nn.Module, given: Any, out: Tensor) -> Tensor:
        """X + E (batch, L, d), summed in float32 at least and rounded once; a forward hook."""
        if not (layer.training and torch.is_grad_enabled()):
            return out
        if torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                "the embeddings are computed again in the backward pass, where NEFTune would draw other noise; leave"
                " them out of the gradient checkpoint"
            )
        seed = stream_seed(self.seed, "neftune", self.step, self.draws)
        self.draws += 1
        noise = torch.empty_like(out, dtype=torch.promote_types(out.dtype, torch.float32))
        size = self.alpha / math.sqrt(out.shape[-2] * out.shape[-1])
        generator = torch.Generator(out.device).manual_seed(seed)
        return (out + noise.uniform_(-size, size, generator=generator)).to(out.dtype)


def input_embeddings(model: Any) -> list[nn.Module]:
    """The layers that look up a model's tokens: the one that it names, and those that share its table.

    The model may be adapted by lowland or wrapped by PEFT. An encoder and a decoder each have a layer of their own.
    """
    named: nn.Module = model.get_input_embeddings()
    if not isinstance(named, nn.Embedding):  # an adapter around one; a shared table is never adapted
        return [named]
    layers = [one for one in model.modules() if isinstance(one, nn.Embedding)]
    return [one for one in layers if one.weight is named.weight]
