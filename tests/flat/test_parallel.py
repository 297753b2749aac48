"""Noise in two gloo processes compared with one process: DDP and FSDP2, lowland's layers and PEFT's."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, distributed, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from lowland import LoRAConfig, add_lora, flat
from lowland.flat.arming import WRAPPERS
from lowland.flat.linear import base_of
from lowland.ground.mistakes import Mistake

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()),
    reason="this build of PyTorch has no gloo",
)
WORLD, BATCHES, STEP = 2, 2, 3
SMALL = 0.1
"""Size of the inputs in bf16: near 0 the derivative of tanh does not depend on their rounding."""
KINDS = ("ours", "peft", "dora")
DDP: dict[str, dict[str, Any]] = {
    "accumulated": {},
    "wrapped first": {"wrapped_first": True},
    "static graph": {"static_graph": True},
    "checkpointed": {"reentrant": False},
    "checkpointed, reentrant": {"reentrant": True},
}
FSDP: dict[str, dict[str, Any]] = {
    "reshard": {},
    "keep": {"reshard": False},
    "checkpointed": {"reentrant": False},
    "checkpointed, reentrant": {"reentrant": True},
    "layers themselves": {"parts": "layers"},
    "armed first": {"armed_first": True},
}


class Net(nn.Sequential):
    """Sequence of blocks, each checkpointed if `reentrant` is set."""

    reentrant: bool | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return y (T, 8) for x (T, 8)."""
        for block in self:
            x = block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant)
        return x


