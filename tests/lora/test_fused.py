"""The fused layer against autograd of its formula; its products, saved tensors, masks and data types."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import accelerate
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.pytorch_utils import Conv1D

from lowland import LoRALinear
from lowland.lora import fused
from lowland.lora.fused import AdaptedLinear, Plan, merges

FORMS = {"merged": (0, 0.0), "branch": (10**9, 0.0), "dropout": (0, 0.4)}
BASES = ("Linear", "Linear without bias", "Conv1D")


@dataclass(frozen=True)
class Fixed:
    """The simplest weight noise: a fixed eps."""

    eps: Tensor

    def added_to(self, weight: Tensor) -> Tensor:
        return weight + self.eps.to(weight.dtype)

    def add_to_merged(self, merged: Tensor) -> Tensor:
        return merged.add_(self.eps)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Draw the same masks in every run of a test."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Return a list that collects the plans that layers make, which determine their masks."""
    collected: list[Plan] = []

    def record_plan(*arguments: object) -> Plan:
        collected.append(Plan(*arguments))
        return collected[-1]

    monkeypatch.setattr(fused, "Plan", record_plan)
    return collected


@pytest.fixture(params=FORMS)
def p(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Force one form, and return the dropout probability that goes with it."""
    tokens, p = FORMS[request.param]
    monkeypatch.setattr(fused, "MERGE_FROM", tokens)
    return p


def new_layer(
    kind: str = "Linear", ins: int = 6, outs: int = 5, p: float = 0.0, dtype: torch.dtype = torch.float64
) -> LoRALinear:
    """Return a layer in training mode whose weights are all of the order of 1, with s = 7/3."""
    base = Conv1D(outs, ins) if kind == "Conv1D" else nn.Linear(ins, outs, bias=kind == "Linear")
    layer = LoRALinear(base.to(dtype), r=3, alpha=7, dropout=p)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer.train()


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def ours(layer: LoRALinear, x: Tensor, g: Tensor, noise: Fixed | None = None) -> tuple[Tensor, ...]:
    """Return y, dX, dA and dB of the layer."""
    x = x.detach().requires_grad_()
    y = layer.fused(x, noise)
    return y.detach(), *torch.autograd.grad(y, (x, layer.lora_A, layer.lora_B), g)


def formula(
    layer: LoRALinear, x: Tensor, g: Tensor, mask: Tensor | float = 1.0, eps: Tensor | float = 0.0
) -> tuple[Tensor, ...]:
    """Return the same by plain autograd in float64: y = x (W + eps)ᵀ + b + 7/3 ((mask ∘ x) Aᵀ) Bᵀ."""
    held = layer.base.weight.T if isinstance(layer.base, Conv1D) else layer.base.weight
    x, a, b = (tensor.detach().double().requires_grad_() for tensor in (x, layer.lora_A, layer.lora_B))
    y = x @ (held.double() + eps).T + 7 / 3 * (((mask * x) @ a.T) @ b.T)
    if layer.base.bias is not None:
        y = y + layer.base.bias.double()
    return y.detach(), *torch.autograd.grad(y, (x, a, b), g.double())


def assert_same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for result, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(result, other, rtol=1e-10, atol=1e-10)


class Products(TorchDispatchMode):
    """Records the shape of the result of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("mm", "addmm", "addmm_"):
            self.shapes.append(tuple(result.shape))
        return result


# --- the formula


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("noisy", [False, True])
def test_output_and_gradients_are_those_of_the_formula(
    p: float, kind: str, noisy: bool, plans: list[Plan]
) -> None:
    layer, x, g = new_layer(kind, p=p), normal(22, 6), normal(22, 5, seed=1)
    eps = normal(5, 6, seed=2)
    actual = ours(layer, x, g, Fixed(eps) if noisy else None)
    mask = plans[0].dropped(torch.ones_like(x)) / (1 - p)
    assert (mask == 0).any() == (p > 0)
    assert_same(actual, formula(layer, x, g, mask, eps if noisy else 0.0))


@pytest.mark.parametrize(("ins", "outs"), [(5, 7), (7, 5)])
def test_one_pass_may_merge_and_the_other_not(ins: int, outs: int) -> None:
    layer, x, g = new_layer(ins=ins, outs=outs), normal(22, ins), normal(22, outs, seed=1)
    assert merges(22, ins, x.dtype, 0) != merges(22, outs, x.dtype, 0)
    assert_same(ours(layer, x, g), formula(layer, x, g))


def test_a_weight_that_must_be_dequantised_is_read_from_its_layer(p: float) -> None:
    layer, x, g = new_layer(p=p), normal(22, 6).requires_grad_(), normal(22, 5, seed=1)
    learned = (layer.lora_A, layer.lora_B)
    results = []
    for weight, base in ((layer.base.weight, None), (None, layer.base)):
        plan = Plan(layer.scaling, p, 9, Fixed(normal(5, 6, seed=2)), base)
        y = AdaptedLinear.apply(x, weight, layer.base.bias, *learned, plan)
        results.append((y, *torch.autograd.grad(y, (x, *learned), g)))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (2, 1, 3, 6)])
