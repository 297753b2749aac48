"""What docs/flat-lora.md says is supported and refused: a test a sentence, which its docstring quotes."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, distributed, multiprocessing, nn
from torch._dynamo.utils import counters
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lowland import LoRAConfig, add_lora, flat
from lowland.flat.linear import base_of
from lowland.ground.mistakes import Mistake
from lowland.lora.bases import weight_of
from tests.flat import document, test_bases, test_checks, test_parallel
from tests.flat.conftest import (
    KINDS,
    canonical,
    net,
    ours,
    peft_lora,
    results,
    rows,
    two_adapters,
)
from tests.flat.test_promises_of_noise import ARMED, agree, checkpointed
from tests.flat.trainers import equal


def nodes(y: Tensor) -> list[str]:
    """Return the names of the autograd functions that computed a layer's output."""
    names, todo = [], [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None:
            names.append(type(node).__name__)
            todo += [before for before, _ in node.next_functions]
    return [name for name in names if name != "AccumulateGrad" and "View" not in name]


def nodes_of(kind: str) -> list[str]:
    model = KINDS[kind]()
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        return nodes(canonical(model)["up"](rows()))


@pytest.mark.parametrize("kind", ["ours", "ours, rsLoRA", "ours, dropout"])
def test_our_layers(kind: str) -> None:
    """| lowland's LoRA, rsLoRA | noise and adapter in one autograd function |"""
    agree(kind)
    assert len(nodes_of(kind)) == 1


@pytest.mark.parametrize(
    "kind",
    [
        "LoRA",
        "rsLoRA",
        "PiSSA",
        "OLoRA",
        "two adapters",
        "one adapter of two",
        "LoRA, dropout",
        "LoRA, Conv1D",
    ],
)
def test_peft_s_layers(kind: str) -> None:
    """| PEFT's LoRA, rsLoRA, PiSSA, OLoRA and other starts; several adapters; adapter dropout; Conv1D | likewise; with
    dropout in several operations |"""
    agree(kind)
    functions = [
        name for name in nodes_of(kind) if name not in ("CatBackward0", "MulBackward0")
    ]  # of several
    assert (len(functions) == 1) == ("dropout" not in kind)


@pytest.mark.parametrize("start", ["gaussian", "orthogonal", "pissa_niter_2", False])
def test_other_starts(start: str) -> None:
    """| PEFT's LoRA, rsLoRA, PiSSA, OLoRA and other starts;"""
    options: dict[str, Any] = {"r": 4, "lora_alpha": 8}
    with torch.random.fork_rng():
        model = get_peft_model(net(), LoraConfig(init_lora_weights=start, target_modules=["up"], **options))
    model.train()
    x, plain = rows(), model(rows())
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        eps = noise.layers["up"].drawn_noise.eps()
        y = noise.layers["up"](x)
        assert not torch.equal(model(x), plain)
    torch.testing.assert_close(y, canonical(model)["up"](x) + x @ eps.T)


def products(model: nn.Module) -> int:
    """Return how many matrix products the layer `up` computes in a forward pass."""
    count = 0

    class Counter(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal count
            count += function.overloadpacket._qualified_op_name in ("aten::mm", "aten::addmm")
            return function(*args, **(kwargs or {}))

    with Counter():
        canonical(model)["up"](rows())
    return count


@pytest.mark.parametrize("kind", ["DoRA", "DoRA, dropout", "DoRA, Conv1D"])
def test_peft_s_dora(kind: str) -> None:
    """| PEFT's DoRA | the norm of W'_i is the magnitude; the noise is added to PEFT's own output, for one more matrix
    product, so the magnitude learns from the direction without noise |"""
    agree(kind)
    model = KINDS[kind]()
    layer, without = canonical(model)["up"], products(model)
    magnitude = layer.lora_magnitude_vector["default"].weight.abs()
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        assert products(model) == without + 1
        scale = layer.drawn_noise.scale.abs()[:, 0]
    torch.testing.assert_close(scale, 0.5 / 10**0.5 * magnitude)


@pytest.mark.parametrize("kind", ["VeRA", "VeRA, dropout", "IA3"])
def test_peft_s_vera_and_ia3(kind: str) -> None:
    """| PEFT's VeRA, (IA)³ | the noise is added to PEFT's own output |"""
    agree(kind)


def test_adapted_embeddings(bert: nn.Module, tokens: Tensor) -> None:
    """| adapted embeddings | no noise: the method perturbs linear layers |"""
    model = add_lora(nn.Sequential(nn.Embedding(64, 8), nn.Linear(8, 8)), LoRAConfig(r=2, targets=["0", "1"]))
    words = model[0](tokens)
    with flat.arm(model.train(), **ARMED) as noise:
        noise.begin_step(1)
        assert list(noise.layers) == ["1"]
        assert torch.equal(model[0](tokens), words)


def test_the_attention_of_diffusers(tmp_path: Path) -> None:
    """| the attention of diffusers' UNet and DiT, adapted by `unet.add_adapter`, `get_peft_model` or `add_lora` | as in
    any other model, by `flat.arm` or the callback |"""
    from tests.flat import test_diffusion as in_diffusion

    for kind, way in in_diffusion.WAYS:
        in_diffusion.test_every_adapted_layer_computes_with_the_perturbed_weight(kind, way)
    in_diffusion.test_the_callback_trains_them_and_leaves_the_base_as_it_was(
        tmp_path, "DiT", "get_peft_model"
    )


@pytest.mark.filterwarnings("ignore")  # from the packages that quantise
@pytest.mark.parametrize("form", ["nf4", "8bit", "torchao int8", "torchao int4"])
@pytest.mark.parametrize("build", test_bases.BUILDS.values(), ids=list(test_bases.BUILDS))
def test_quantised_bases(build: Any, form: str) -> None:
    """| 4 and 8 bits (bitsandbytes, torchao) | the weight is dequantised one layer at a time, plus eps; the base keeps
    its bits |"""
    model = build(form)
    before = test_bases.held(model)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        layer, x = noise.layers["up"], test_bases.x
        y = layer(x)
        clean = x @ weight_of(base_of(layer)).T
        layer.eval()
        difference = y - layer(x)
        layer.train()
        expected = x @ layer.drawn_noise.eps().T
        assert test_bases.step_of(model, form) > 0
    assert (difference - expected).norm() < 0.02 * expected.norm()
    assert clean.shape == expected.shape
    test_bases.assert_held(model, before)


@pytest.fixture
def compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        yield
    torch._dynamo.reset()


def graphs_of(model: nn.Module, steps: int = 4, width: int = 10, **options: Any) -> list[int]:
    """Return how many graphs and breaks of graphs there are after each step of a compiled model."""
    with flat.arm(model, **{"rho": 0.5, "total_steps": steps, **options}) as noise:
        compiled, x = torch.compile(model, backend="aot_eager"), torch.randn(16, width)
        seen = []
        for step in range(steps):
            noise.begin_step(step)
            compiled(x).pow(2).sum().backward()
            noise.end_step()
            seen.append(counters["stats"]["unique_graphs"])
        return seen


@pytest.mark.parametrize("kind", ["ours", "LoRA"])
def test_compiled(kind: str, compiler: None) -> None:
    """| `torch.compile` | one graph, compiled once for the steps with noise (a ramp's first step has no noise and a
    graph of its own);"""
    assert graphs_of(KINDS[kind]()) == [1, 2, 2, 2]
    assert not counters["graph_break"]


def test_compiled_noise_is_built_again(compiler: None) -> None:
    """W + eps is built again in the backward pass."""
    model, saved = ours(), []
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        compiled = torch.compile(model.up, backend="aot_eager", fullgraph=True)
        eps = noise.layers["up"].drawn_noise.eps()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            compiled(rows().requires_grad_())
    perturbed = model.up.weight + eps
    assert saved
    assert not any(t.shape in ((12, 10), (10, 12)) and near_either(t, perturbed) for t in saved)


def near_either(tensor: Tensor, expected: Tensor) -> bool:
    return any(tensor.shape == e.shape and torch.allclose(tensor, e) for e in (expected, expected.T))


@pytest.mark.parametrize("case", ["DoRA", "token", "nf4"])
def test_what_breaks_the_graph(case: str, compiler: None) -> None:
    """PEFT's DoRA, quantised bases and token noise break the graph |"""
    if case == "nf4":
        from tests.lora.test_bases import quantised

        model = add_lora(nn.Sequential(quantised(nn.Linear(64, 64), "nf4")), LoRAConfig(r=2)).train()
        graphs_of(model, 2, 64, schedule="constant")
    else:
        options = {"noise": "token"} if case == "token" else {}
        graphs_of(KINDS["ours" if case == "token" else case](), 2, schedule="constant", **options)
    assert counters["graph_break"]


def processes(rank: int, folder: str) -> None:
    """Save what one of two processes has after a step under DDP and FSDP2."""
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    states: dict[str, Any] = {
        f"{way.__name__} {kind}": way(kind, rank)
        for kind in ("ours", "peft")
        for way in (test_parallel.ddp, test_parallel.fsdp)
    }
    states["sharded by themselves"] = test_parallel.fsdp("ours", rank, parts="layers")
    states["refusals"] = test_parallel.refusals(rank)
    torch.save(states, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@test_parallel.pytestmark
def test_parallel_processes(tmp_path: Path) -> None:
    """| DDP, FSDP2 | every process draws the same noise of the full weight; layers that are sharded by themselves must
    be sharded before they are armed |"""
    multiprocessing.spawn(processes, (str(tmp_path),), nprocs=2)
    states = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for of_rank in states:
        errors = of_rank.pop("refusals")
        assert "LoRALinear is armed; shard the model first" in errors["armed layer"]
        for name, there in of_rank.items():
            test_parallel.assert_same(there, test_parallel.alone("peft" if "peft" in name else "ours"))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("build", [ours, peft_lora])
def test_checkpointing_and_autocast(build: Any, dtype: torch.dtype | None, reentrant: bool) -> None:
    """| gradient checkpointing (both kinds), autocast | the recomputation uses the noise of the first pass |"""
    gradients = []
    for model in (build(), checkpointed(build(), reentrant)):
        with flat.arm(model, **ARMED) as noise, torch.autocast("cpu", dtype, enabled=dtype is not None):
            noise.begin_step(1)
            gradients.append(results(model, rows()))
    assert equal(*gradients)


def tensor_parallel() -> nn.Module:
    """Return a model whose weight is sharded for tensor parallelism, over a group of one process."""
    model = ours()
    mesh = init_device_mesh("cpu", (1,))
    base = base_of(model.up)
    base.weight = nn.Parameter(distribute_tensor(base.weight.data, mesh, [Shard(0)]), requires_grad=False)
    return model


@pytest.fixture
def group_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if sys.platform == "linux":
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def too_wide() -> nn.Module:
    return add_lora(nn.Sequential(nn.Linear(2**21 + 1, 1)), LoRAConfig(r=1))


REFUSED: dict[str, tuple[str, ...]] = {
    "PEFT's other tuners and variants": (
        "LoHa",
        "AdaLoRA",
        "parameters",
        "MiCA",
        "another variant",
    ),
    "adapted convolutions (`conv1` or `proj_in` of a UNet)": ("Conv2d", "Conv2d and linear layers"),
    "DoRA with several active adapters": ("DoRA and another",),
    "a layer that is adapted twice or whose adapter is merged": ("adapted twice", "merged", "merged by PEFT"),
    "a layer whose `forward` was replaced": ("replaced forward", "replaced forward, PEFT"),
    "a base layer with hooks or with trained parameters": (
        "forward hook",
        "backward hook",
        "trained",
        "trained bias",
    ),
    "a layer with more than 2^21 inputs": ("too wide",),
    "offloaded weights (accelerate)": ("offloaded", "offloaded, PEFT"),
    "DeepSpeed ZeRO-3": ("ZeRO-3", "ZeRO-3, PEFT"),
    "tensor parallelism": ("tensor parallel",),
    "FSDP1": ("FSDP1",),
    "`nn.DataParallel`": ("DataParallel",),
    "a second callback": ("armed",),
}
"""The items of the sentence "Refused by name: …", each with its cases in test_checks.py or in `MORE`."""
MORE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "too wide": (too_wide, "a layer with 2097153 inputs is too wide for the noise bank"),
    "tensor parallel": (tensor_parallel, "up cannot get noise: its weight is sharded for tensor parallelism"),
}


def test_every_item_that_is_refused_has_a_case() -> None:
    """Refused by name:"""
    (rest,) = [
        text for text in document.sentences("What is supported") if text.startswith("Refused by name: ")
    ]
    for phrase in REFUSED:
        assert phrase in rest
        rest = rest.replace(phrase, "")
    assert rest.replace(",", "").replace(" ", "") == "Refusedbyname:and."


@pytest.mark.parametrize("case", [case for cases in REFUSED.values() for case in cases])
def test_refused_by_name(case: str, group_of_one: None) -> None:
    """Refused by name:"""
    build, sentence = MORE.get(case) or test_checks.REFUSED[case]
    with pytest.raises(Mistake, match=sentence):
        flat.arm(build(), total_steps=3)


def test_layers_without_noise_are_named_with_the_way_to_leave_them_out() -> None:
    """If only some of the adapted layers cannot get noise, as convolutions beside linear layers, no layer is armed; the
    error names them, and the `layers=[…]` that leaves them without noise."""
    test_checks.test_convolutions_among_linear_layers_are_refused_with_the_way_to_leave_them_out()


def test_an_untested_peft_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PEFT version outside the tested range gives a warning."""
    flat.arm(peft_lora())  # silent
    monkeypatch.setattr(peft, "__version__", "0.99.0")
    with pytest.warns(UserWarning, match=r"peft is 0\.99\.0; the noise was tested with versions from"):
        flat.arm(peft_lora())


def test_a_change_is_refused_at_the_next_step() -> None:
    """`begin_step` looks whether adapters, hooks or frozen weights have changed since arming, and refuses what arming
    would refuse: a layer that was adapted later, for instance, or a model whose adapters were unloaded, would silently
    train without noise."""
    changes: dict[str, Callable[[Any], Any]] = {
        "down was adapted after the model was armed": lambda model: model.add_adapter(
            "more", LoraConfig(r=2, target_modules=["down"])
        ),
        "its base layer has hooks": lambda model: base_of(canonical(model)["up"]).register_forward_hook(
            print
        ),
        "its base layer is trained": lambda model: model.requires_grad_(True),
        "its adapter is merged": lambda model: model.merge_adapter(),
        "up is no longer in the model": lambda model: model.unload(),
    }
    for sentence, change in changes.items():
        model = peft_lora(target_modules=["up"])
        with flat.arm(model, **ARMED) as noise:
            noise.begin_step(0)
            change(model)
            with pytest.raises(Mistake, match=sentence):
                noise.begin_step(1)


def test_another_adapter_within_a_step_is_an_error() -> None:
    """After `set_adapter` within a step, call `begin_step` again; otherwise an error says so."""
    model: Any = two_adapters(["default"])
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        model(rows())
        model.set_adapter("other")
        with pytest.raises(RuntimeError, match="call begin_step again after set_adapter"):
            model(rows())
        noise.begin_step(1)
        model(rows())


def test_mixed_batches_get_no_noise() -> None:
    """Batches that mix adapters (`adapter_names`) get no noise, because PEFT supports them for inference only."""
    model: Any = two_adapters(["default"])
    layer = canonical(model)["up"]
    names = ["default", "other", "__base__", "default", "other"]
    expected = layer(rows(), adapter_names=names)
    with flat.arm(model, **ARMED) as noise:
        noise.begin_step(1)
        assert torch.equal(layer(rows(), adapter_names=names), expected)
