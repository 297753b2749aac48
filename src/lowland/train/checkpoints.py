"""Checkpoints: a run that is killed goes on from its last one, and ends as if it had not been killed, to the bit.

A checkpoint holds what the training has changed: the trained parameters, the optimizer, the schedule, the state of the
global generators and of the method's callbacks, and the log. Everything else follows from the job again: the base
model, the order of the data, and the noise, which is a function of seed and step.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from lowland.ground.provenance import code
from lowland.ground.remote import ORIGIN_FILE, STATE_FILE
from lowland.train.environment import environment
from lowland.train.processes import from_first, is_first

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lowland.train.method_callback import MethodCallback

EVERY_SECONDS = 60.0
"""Seconds of training between two checkpoints, at least. A run that takes less than this leaves none."""
LARGEST_SHARE = 0.02
"""Largest share of the time that is spent on writing checkpoints; large ones are written less often."""
SECONDS_FILE, WEIGHTS_FILE = "seconds.json", "trained.safetensors"


class Checkpoints:
    """Checkpoints of one run, in a folder of their own.

    Those that other code, or another environment, has left are not used: the run would not be that of the request.

    Args:
        folder: the folder; it is made with the first checkpoint.
        dtype: the number format of the run.
        after: function that is called when one is complete.
    """

    def __init__(self, folder: Path, dtype: str, after: Callable[[], None] | None = None) -> None:
        self.folder, self.after = folder, after
        self.origin = {"code": code(), "environment": environment(dtype)}

    def last(self) -> Path | None:
        """Return the last whole checkpoint; None if there is none. Those of another origin are removed."""
        if not self.folder.is_dir():
            return None
        if _content(self.folder / ORIGIN_FILE) != self.origin:
            self.remove()
            return None
        whole = [
            path
            for path in self.folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")
            if isinstance(_content(path / STATE_FILE), dict) and (path / WEIGHTS_FILE).is_file()
        ]
        return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)

    def begin(self) -> None:
        """Make the folder, if it is not there, and say where its checkpoints come from."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ORIGIN_FILE).write_text(json.dumps(self.origin), encoding="utf-8")

    def remove(self) -> None:
        """Remove all checkpoints: the run is finished, or is to begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


class CheckpointNowAndThen(TrainerCallback):
    """Callback that asks the Trainer for a checkpoint every `EVERY_SECONDS`.

    It asks at steps whose loss is logged, so that no loss is lost that a later entry would average, and at the end of
    an epoch behind its evaluation.

    Args:
        checkpoints: where they are kept.
        before: seconds that the training took until the checkpoint that it goes on from.
    """

    def __init__(self, checkpoints: Checkpoints, before: float) -> None:
        self.checkpoints, self.before = checkpoints, before
        self.started = self.saved = self.asked = time.perf_counter()
        self.wait = EVERY_SECONDS

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint if it is time; at the end of an epoch, `on_epoch_end` does, after the evaluation."""
        if state.global_step % max(1, state.max_steps // int(args.num_train_epochs)):
            self._ask(args, state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint if it is time."""
        self._ask(args, state, control)

    def _ask(self, args: Any, state: Any, control: Any) -> None:
        self.asked = time.perf_counter()
        is_logged = state.global_step % args.logging_steps == 0
        if is_logged and from_first(self.asked - self.saved >= self.wait):
            if is_first():
                self.checkpoints.begin()
            args.output_dir = str(
                self.checkpoints.folder
            )  # the Trainer makes this folder, so not before it is needed
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note how long the training took so far."""
        if not is_first():
            return
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        seconds = self.before + time.perf_counter() - self.started
        (folder / SECONDS_FILE).write_text(json.dumps(seconds), encoding="utf-8")
        if self.checkpoints.after is not None:
            self.checkpoints.after()
        self.saved = time.perf_counter()
        self.wait = max(EVERY_SECONDS, (self.saved - self.asked) / LARGEST_SHARE if EVERY_SECONDS else 0.0)


def seconds_before(checkpoint: Path | None) -> float:
    """Return the seconds of training until a checkpoint; 0 if they are not known."""
    seconds = None if checkpoint is None else _content(checkpoint / SECONDS_FILE)
    return float(seconds) if isinstance(seconds, float) else 0.0


def changed_by_training(model: nn.Module) -> Mapping[str, Tensor]:
    """Return the tensors that a training changes, by name: the trained parameters, and all buffers."""
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return {**trained, **dict(model.named_buffers())}


def save_changed(model: nn.Module, callbacks: Mapping[str, MethodCallback], folder: Path) -> None:
    """Write what a training has changed into a checkpoint's folder: in the model, and in its method's callbacks."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    states = {_state_name(name): callback.state() for name, callback in callbacks.items()}
    tensors = {
        **changed_by_training(model),
        **{start + name: value for start, state in states.items() for name, value in state.items()},
    }
    save_file(
        {name: value.detach().clone().contiguous() for name, value in tensors.items()}, folder / WEIGHTS_FILE
    )


def load_changed(model: nn.Module, callbacks: Mapping[str, MethodCallback], folder: Path) -> None:
    """Put what a checkpoint holds into a model, in place, and into its method's callbacks."""
    import torch
    from safetensors.torch import load_file

    saved = load_file(folder / WEIGHTS_FILE)
    with torch.no_grad():
        for name, value in changed_by_training(model).items():
            value.copy_(saved[name])
    for name, callback in callbacks.items():
        start = _state_name(name)
        callback.load_state(
            {key.removeprefix(start): value for key, value in saved.items() if key.startswith(start)}
        )


def _state_name(callback: str) -> str:
    """Return the beginning of the names of a callback's tensors; no parameter's name begins so."""
    return f"state of {callback}: "


def _content(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