def test_any_number_of_dimensions(p: float, shape: tuple[int, ...], plans: list[Plan]) -> None:
    layer, x, g = new_layer(p=p), normal(*shape), normal(*shape[:-1], 5, seed=1)
    actual = ours(layer, x, g)
    mask = plans[0].dropped(torch.ones_like(x.reshape(-1, 6))).view(shape) / (1 - p)
    assert actual[0].shape == g.shape
    assert_same(actual, formula(layer, x, g, mask))


@pytest.mark.parametrize("shape", [(0, 6), (2, 0, 6)])
def test_an_empty_batch(p: float, shape: tuple[int, ...]) -> None:
    y, dx, da, db = ours(new_layer(p=p), torch.empty(shape).double(), torch.empty(*shape[:-1], 5).double())
    assert (y.shape, dx.shape) == ((*shape[:-1], 5), shape)
    assert not da.any()
    assert not db.any()


def backwards(*shape: int, seed: int = 0) -> Tensor:
    """Return a tensor whose first dimension is the innermost in memory."""
    return normal(*reversed(shape), seed=seed).permute(*reversed(range(len(shape))))


@pytest.mark.parametrize(
    "x",
    [backwards(22, 6), backwards(22, 3, 6), normal(44, 6)[::2]],
    ids=lambda x: f"{tuple(x.shape)} {x.stride()}",
)
@pytest.mark.parametrize("constant", [False, True])
def test_any_memory_layout(p: float, x: Tensor, constant: bool, plans: list[Plan]) -> None:
    layer, shape = new_layer(p=p), (*x.shape[:-1], 5)
    g = normal(1, seed=1).expand(shape) if constant else backwards(*shape, seed=1)
    assert not x.is_contiguous()
    assert not g.is_contiguous()
    actual = ours(layer, x, g)
    mask = plans[0].dropped(torch.ones_like(x.reshape(-1, 6))).view(x.shape) / (1 - p)
    assert_same(actual, formula(layer, x, g, mask))


@pytest.mark.parametrize("needed", ["xab", "ab", "x", "a", "b"])
@pytest.mark.parametrize("noisy", [False, True])
def test_first_and_second_derivatives_against_differences(p: float, needed: str, noisy: bool) -> None:
    tensors = {"x": normal(4, 3), "a": normal(2, 3, seed=1), "b": normal(3, 2, seed=2)}
    weight, bias = normal(3, 3, seed=3), normal(3, seed=4)
    plan = Plan(1.7, p, 5, Fixed(normal(3, 3, seed=6)) if noisy else None)

    def layer(*some: Tensor) -> Tensor:
        now = tensors | dict(zip(needed, some, strict=True))
        return AdaptedLinear.apply(now["x"], weight, bias, now["a"], now["b"], plan)

    inputs = [tensors[name].requires_grad_() for name in needed]
    assert torch.autograd.gradcheck(layer, inputs)
    assert torch.autograd.gradgradcheck(layer, inputs)
    first, second = (
        torch.autograd.grad(layer(*inputs).pow(2).sum(), inputs, create_graph=more) for more in (False, True)
    )
    assert_same(second, first)  # differences of a wrong gradient are its derivatives as well


# --- the matrix products


