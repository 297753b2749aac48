"""Initialisations of PEFT: those that leave the base alone are read, the others are refused; PEFT is the oracle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import EvaConfig, LoraConfig, LoraGAConfig, PeftModel, get_peft_model, initialize_lora_eva_weights
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.loraga import preprocess_loraga
from torch import nn

from lowland import load_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora.init_methods import LEAVE_THE_BASE, SUBTRACTED, init_problem, lost_init
from lowland.lora.peft_config import CONFIG_FILE
from tests.lora.conftest import answers

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's, of many kinds

Build = Callable[[str], Any]
OPTIONS: dict[str, dict[str, Any]] = {
    "eva": {"eva_config": EvaConfig(rho=1.0)},
    "corda": {"corda_config": CordaConfig()},
    "lora_ga": {"lora_ga_config": LoraGAConfig()},
    "loftq": {"loftq_config": {"loftq_bits": 4, "loftq_iter": 1}},
}
READ: tuple[bool | str, ...] = (True, False, "gaussian", "Gaussian", "orthogonal", "eva", "mica", "MiCA")
REFUSED = ("pissa", "pissa_niter_4", "olora", "OLoRA", "corda", "lora_ga", "loftq")


@pytest.fixture(autouse=True)
def loftq_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a rounding stand for LoftQ's quantisation, which PEFT computes on GPUs only."""

    def rounded(weight: torch.Tensor, reduced_rank: int, **options: Any) -> tuple[torch.Tensor, ...]:
        rows, columns = weight.shape
        return weight.round(decimals=1), torch.zeros(reduced_rank, columns), torch.zeros(rows, reduced_rank)

    monkeypatch.setattr("peft.tuners.lora.layer.loftq_init", rounded)


def started(base: nn.Module, tokens: torch.Tensor, value: bool | str, **options: Any) -> PeftModel:
    """Adapt a model by PEFT with an initialisation, as its documentation does."""
    options = {**OPTIONS.get(str(value), {}), **options}
    targets = ["q_proj", "v_proj"]
    config = LoraConfig(r=4, lora_alpha=6, target_modules=targets, init_lora_weights=value, **options)  # type: ignore[arg-type]

    def run() -> None:
        for row in tokens:
            answers(base, row[None])

    def step() -> None:
        base(input_ids=tokens, labels=tokens).loss.backward()

    if value == "corda":
        preprocess_corda(base, config, run_model=run)
    if value == "lora_ga":
        preprocess_loraga(base, config, step)
    model = get_peft_model(base, config)
    if value == "eva":
        initialize_lora_eva_weights(model, [{"input_ids": tokens}] * 3, show_progress_bar=False)
    return model


def trained(model: nn.Module) -> nn.Module:
    """Move the trainable parameters, as training does."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def base_changed(model: PeftModel, before: dict[str, torch.Tensor]) -> bool:
    now = {
        name.replace(".base_layer", ""): value for name, value in model.get_base_model().state_dict().items()
    }
    return any(not torch.equal(now[name], value) for name, value in before.items())


def gap(model: nn.Module, tokens: torch.Tensor, expected: torch.Tensor) -> float:
    return float((answers(model.eval(), tokens) - expected).abs().max())


@pytest.fixture
def saved(
    build: Build, tokens: torch.Tensor, tmp_path: Path
) -> Callable[..., tuple[Path, torch.Tensor, bool]]:
    """Trains an adapter by PEFT: its folder, the logits of the trained model, and whether the base was changed."""

    def save(value: bool | str, **options: Any) -> tuple[Path, torch.Tensor, bool]:
        base = build("llama")
        before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        model = started(base, tokens, value, **options)
        changed = base_changed(model, before)
        trained(model).save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter", answers(model, tokens), changed

    return save


def read_as_plain(folder: Path) -> Path:
    """Remove the initialisation from an adapter's config."""
    fields = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**fields, "init_lora_weights": True}))
    return folder


@pytest.mark.parametrize("value", READ)
def test_init_methods_that_leave_the_base_alone_are_read(
    build: Build, tokens: torch.Tensor, saved: Callable[..., Any], value: bool | str
) -> None:
    folder, expected, changed = saved(value)
    assert not changed
    assert gap(build("llama"), tokens, expected) > 1e-3
    assert gap(PeftModel.from_pretrained(build("llama"), folder), tokens, expected) <= 1e-5
    assert gap(load_adapter(build("llama"), folder), tokens, expected) <= 1e-5


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}], ids=["LoRA", "rsLoRA"])
def test_ranks_that_eva_has_redistributed_are_read(
    build: Build, tokens: torch.Tensor, saved: Callable[..., Any], options: dict[str, Any]
) -> None:
    folder, expected, _ = saved("eva", eva_config=EvaConfig(rho=2.0), **options)
    assert gap(load_adapter(build("llama"), folder), tokens, expected) <= 1e-5


@pytest.mark.parametrize("value", REFUSED)
def test_init_methods_that_change_the_base_are_refused(
    build: Build, tokens: torch.Tensor, saved: Callable[..., Any], value: str
) -> None:
    folder, expected, changed = saved(value)
    assert changed
    with pytest.raises(Mistake, match=f'init_lora_weights = "{value}", with which PEFT') as caught:
        load_adapter(build("llama"), folder)
    assert len(caught.value.problems) == 1
    config = json.loads((folder / CONFIG_FILE).read_text())
    try:
        repeated = gap(PeftModel.from_pretrained(build("llama"), folder), tokens, expected) <= 1e-5
    except ValueError:  # CorDA's data are not there
        repeated = False
    assert repeated == (lost_init(config) is None)
    plain = load_adapter(build("llama"), read_as_plain(folder))
    assert gap(plain, tokens, expected) > 1e-3  # so the refusal is needed


@pytest.mark.parametrize("value", ["pissa", "olora", "corda", "lora_ga"])
def test_adapters_that_peft_has_converted_are_read(
    build: Build, tokens: torch.Tensor, tmp_path: Path, value: str
) -> None:
    model = started(build("llama"), tokens, value)
    config = model.peft_config["default"]
    config.init_lora_weights = True
    model.save_pretrained(tmp_path / "start")
    config.init_lora_weights = value
    trained(model).save_pretrained(
        tmp_path / "adapter", path_initial_model_for_weight_conversion=str(tmp_path / "start")
    )
    model.set_adapter("default")
    loaded = load_adapter(build("llama"), tmp_path / "adapter")
    assert gap(loaded, tokens, answers(model, tokens)) <= 1e-5


def test_every_init_method_that_peft_documents_is_measured_here() -> None:
    documented = re.findall(r"[\"']([a-z]\w*)", LoraConfig.__annotations__["init_lora_weights"])
    measured = {value for value in (*READ, *REFUSED) if isinstance(value, str)}
    assert {value.partition("_niter_")[0] for value in documented} <= measured
    assert {*LEAVE_THE_BASE, *SUBTRACTED, "loftq"} <= measured


@pytest.mark.parametrize(("value", "shown"), [("zen", '"zen"'), (["gaussian"], r'\["gaussian"\]'), (2, "2")])
def test_an_unknown_init_method_is_refused_by_its_value(value: Any, shown: str) -> None:
    problem = init_problem({"init_lora_weights": value})
    assert problem is not None
    assert problem.startswith(
        "init_lora_weights = " + shown.replace("\\", "") + "; lowland was not tested with this value"
    )
