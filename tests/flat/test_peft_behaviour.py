"""What PEFT's models do, an armed one does: between the steps and in the middle of one, to the bit.

Each behaviour is run on a model without noise and on an armed one. The results must be equal, errors too. Afterwards
the next step has noise where adapters are trained, or is refused by name; disarming leaves the model as without noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lowland import flat
from lowland.ground.mistakes import Mistake
from tests.flat.behaviours import (
    BEHAVIOURS,
    Model,
    outcome,
    same,
)
from tests.flat.conftest import KINDS, rows

ARMED: dict[str, Any] = {"rho": 0.5, "schedule": "constant"}
SOME_KINDS = (
    "LoRA",
    "LoRA, dropout and bias",
    "LoRA, Conv1D",
    "PiSSA",
    "DoRA",
    "two adapters",
    "one adapter of two",
    "VeRA",
    "IA3",
)
"""Of the kinds in conftest.py, one for each way that PEFT's layers and ours differ."""
REFUSED_NEXT = dict.fromkeys(("is_merged_and_unloaded", "is_unloaded"), "up is no longer in the model")
"""What the next step says after some behaviours; after the others it has noise."""


def build(kind: str) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return KINDS[kind]()


def result_of(behaviour: str, model: Model, folder: Path) -> Any:
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return outcome(lambda: BEHAVIOURS[behaviour](model, folder))


@pytest.mark.filterwarnings("ignore:Merge adapters with caution|Adapter .* was active:UserWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize("in_step", [False, True], ids=["between steps", "in a step"])
@pytest.mark.parametrize("kind", SOME_KINDS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_an_armed_model_behaves_as_one_without_noise(
    behaviour: str, kind: str, in_step: bool, tmp_path: Path
) -> None:
    plain, model = build(kind), build(kind)
    expected = result_of(behaviour, plain, tmp_path / kind / "plain")
    noise = flat.arm(model, **ARMED)
    if in_step:
        noise.begin_step(1)
        assert not torch.equal(model(rows()), plain(rows()))
    actual = result_of(behaviour, model, tmp_path / kind / "armed")
    assert same(actual, expected), (actual, expected)
    two_with_dora = behaviour == "runs_two_adapters" and kind.startswith("DoRA")
    refusal = "DoRA with several active adapters" if two_with_dora else REFUSED_NEXT.get(behaviour)
    with torch.random.fork_rng():
        next_step_has_noise_or_is_refused(model, noise, refusal)
    noise.disarm()
    mine, theirs = (list(root.modules()) for root in (model, plain))
    assert [type(part) for part in mine] == [type(part) for part in theirs]
    assert [vars(part).keys() for part in mine] == [vars(part).keys() for part in theirs]


def next_step_has_noise_or_is_refused(model: Model, noise: flat.Noise, refusal: str | None) -> None:
    if refusal is not None:
        with pytest.raises(Mistake, match=refusal):
            noise.begin_step(2)
        return
    noise.begin_step(2)
    outputs = []
    for _ in range(2):
        torch.manual_seed(2)
        outputs.append(model.train()(rows()))
        noise.end_step()
    assert not torch.equal(*outputs)
