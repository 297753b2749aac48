"""Flat-LoRA in Hugging Face's Trainer and TRL's trainers: one callback."""

from __future__ import annotations

from typing import Any, Literal, Unpack
from weakref import WeakKeyDictionary

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lowland.flat.arming import Noise, checked_noise
from lowland.flat.auto import AutoRho, auto_rho_of_training, effect_on_loss
from lowland.flat.config import RHO, SHARE, FlatConfig, RhoSearch, RunOptions
from lowland.ground.mistakes import Mistake

_RUNS: WeakKeyDictionary[nn.Module, FlatLoRA] = WeakKeyDictionary()
"""The callback that armed each model. An interrupted run (Ctrl-C in a notebook) leaves its model armed."""


class FlatLoRA(TrainerCallback):
    """Trainer callback that trains lowland's or PEFT's LoRA layers, or a whole model, under Flat-LoRA's noise.

    Args:
        rho: strength of the noise when the schedule is 1; "auto" measures one before the first step (`auto.py`).
        share: with rho="auto": allowed rise of the loss under noise, as a share of the loss (default: 0.1).
        seed: seed of the noise; default: the Trainer's seed.
        total_tokens: tokens of the whole training, for a schedule over the tokens seen. The Trainer must count them
            (`include_num_input_tokens_seen`).
        **options: more fields of `FlatConfig`: schedule, every, layers, vectors, redraw, per_rank, noise,
            weights.

    Attributes:
        noise: the noise, while the Trainer trains.
        measured: the result of rho="auto".

    Raises:
        Mistake: if a value is out of its range.

    Examples:
        >>> SFTTrainer(model, peft_config=LoraConfig(), train_dataset=data, callbacks=[FlatLoRA(rho=0.05)]).train()
    """

    def __init__(
        self,
        rho: float | Literal["auto"] = RHO,
        *,
        share: float | None = None,
        seed: int | None = None,
        total_tokens: int | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        self.config = FlatConfig(rho=0.0 if rho == "auto" else rho, seed=seed or 0, **options)
        if share is not None and rho != "auto":
            raise Mistake(
                f'share is {share}, and is used only with rho="auto"; leave it out, or call FlatLoRA(rho="auto")'
            )
        self.share = RhoSearch(share=SHARE if share is None else share).share
        self.rho, self.seed, self.total_tokens = rho, seed, total_tokens
        if total_tokens is not None and (not isinstance(total_tokens, int) or total_tokens < 1):
            raise Mistake(
                f"total_tokens is {total_tokens!r}; it must be the number of tokens of the whole training"
            )
        self.measured: AutoRho | None = None
        self.noise: Noise | None = None
        self._state: TrainerState | None = None
        self._disarmed_by_another = False
        self._micro = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Arm the model. A model that an interrupted run left armed is disarmed first.

        Raises:
            Mistake: if the model cannot be armed, there are two of these callbacks, or the Trainer does not count the
                tokens that `total_tokens` needs.
        """
        self.disarm()
        self._disarmed_by_another = False
        model, seed = kwargs["model"], args.seed if self.seed is None else self.seed
        if (last := _RUNS.get(model)) not in (None, self) and last._state is not state:
            last.disarm()
            last._disarmed_by_another = True
        if self.total_tokens and args.include_num_input_tokens_seen == "no":
            raise Mistake(
                "total_tokens is given, but the Trainer does not count tokens; set"
                " include_num_input_tokens_seen=True in its arguments"
            )
        loader, config = kwargs.get("train_dataloader"), self.config.replace(seed=seed)
        if self.rho == "auto":
            self.measured = auto_rho_of_training(model, args, state, loader, config, self.share)
            config = config.replace(rho=self.measured.rho)
        effect = effect_on_loss(model, args, loader, config) if config.rho > 1 else ""
        self.noise = checked_noise(model, config, state.max_steps, effect=effect)
        self._state, _RUNS[model] = state, self

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the noise of the optimizer step that begins."""
        self._micro = 0
        self._begin(state)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the noise of the next micro-batch if each has its own."""
        self._micro += 1
        if self.config.redraw == "micro-batch":
            self._begin(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop the noise before the Trainer logs, evaluates or saves."""
        if self.noise is not None:
            self.noise.end_step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Disarm the model."""
        self.disarm()

    def disarm(self) -> None:
        """Disarm the model. Call it after a training that an exception has interrupted."""
        if self.noise is not None:
            self.noise.disarm()
            self.noise, self._state = None, None

    def _begin(self, state: TrainerState) -> None:
        if self._disarmed_by_another:  # it took this run for an interrupted one
            raise Mistake(
                "another training of the same model began while this one ran, and has ended its noise; train one at a"
                " time"
            )
        if self.noise is not None:
            if self.total_tokens and state.global_step and not state.num_input_tokens_seen:
                raise Mistake(
                    "total_tokens is given, but the Trainer has counted no tokens in the first step: the model's"
                    " main_input_name is not in its batches; leave total_tokens out"
                )
            progress = state.num_input_tokens_seen / self.total_tokens if self.total_tokens else None
            self.noise.begin_step(state.global_step, self._micro, progress=progress)
