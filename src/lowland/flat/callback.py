"""Flat-LoRA in Hugging Face's Trainer and TRL's: one callback."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lowland.flat.arm import Noise
from lowland.flat.auto import AutoRho, check_share, rho_of_training, what_it_does
from lowland.flat.checks import check
from lowland.flat.config import FlatConfig, warn_of_much_noise
from lowland.ground.mistakes import Mistake

_RUNS: WeakKeyDictionary[nn.Module, FlatLoRA] = WeakKeyDictionary()
"""Whose noise a model has: a run that was stopped (Ctrl-C in a notebook) leaves it armed, and its callback behind."""


class FlatLoRA(TrainerCallback):
    """Trains a Trainer's model under Flat-LoRA's noise: our LoRA's layers, or PEFT's.

    Args:
        rho: the noise's strength where the schedule is 1; "auto" measures one before the first step (`auto.py`).
        share: with rho="auto": the rise of the loss that the noise may bring, as a share of it.
        seed: of the noise; default: the Trainer's seed.
        total_tokens: of the whole training, where the schedule is to go by the tokens seen; the Trainer counts them
            if told to (`include_num_input_tokens_seen`).
        **options: more of `FlatConfig`: schedule, every, layers, vectors, redraw, per_rank, noise.

    Attributes:
        noise: while the Trainer trains.
        found: what rho="auto" found.

    Raises:
        Mistake: for a value out of its range.

    Example:
        >>> SFTTrainer(model, peft_config=LoraConfig(), train_dataset=data, callbacks=[FlatLoRA(rho=0.05)]).train()
    """

    def __init__(
        self,
        rho: float | str = 0.05,
        *,
        share: float = 0.1,
        seed: int | None = None,
        total_tokens: int | None = None,
        **options: Any,
    ) -> None:
        self.rho, self.seed, self.total_tokens, self.options = rho, seed, total_tokens, options
        FlatConfig(rho=0.0 if rho == "auto" else rho, seed=seed or 0, **options)  # type: ignore[arg-type]
        check_share(share)
        self.share = share
        self.found: AutoRho | None = None
        if total_tokens is not None and total_tokens < 1:
            raise Mistake(f"total_tokens is {total_tokens}; it must be the tokens of the whole training")
        self.noise: Noise | None = None
        self._state: TrainerState | None = None
        self._disarmed_by_another = False
        self._micro = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Arm the model; what a run that was stopped left armed is disarmed first.

        Raises:
            Mistake: if the model cannot be armed, two callbacks want to, or nobody counts the tokens.
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
        loader = kwargs.get("train_dataloader")
        about: dict[str, Any] = {"loader": loader, "seed": seed, "options": self.options}
        if self.rho == "auto":
            self.found = rho_of_training(model, args, state, share=self.share, **about)
        rho = self.found.rho if self.found else float(self.rho)
        config = FlatConfig(rho=rho, seed=seed, **self.options)
        check(model, config, state.max_steps)
        if rho > 1:
            warn_of_much_noise(rho, what_it_does(model, args, rho=rho, **about))
        self.noise = Noise(model, config, state.max_steps)
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
        """Draw that of the next micro-batch, where each has its own."""
        self._micro += 1
        if self.options.get("redraw") == "micro-batch":
            self._begin(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the noise away, before anything is logged, evaluated or saved."""
        if self.noise is not None:
            self.noise.end_step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Disarm the model."""
        self.disarm()

    def disarm(self) -> None:
        """Disarm the model, also after a run that was stopped by an exception."""
        if self.noise is not None:
            self.noise.disarm()
            self.noise, self._state = None, None

    def _begin(self, state: TrainerState) -> None:
        if self._disarmed_by_another:  # which took this run for one that was stopped
            raise Mistake(
                "another training of the same model began while this one ran, and has ended its noise; train one at a"
                " time"
            )
        if self.noise is not None:
            if self.total_tokens and state.global_step and not state.num_input_tokens_seen:
                raise Mistake(
                    "total_tokens is given, but the Trainer has counted none in the first step: the model's"
                    " main_input_name is not in its batches; leave total_tokens out"
                )
            seen = state.num_input_tokens_seen / self.total_tokens if self.total_tokens else None
            self.noise.begin_step(state.global_step, self._micro, progress=seen)
