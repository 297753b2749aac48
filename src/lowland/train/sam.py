"""SAM (Foret et al., 2021, arXiv 2010.01412): the optimizer gets the gradient that stands one step uphill.

With L the loss of a whole optimizer step, all its batches, and g its gradient,

    e = rho · g / ‖g‖        (equation 2),        then the gradient of L at the parameters + e.

`SAM` steps uphill in the space of what is trained, `WeightSAM` in the space of the merged weights W' = W + s·BA, which
is "SAM over W" in Flat-LoRA's table 6 (Li et al., 2025). Both passes see the same batches, dropout masks and noise,
which are those of the method without SAM, so rho = 0 is that method to the bit. The loss that is logged is that of the
second pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from lowland.flat.arming import Noise, checked_noise
from lowland.flat.ascent import ascent_steps
from lowland.flat.config import FlatConfig
from lowland.lora import lora_layers
from lowland.train.method_callback import MethodCallback


class SAM(MethodCallback):
    """Callback for SAM in the space of what is trained: with an adapter all its factors, without one all parameters.

    With an adapter, the head and other modules that are trained in full take no step uphill: the step is SAM's over A
    and B. They get the gradient at A + e_A, B + e_B, too. During the second pass the stepped parameters are held in
    place of the parameters; afterwards these are put back from a copy, so nothing is subtracted.

    Args:
        rho: ‖e‖, the length of the step over all stepped parameters together.
    """

    def __init__(self, rho: float) -> None:
        self.rho = rho
        self._parameters: list[nn.Parameter] = []
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Find the parameters that take the step, after undoing one that an interrupted run has left."""
        self._undo()
        self._parameters = stepped_parameters(model)

    @torch.no_grad()
    def before_batches(self, gradient: Callable[[], None]) -> None:
        """Take the step uphill."""
        with torch.enable_grad():
            gradient()
        pairs = [(parameter, parameter.grad) for parameter in self._parameters if parameter.grad is not None]
        steps = ascent_steps([grad for _, grad in pairs], self.rho)
        self._before = [(parameter, parameter.detach().clone()) for parameter, _ in pairs]
        for (parameter, _), step in zip(pairs, steps, strict=True):
            parameter.add_(step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the parameters back; their gradient is that at the step's end."""
        self._undo()

    @torch.no_grad()
    def _undo(self) -> None:
        for parameter, value in self._before:
            parameter.copy_(value)
        self._before = []


class WeightSAM(MethodCallback):
    """Callback for SAM over the merged weights W' of all adapted layers. No weight is written.

    The step e of each layer is an input of the forward pass (`lowland.flat.ascent`). It takes as much memory as the
    adapted weights in float32.

    Args:
        rho: ‖e‖, the length of the step over all adapted layers together.
    """

    def __init__(self, rho: float) -> None:
        self.rho = rho
        self._noise: Noise | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Arm the model, after disarming what an interrupted run has left.

        Raises:
            Mistake: if it cannot be armed.
        """
        self.on_train_end(args, state, control)
        self._noise = checked_noise(model, FlatConfig(rho=0.0, schedule="constant"), None)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check that the model is as it was armed."""
        assert self._noise is not None
        self._noise.begin_step(state.global_step)

    def before_batches(self, gradient: Callable[[], None]) -> None:
        """Take the gradient of W', and then the step uphill."""
        assert self._noise is not None
        layers = self._noise.layers.values()
        watched = [(layer, layer.watch_gradient()) for layer in layers]
        gradient()
        self._noise.end_step()
        if self.rho == 0:
            return
        pairs = [(layer, sums.total) for layer, sums in watched if sums.total is not None]
        del watched
        for (layer, _), step in zip(
            pairs, ascent_steps([total for _, total in pairs], self.rho), strict=True
        ):
            layer.step(step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop the step before the Trainer logs, evaluates or saves."""
        if self._noise is not None:
            self._noise.end_step()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Disarm the model."""
        if self._noise is not None:
            self._noise.disarm()
        self._noise = None


def stepped_parameters(model: Any) -> list[nn.Parameter]:
    """Return the parameters that `SAM` steps: the adapter's if the model has one, else all that are trained."""
    if layers := [layer for _, layer in lora_layers(model)]:
        return [value for layer in layers for value in layer.parameters(recurse=False) if value.requires_grad]
    trained = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    is_peft = isinstance(model, PeftModel)
    return [value for name, value in trained if not (is_peft and ".modules_to_save." in name)]