def test_the_rule_at_its_edges() -> None:
    assert merges(4 * 6, 6, torch.float32, 0)
    assert merges(4 * 6, 6, torch.float64, 0)
    assert not merges(4 * 6 - 1, 6, torch.float32, 0)
    assert not merges(10**6, 6, torch.float32, 1e-6)
    assert not merges(10**6, 6, torch.bfloat16, 0)
    assert not merges(10**6, 6, torch.float16, 0)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_computes_its_own_products_only(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, p = FORMS[form]
    monkeypatch.setattr(fused, "MERGE_FROM", tokens)
    layer, x = new_layer(p=p), normal(22, 6).requires_grad_()
    with Products() as forward:
        y = layer(x)
    with Products() as backward:
        y.sum().backward()
    there, back = [(5, 6)] if form == "merged" else [(22, 5)], [(5, 6)] if form == "merged" else [(22, 6)]
    assert sorted(forward.shapes) == sorted([(22, 3), (22, 5), *there])
    assert sorted(backward.shapes) == sorted([(22, 3), (22, 6), (3, 5), (3, 6), *back])


@pytest.mark.parametrize(("ins", "outs"), [(5, 7), (7, 5)])
def test_the_forms_are_chosen_by_each_product_s_inner_dimension(ins: int, outs: int) -> None:
    layer, x = new_layer(ins=ins, outs=outs), normal(22, ins).requires_grad_()
    with Products() as forward:
        y = layer(x)
    with Products() as backward:
        y.sum().backward()
    assert ((outs, ins) in forward.shapes) == (ins == 5)  # 22 tokens are at least 4 x 5, and fewer than 4 x 7
    assert ((outs, ins) in backward.shapes) == (outs == 5)


@pytest.mark.parametrize("frozen", ["x", "A", "B", "AB", "xA", "xB"])
def test_frozen_tensors_get_no_gradient_and_the_others_get_theirs(
    frozen: str, p: float, plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, g = new_layer(p=p), normal(22, 6), normal(22, 5, seed=1)
    draws, drops = [], Plan.drops
    monkeypatch.setattr(Plan, "drops", lambda plan, x: draws.append(1) or drops(plan, x))
    leaves = {"x": x.requires_grad_(), "A": layer.lora_A, "B": layer.lora_B}
    for name in frozen:
        leaves[name].requires_grad_(False)
    with Products() as products:
        layer(x).backward(g)
    if p > 0:
        assert len(draws) == 1 + ("x" not in frozen or "A" not in frozen)
    mask = plans[0].dropped(torch.ones_like(x)) / (1 - p)
    for (name, leaf), expected in zip(leaves.items(), formula(layer, x, g, mask)[1:], strict=True):
        if name in frozen:
            assert leaf.grad is None
        else:
            torch.testing.assert_close(leaf.grad, expected, rtol=1e-10, atol=1e-10)
    shapes = {"x": (22, 6), "A": (3, 6), "B": (3, 5)}
    assert all((shapes[name] in products.shapes) == (name not in frozen) for name in leaves)


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("noisy", [False, True])
def test_only_x_and_its_projection_of_width_r_are_saved_for_the_backward_pass(
    p: float, kind: str, noisy: bool
) -> None:
    layer, x = new_layer(kind, p=p), normal(22, 6).requires_grad_()
    known = {tensor.untyped_storage().data_ptr() for tensor in (x, *layer.parameters())}
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = layer.fused(x, Fixed(normal(5, 6)) if noisy else None)
    new = {store.data_ptr(): store.nbytes() for store in (tensor.untyped_storage() for tensor in saved)}
    assert x.data_ptr() in new
    assert sum(size for place, size in new.items() if place not in known) == 22 * 3 * 8
    assert y.requires_grad


def test_under_autocast_no_copy_of_the_weight_is_kept() -> None:
    layer, x = new_layer(dtype=torch.float32), normal(22, 6, dtype=torch.float32).requires_grad_()
    known = {tensor.untyped_storage().data_ptr() for tensor in (x, *layer.parameters())}
    saved: list[Tensor] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    new = {store.data_ptr(): store.nbytes() for store in (tensor.untyped_storage() for tensor in saved)}
    allowed = 2 * (22 * 6 + 22 * 3 + 3 * 6 + 5 * 3)  # x, x Aᵀ, A and B in bf16
    assert sum(size for place, size in new.items() if place not in known) == allowed
    assert y.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("noisy", [False, True])
def test_the_frozen_tensors_are_never_written(p: float, kind: str, noisy: bool) -> None:
    layer = new_layer(kind, p=p)
    before = {
        name: (parameter.clone(), parameter._version) for name, parameter in layer.base.named_parameters()
    }
    ours(layer, normal(22, 6), normal(22, 5), Fixed(normal(5, 6)) if noisy else None)
    layer(normal(22, 6)).sum().backward()
    for name, parameter in layer.base.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter._version == before[name][1]
        assert parameter.grad is None


# --- data types


CONDITIONS = [
    (torch.float64, None),
    (torch.float32, None),
    (torch.bfloat16, None),
    (torch.float16, None),
    (torch.float32, torch.bfloat16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float32, torch.float16),
    (torch.float64, torch.bfloat16),
]


@pytest.mark.parametrize(("held", "cast"), CONDITIONS)
@pytest.mark.parametrize("kind", BASES)
def test_data_types_are_those_of_the_base_alone_and_gradients_near(
    held: torch.dtype, cast: torch.dtype | None, kind: str, p: float, plans: list[Plan]
) -> None:
    layer = new_layer(kind, ins=40, outs=30, p=p, dtype=held)
    x = normal(50, 40, dtype=held).requires_grad_()
    with torch.autocast("cpu", cast, enabled=cast is not None):
        y, alone = layer(x), layer.base(x)
    g = normal(50, 30, seed=1, dtype=y.dtype)
    y.backward(g)
    assert y.dtype == alone.dtype
    assert x.grad.dtype == held
    wide = torch.float64 if held == torch.float64 else torch.float32
    assert layer.lora_A.dtype == layer.lora_A.grad.dtype == layer.lora_B.grad.dtype == wide
    mask = plans[0].dropped(torch.ones_like(x).double()) / (1 - p)
    used = held if held == torch.float64 else cast or held
    bound = (2 if used.itemsize == 2 else 16) * torch.finfo(used).eps  # sums are kept in 32 bits at least
    for actual, expected in zip(
        (y, x.grad, layer.lora_A.grad, layer.lora_B.grad), formula(layer, x, g, mask), strict=True
    ):
        assert (actual.double() - expected).norm() <= bound * expected.norm()


@pytest.mark.parametrize("held", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("input_dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_without_autocast_the_base_determines_the_dtype_of_the_computation(
    held: torch.dtype, input_dtype: torch.dtype
) -> None:
    layer, x = new_layer(dtype=held), normal(22, 6, dtype=input_dtype).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.dtype == held
    assert torch.equal(y, layer(x.to(held)))
    assert x.grad.dtype == input_dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_branch_far_below_the_weight_s_rounding_counts_in_16_bits(
    dtype: torch.dtype, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "MERGE_FROM", 0)
    held = torch.float32 if autocast else dtype
    layer = LoRALinear(nn.Linear(8, 6, bias=False).to(held), r=1, alpha=1)
    there, back = torch.tensor([1.0, -1.0] * 4), torch.tensor([1.0, -1.0] * 3)
    with torch.no_grad():
        layer.base.weight.copy_(back[:, None].expand(6, 8))  # so that x Wᵀ and G W are 0
        layer.lora_A.copy_(there[None] * 2**-7)
        layer.lora_B.fill_(2**-7)
    assert torch.equal((layer.weight + layer.delta()).to(dtype), layer.weight.to(dtype))
    x = there[None].to(held).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=autocast):
        y = layer(x)
    y.sum().backward()
    assert torch.equal(y, torch.full_like(y, 8 * 2**-14))
    assert torch.equal(x.grad, there[None].to(held) * 6 * 2**-14)


# --- dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_a_mask_drops_the_fraction_p_and_leaves_the_rest(p: float) -> None:
    x = normal(1001, 999, dtype=torch.float32)  # not a multiple of four
    dropped = Plan(1.0, p, seed=4).dropped(x)
    gone = dropped == 0
    error = math.sqrt(p * (1 - p) / x.numel())
    assert gone.double().mean().item() == pytest.approx(p, abs=5 * error + 2**-17)
    assert torch.equal(dropped[~gone], x[~gone])
    centred = gone.flatten().double() - p
    for lag in (1, 2, 3, 4, 999):  # four entries come from one random word
        assert abs((centred[lag:] * centred[:-lag]).mean().item()) < 5 * p * (1 - p) / math.sqrt(x.numel())


def test_a_mask_is_a_function_of_seed_and_shape_alone() -> None:
    state = torch.random.get_rng_state()
    x = normal(21, 6)
    mask = Plan(1.0, 0.4, seed=2**61 + 1).dropped(x) == 0
    assert torch.equal(Plan(3.0, 0.4, seed=2**61 + 1).dropped(x.T.contiguous().T) == 0, mask)
    assert torch.equal(Plan(1.0, 0.4, seed=2**61 + 1).dropped(x.bfloat16()) == 0, mask)
    assert not torch.equal(Plan(1.0, 0.4, seed=2**61).dropped(x) == 0, mask)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_masks_follow_the_global_seed_and_differ_from_call_to_call() -> None:
    layer, x = new_layer(p=0.4), normal(22, 6)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    torch.manual_seed(2)
    assert not torch.equal(layer(x), first)


def test_evaluation_draws_no_mask_and_no_random_numbers() -> None:
    layer, plain, x, g = new_layer(p=0.4).eval(), new_layer(), normal(22, 6), normal(22, 5, seed=1)
    state = torch.random.get_rng_state()
    assert_same(ours(layer, x, g), formula(layer, x, g))
    plain(x)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_dropout_keeps_the_mean() -> None:
    layer, copies = new_layer(p=0.4), 20_000
    x, g = normal(1, 6).expand(copies, 6), normal(1, 5, seed=1).expand(copies, 5)
    torch.manual_seed(0)
    y, dx, da, db = ours(layer, x, g)
    plain_y, plain_dx, plain_da, plain_db = formula(layer, x, g)
    for actual, expected in ((y, plain_y), (dx, plain_dx)):
        assert ((actual.mean(0) - expected[0]).abs() <= 5 * actual.std(0) / math.sqrt(copies)).all()
        assert actual.std(0).min() > 0
    for actual, expected in ((da, plain_da), (db, plain_db)):
        assert ((actual - expected).norm() / expected.norm()).item() < 0.05


# --- bases with hooks, and layers outside of training


def offload(base: nn.Module) -> None:
    """Offload the weights, which a hook then fetches."""
    accelerate.cpu_offload(base, execution_device=torch.device("cpu"))


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize(
    "hook",
    [
        lambda base: base.register_forward_hook(lambda *arguments: None),
        lambda base: base.register_forward_pre_hook(lambda *arguments: None),
        offload,
    ],
    ids=["forward hook", "forward pre-hook", "accelerate"],
)
@pytest.mark.parametrize(
    ("held", "cast"), [(torch.float32, None), (torch.float32, torch.bfloat16), (torch.bfloat16, None)]
)
def test_a_base_with_hooks_is_called_and_results_are_the_same(
    hook: Callable, kind: str, held: torch.dtype, cast: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = new_layer(kind, dtype=held), normal(22, 6, dtype=held)
    used = cast or held
    g = normal(22, 5, seed=1, dtype=used)

    def results() -> tuple[Tensor, ...]:
        leaf = x.detach().requires_grad_()
        with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast is not None):
            y = layer(leaf)
        return y, *torch.autograd.grad(y, (leaf, layer.lora_A, layer.lora_B), g)

    expected = results()
    hook(layer.base)
    calls, forward = [], layer.base.forward
    monkeypatch.setattr(layer.base, "forward", lambda *arguments: calls.append(1) or forward(*arguments))
    tolerance = (2 if used.itemsize == 2 else 16) * torch.finfo(used).eps
    for actual, target in zip(results(), expected, strict=True):
        assert actual.dtype == target.dtype
        assert (actual.double() - target.double()).norm() <= tolerance * target.double().norm()
    assert calls == [1]


def test_a_layer_can_be_copied_pickled_and_saved_after_training(p: float) -> None:
    layer, x = new_layer(p=p), normal(22, 6)
    names, attributes = list(layer.state_dict()), set(vars(layer))
    layer(x).sum().backward()
    assert names == list(layer.state_dict()) == ["lora_A", "lora_B", "base.weight", "base.bias"]
    assert set(vars(layer)) == attributes
    layer.eval()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        twin.lora_B.data.zero_()
        assert layer.lora_B.any()


def test_a_backward_hook_on_the_base_is_called() -> None:
    layer, seen = new_layer(), []
    layer.base.register_full_backward_hook(lambda *arguments: seen.append(1))
    layer(normal(22, 6).requires_grad_()).sum().backward()
    assert seen == [1]


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_base_that_is_not_frozen_is_trained(name: str) -> None:
    layer, x = new_layer(), normal(22, 6)
    getattr(layer.base, name).requires_grad_()
    layer(x).sum().backward()
    expected = {"weight": x.sum(0).expand(5, 6), "bias": torch.full((5,), 22.0, dtype=x.dtype)}
    torch.testing.assert_close(getattr(layer.base, name).grad, expected[name])


@pytest.mark.parametrize("p", [0.999999, 1e-6])
def test_extreme_probabilities_drop_their_fraction(p: float) -> None:
    share = Plan(1.0, p, seed=1).dropped(torch.ones(200, 100)).mean()
    assert abs(1 - share - p) < 1e-3


def test_shapes_are_inferred_on_the_meta_device() -> None:
    layer = LoRALinear(nn.Linear(6, 5), 2, 4.0).to("meta")
    assert layer(torch.empty(3, 4, 6, device="meta")).shape == (3, 4, 5)
