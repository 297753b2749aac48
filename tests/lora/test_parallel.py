"""DDP and FSDP2: two gloo processes on this machine against a single process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from lowland import LoRAConfig, LoRALinear, Mistake, add_lora, load_adapter, merge_lora, save_adapter
from lowland.lora.inject import lora_layers

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="this build of PyTorch has no gloo",
)
WORLD, BATCHES = 2, 2
DROPOUT = (0.0, 0.3)


def stack(dropout: float) -> nn.Sequential:
    """Return three adapted blocks in float64, so that rounding does not hide a difference."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3)]
    model = add_lora(nn.Sequential(*blocks), LoRAConfig(r=2, dropout=dropout))
    for layer in model.modules():
        if isinstance(layer, LoRALinear):
            nn.init.normal_(layer.lora_B)
    return model.double().train()


def batches_of(rank: int) -> list[Tensor]:
    """Return micro-batches (40, 8), which are large enough for the merged form."""
    source = torch.Generator().manual_seed(rank)
    return [torch.randn(40, 8, generator=source, dtype=torch.float64) for _ in range(BATCHES)]


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and gradient, unsharded, by its name in a single process."""
    state = {}
    for name, parameter in model.named_parameters():
        name = name.removeprefix("module.")
        for key, value in ((name, parameter.detach()), (f"{name}.grad", parameter.grad)):
            if value is not None:
                state[key] = value.full_tensor() if isinstance(value, DTensor) else value.clone()
    return state


def ddp(dropout: float, rank: int) -> dict[str, Tensor]:
    """Return the state after accumulating two micro-batches under DDP; only the last one is reduced."""
    model = DistributedDataParallel(stack(dropout))
    torch.manual_seed(rank)
    for batch in batches_of(rank)[:-1]:
        with model.no_sync():
            model(batch).pow(2).mean().backward()
    model(batches_of(rank)[-1]).pow(2).mean().backward()
    return state_of(model)


def fsdp(dropout: float, rank: int, reshard: bool, whole_layers: bool = True) -> dict[str, Tensor]:
    """Return the state with all parameters sharded by FSDP2, by block or by frozen layer."""
    model, mesh = stack(dropout), init_device_mesh("cpu", (WORLD,))
    for block in model:
        fully_shard(block if whole_layers else block[0].base, mesh=mesh, reshard_after_forward=reshard)
    fully_shard(model, mesh=mesh, reshard_after_forward=reshard)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    torch.manual_seed(rank)
    for batch in batches_of(rank):
        model(batch).pow(2).mean().backward()
    return state_of(model)


def saved(rank: int, folder: str) -> dict[str, str]:
    """Save the adapter of a sharded model in every process; return what adapting and merging it raise."""
    model, mesh = stack(0.0), init_device_mesh("cpu", (WORLD,))
    fully_shard(model, mesh=mesh)
    assert save_adapter(model, f"{folder}/adapter") == Path(folder) / "adapter"
    assert (Path(folder) / "adapter" / "adapter_config.json").is_file()  # at once, in every process
    base = nn.Sequential(nn.Linear(8, 8))
    fully_shard(base, mesh=mesh)
    calls: dict[str, Callable[[], object]] = {
        "again": lambda: save_adapter(model, f"{folder}/adapter"),
        "add": lambda: add_lora(base),
        "load": lambda: load_adapter(base, f"{folder}/adapter"),
        "merge": lambda: merge_lora(model),
    }
    return {name: message_of(call) for name, call in calls.items()}


def message_of(call: Callable[[], object]) -> str:
    """Return the message of the mistake that a call raises."""
    with pytest.raises(Mistake) as caught:
        call()
    return str(caught.value)


def worker(rank: int, folder: str) -> None:
    """Run one of the processes."""
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    states = {f"ddp {p}": ddp(p, rank) for p in DROPOUT}
    states |= {f"fsdp {p} {reshard}": fsdp(p, rank, reshard) for p in DROPOUT for reshard in (False, True)}
    states["fsdp, bases apart"] = fsdp(0.0, rank, True, whole_layers=False)
    torch.save(states, f"{folder}/{rank}.pt")
    Path(folder, f"{rank}.json").write_text(json.dumps(saved(rank, folder)))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of what both processes wrote; all tests share one pair, since imports take most of the time."""
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(worker, (str(folder),), nprocs=WORLD)
    return folder


@pytest.fixture(scope="module")
def states(folder: Path) -> list[dict[str, dict[str, Tensor]]]:
    """Return the states of both processes."""
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def alone(dropout: float) -> dict[str, Tensor]:
    """Return the state of a single process: the joined batch at once, or with dropout each share in turn."""
    with torch.random.fork_rng():
        model = stack(dropout)
        if dropout == 0:
            joined = torch.cat([batch for rank in range(WORLD) for batch in batches_of(rank)])
            (BATCHES * model(joined).pow(2).mean()).backward()
            return state_of(model)
        for rank in range(WORLD):
            torch.manual_seed(rank)
            for batch in batches_of(rank):
                (model(batch).pow(2).mean() / WORLD).backward()
        return state_of(model)


def assert_same(actual: dict[str, Tensor], dropout: float) -> None:
    expected = alone(dropout)
    assert actual.keys() == expected.keys()
    assert sum(name.endswith(".grad") for name in actual) == 6
    for name, tensor in expected.items():
        assert tensor.any()
        if name.endswith(".grad"):
            torch.testing.assert_close(actual[name], tensor, rtol=0, atol=1e-12)
        else:
            assert torch.equal(actual[name], tensor)


@pytest.mark.parametrize("dropout", DROPOUT)
@pytest.mark.parametrize("rank", range(WORLD))
def test_ddp_with_accumulation(states: list, dropout: float, rank: int) -> None:
    assert_same(states[rank][f"ddp {dropout}"], dropout)


@pytest.mark.parametrize("reshard", [False, True])
@pytest.mark.parametrize("dropout", DROPOUT)
@pytest.mark.parametrize("rank", range(WORLD))
def test_fsdp2(states: list, dropout: float, reshard: bool, rank: int) -> None:
    assert_same(states[rank][f"fsdp {dropout} {reshard}"], dropout)


@pytest.mark.parametrize("rank", range(WORLD))
def test_fsdp2_where_each_base_is_gathered_by_hooks_of_its_own(states: list, rank: int) -> None:
    assert_same(states[rank]["fsdp, bases apart"], 0.0)


def test_a_sharded_model_saves_its_whole_adapter_by_rank_0(folder: Path) -> None:
    with torch.random.fork_rng():
        expected = stack(0.0)
    model = nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3)])
    load_adapter(model.double(), folder / "adapter")
    layers = dict(lora_layers(model))
    assert len(layers) == 3
    for name, layer in lora_layers(expected):
        assert layer.lora_B.any()
        assert torch.equal(layers[name].lora_A, layer.lora_A)
        assert torch.equal(layers[name].lora_B, layer.lora_B)


@pytest.mark.parametrize("rank", range(WORLD))
def test_what_a_sharded_model_cannot_do_is_refused_in_every_process(folder: Path, rank: int) -> None:
    messages = json.loads((folder / f"{rank}.json").read_text())
    assert "is not empty" in messages["again"]
    assert "adapt it first, and call fully_shard(model) afterwards" in messages["add"] == messages["load"]
    assert "the model is sharded (0.0.lora_A)" in messages["merge"]