def net(kind: str = "ours", reentrant: bool | None = None) -> nn.Module:
    """Return three adapted blocks, in float64 so that rounding hides no error."""
    torch.manual_seed(0)
    inner = Net(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3)))
    inner.reentrant = reentrant
    if kind == "ours":
        model: nn.Module = add_lora(inner, LoRAConfig(r=2))
    else:
        model = get_peft_model(inner, LoraConfig(r=2, target_modules=r"\d\.0", use_dora=kind == "dora"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model.double().train()


def blocks_of(model: nn.Module) -> nn.Sequential:
    return next(module for module in model.modules() if isinstance(module, Net))


def batches_of(rank: int, size: float = 1.0) -> list[Tensor]:
    """Return micro-batches (40, 8), large enough for the merged form."""
    source = torch.Generator().manual_seed(rank)
    drawn = (size * torch.randn(40, 8, generator=source, dtype=torch.float64) for _ in range(BATCHES))
    return [batch.requires_grad_() for batch in drawn]


def armed(model: nn.Module, **options: Any) -> flat.Noise:
    """Arm a model and draw the noise of a step."""
    noise = flat.arm(model, **{"rho": 0.5, "schedule": "constant", "seed": 7, **options})
    noise.begin_step(STEP)
    return noise


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def state_of(model: nn.Module, noise: flat.Noise) -> dict[str, Tensor]:
    """Return every parameter, gradient and draw, gathered, by the names of one process."""
    state = {f"{name}.draw": layer.drawn_noise.eps() for name, layer in noise.layers.items()}
    for name, parameter in model.named_parameters():
        state[WRAPPERS.sub("", name)] = whole(parameter)
        if parameter.grad is not None:
            state[f"{WRAPPERS.sub('', name)}.grad"] = whole(parameter.grad)
    state["others"] = torch.tensor(len(list(model.buffers())) + len(model.state_dict()))
    return state


def ddp(
    kind: str,
    rank: int,
    *,
    wrapped_first: bool = False,
    static_graph: bool = False,
    reentrant: bool | None = None,
    **options: Any,
) -> dict[str, Tensor]:
    """Return the state after two accumulated micro-batches; only a static graph reduces both."""
    model = net(kind, reentrant)
    noise = None if wrapped_first else armed(model, **options)
    wrapped = DistributedDataParallel(model, static_graph=static_graph)
    noise = noise or armed(wrapped, **options)
    for number, batch in enumerate(batches_of(rank)):
        together = static_graph or number == BATCHES - 1
        with nullcontext() if together else wrapped.no_sync():
            wrapped(batch).pow(2).mean().backward()
    return state_of(model, noise)


def fsdp(
    kind: str,
    rank: int,
    *,
    reshard: bool = True,
    reentrant: bool | None = None,
    parts: str = "blocks",
    armed_first: bool = False,
    precision: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Return the state after two micro-batches with all parameters sharded over two processes."""
    model = net(kind, reentrant)
    if precision is not None:
        model = model.float()
    noise = armed(model) if armed_first else None
    options = {
        "mesh": init_device_mesh("cpu", (WORLD,)),
        "reshard_after_forward": reshard,
        "mp_policy": MixedPrecisionPolicy(param_dtype=precision),
    }
    for block in blocks_of(model):
        for part in {"blocks": [block], "layers": [block[0]], "adapters": thin_parts(block)}[parts]:
            fully_shard(part, **options)
    fully_shard(model, **options)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    noise = noise or armed(model)
    for batch in batches_of(rank) if precision is None else batches_of(rank, SMALL):
        model(batch.to(precision)).double().pow(2).mean().backward()
    return state_of(model, noise)


def thin_parts(block: nn.Module) -> list[nn.Module]:
    """Return PEFT's A and B, which are modules of their own."""
    return [
        module
        for name, module in block.named_modules()
        if name.endswith(("lora_A.default", "lora_B.default"))
    ]


def refusals(rank: int) -> dict[str, str]:
    """Return the errors for models that cannot be sharded in this way."""
    mesh, errors = init_device_mesh("cpu", (WORLD,)), {}
    model = net()
    for block in blocks_of(model):
        fully_shard(block[0].base, mesh=mesh)
    fully_shard(model, mesh=mesh)
    with pytest.raises(Mistake) as bases:
        flat.arm(model, schedule="constant")
    model = net()
    armed(model)
    with pytest.raises(RuntimeError) as layer:
        fully_shard(blocks_of(model)[0][0], mesh=mesh)
    errors["bases"], errors["armed layer"] = str(bases.value), str(layer.value)
    return errors


def worker(rank: int, folder: str) -> None:
    """Run all cases in one of the processes, and save the states."""
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    states: dict[str, Any] = {
        f"ddp {kind} {variant}": ddp(kind, rank, **DDP[variant]) for kind in KINDS for variant in DDP
    }
    states |= {
        f"fsdp {kind} {variant}": fsdp(kind, rank, **FSDP[variant]) for kind in KINDS for variant in FSDP
    }
    states["fsdp peft adapters"] = fsdp("peft", rank, parts="adapters")
    states |= {f"bf16 {kind}": fsdp(kind, rank, precision=torch.bfloat16) for kind in ("ours", "peft")}
    states["per rank"] = ddp("ours", rank, per_rank=True)
    states["refusals"] = refusals(rank)
    torch.save(states, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the states of the two processes, which run all cases, since imports take most of the time."""
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(worker, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def alone(kind: str, size: float = 1.0, rho: float = 0.5) -> dict[str, Tensor]:
    """Return the state of one process after the joined batch."""
    with torch.random.fork_rng():
        model = net(kind)
        noise = armed(model, rho=rho)
        joined = torch.cat([batch for rank in range(WORLD) for batch in batches_of(rank, size)])
        (BATCHES * model(joined).pow(2).mean()).backward()
        return state_of(model, noise)


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Compare W, A, B and the noise to the bit, and the gradients closely."""
    assert actual.keys() == expected.keys()
    assert sum(name.endswith(".grad") for name in actual) >= 6
    assert sum(name.endswith(".draw") for name in actual) == 3
    for name, tensor in expected.items():
        assert tensor.any()
        if name.endswith(".grad"):
            torch.testing.assert_close(actual[name], tensor, rtol=0, atol=1e-11)
        else:
            assert torch.equal(actual[name], tensor), name


@pytest.mark.parametrize("variant", DDP)
@pytest.mark.parametrize("kind", KINDS)
def test_ddp(states: list, kind: str, variant: str) -> None:
    expected = alone(kind)
    for state in states:
        assert_same(state[f"ddp {kind} {variant}"], expected)


@pytest.mark.parametrize("variant", FSDP)
@pytest.mark.parametrize("kind", KINDS)
def test_fsdp2(states: list, kind: str, variant: str) -> None:
    expected = alone(kind)
    for state in states:
        assert_same(state[f"fsdp {kind} {variant}"], expected)


def test_fsdp2_where_peft_s_thin_layers_are_sharded_by_themselves(states: list) -> None:
    for state in states:
        assert_same(state["fsdp peft adapters"], alone("peft"))


@pytest.mark.parametrize("kind", ["ours", "peft"])
def test_fsdp2_with_parameters_in_bf16(states: list, kind: str) -> None:
    expected, clean = alone(kind, SMALL), alone(kind, SMALL, rho=0.001)
    assert all(
        (clean[name] - tensor).norm() > 0.2 * tensor.norm()
        for name, tensor in expected.items()
        if "grad" in name
    )
    for actual in (state[f"bf16 {kind}"] for state in states):
        for name, tensor in expected.items():
            if name.endswith((".grad", ".draw")):
                assert (actual[name] - tensor).norm() <= (
                    0.1 if name.endswith(".grad") else 0.03
                ) * tensor.norm()
            else:
                assert torch.equal(actual[name], tensor.float() if tensor.is_floating_point() else tensor)


def test_each_rank_may_have_a_draw_of_its_own_and_the_gradient_is_their_mean(states: list) -> None:
    draws, grads = [], []
    with torch.random.fork_rng():
        for rank in range(WORLD):
            model, state = net(), states[rank]["per rank"]
            for name, layer in ((n, m) for n, m in model.named_modules() if f"{n}.draw" in state):
                base_of(layer).weight.data += state[f"{name}.draw"]
            for batch in batches_of(rank):
                model(batch).pow(2).mean().backward()
            grads.append(
                {
                    f"{n}.grad": parameter.grad
                    for n, parameter in model.named_parameters()
                    if parameter.requires_grad
                }
            )
            draws.append({name: tensor for name, tensor in state.items() if name.endswith(".draw")})
    assert not any(torch.equal(draws[0][name], draws[1][name]) for name in draws[0])
    for state in (of_rank["per rank"] for of_rank in states):
        for name in grads[0]:
            mean = (grads[0][name] + grads[1][name]) / WORLD
            torch.testing.assert_close(state[name], mean, rtol=0, atol=1e-11)


def test_the_bank_is_neither_a_buffer_nor_saved() -> None:
    with torch.random.fork_rng():
        model = net()
        names, buffers = list(model.state_dict()), list(model.named_buffers())
        armed(model)
        assert (list(model.state_dict()), list(model.named_buffers())) == (names, buffers)


def test_a_base_that_cannot_be_sharded_is_refused(states: list) -> None:
    errors = states[0]["refusals"]
    assert "its base layer has hooks" in errors["bases"]
    assert "LoRALinear is armed; shard the model first" in errors["armed layer"]
