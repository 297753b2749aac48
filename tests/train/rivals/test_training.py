"""Trainings under each rival's callback against the network written out, with 1, 2 and 8 batches in a step."""

from __future__ import annotations

import pytest
import torch

from lowland.ground.rng import stream_seed
from lowland.lora import lora_layers
from lowland.train.rivals.bar import BAR
from lowland.train.rivals.bi_lora import BiLoRA, add_auxiliary, bi_layers, bi_lora_groups
from lowland.train.rivals.efm import EFM
from lowland.train.rivals.ivon import CLIP_RADIUS, IVON, DrawFactors
from lowland.train.rivals.mgpo import MGPO
from lowland.train.settings import Settings
from tests.train.rivals.two_layers import STEPS, Plain, adamw, assert_same, network, norm, train

BATCHES = pytest.mark.parametrize("batches", [1, 2, 8])
CLIP = 0.3
"""Smaller than most gradients here, so that the order of clipping and measuring matters."""


def trained(model):
    """Return the trained parameters."""
    return [part for part in model.parameters() if part.requires_grad]


@BATCHES
def test_bar(batches):
    model = network()
    plain = Plain(model)
    train(model, BAR(0.8), adamw(trained(model)), CLIP, batches)
    optimizer = adamw(plain.parameters)
    for step in range(STEPS):
        plain.give(plain.gradients(step, plain.factors), CLIP)
        for a, b in plain.factors:
            change = 0.8 * (1 - step / STEPS) * 0.05 * (1 if b.grad.norm() >= a.grad.norm() else -1)
            b.data *= 1 + change
            a.data *= 1 - change
        optimizer.step()
    assert_same(model, plain)


@BATCHES
def test_mgpo(batches):
    """The momentum is the heavy ball of equation 4, which points along AdamW's first moment."""
    model, rho, beta, mu = network(), 0.2, 0.7, 0.9
    plain = Plain(model)
    train(model, MGPO(rho, beta), adamw(trained(model)), CLIP, batches)
    optimizer, momentum, mean = adamw(plain.parameters), None, None
    for step in range(STEPS):
        shifted = plain.factors
        if momentum is not None:
            shift = [rho * part / norm(momentum) / mean for part in momentum]
            shifted = [(a + shift[2 * i], b + shift[2 * i + 1]) for i, (a, b) in enumerate(plain.factors)]
        gradients = plain.gradients(step, shifted)
        size = norm(gradients)
        mean = size if mean is None else beta * mean + (1 - beta) * size
        plain.give(gradients, CLIP)
        clipped = [part.grad.clone() for part in plain.parameters]
        momentum = (
            clipped
            if momentum is None
            else [mu * old + new for old, new in zip(momentum, clipped, strict=True)]
        )
        optimizer.step()
    assert_same(model, plain)


@BATCHES
def test_efm(batches):
    """Algorithm 2, with the gradient of W formed from full pseudo-inverses."""
    model, rho, beta, s = network(), 0.3, 0.6, 2.0
    plain = Plain(model)
    train(model, EFM(rho, beta), adamw(trained(model)), CLIP, batches)
    optimizer, averages = adamw(plain.parameters), [torch.zeros(())] * 2
    for step in range(STEPS):
        shifted = [(a, b + average) for (a, b), average in zip(plain.factors, averages, strict=True)]
        gradients = plain.gradients(step, shifted)
        for i, (a, b) in enumerate(shifted):
            a, b = a.detach(), b.detach()
            grad_a, grad_b = gradients[2 * i : 2 * i + 2]
            pinv = torch.linalg.pinv
            grad_w = 0.5 / s * (grad_b @ pinv(a.T) + pinv(b.T) @ grad_a)
            new = rho / (step + 1) ** 0.5 * grad_w / grad_w.norm() @ pinv(a) / s
            averages[i] = new if step == 0 else (1 - beta) * averages[i] + beta * new
        plain.give(gradients, CLIP)
        optimizer.step()
    assert_same(model, plain)


@BATCHES
def test_bi_lora(batches):
    """Equations 9 and 10: two adapters, one descends and one ascends, and the product of the second is clipped."""
    model, rho, s = network(), 0.4, 2.0
    plain = Plain(model)
    for name, layer in lora_layers(model):
        add_auxiliary(layer, stream_seed(1, name))
    second = [
        part.detach().clone().requires_grad_()
        for layer in bi_layers(model)
        for part in (layer.auxiliary_A, layer.auxiliary_B)
    ]
    settings = Settings(lr=0.05, weight_decay=0.1)
    train(model, BiLoRA(rho), torch.optim.AdamW(bi_lora_groups(model, settings), lr=0.05), 1e9, batches)
    first = adamw(plain.parameters)
    ascent = torch.optim.AdamW(second, lr=0.05, weight_decay=0.0)
    clipped = 0
    for step in range(STEPS):
        gradients = plain.gradients(step, plain.factors, second)
        plain.give(gradients[:4])
        for part, gradient in zip(second, gradients[4:], strict=True):
            part.grad = -gradient
        first.step()
        ascent.step()
        total = norm([s * b @ a for a, b in (second[:2], second[2:])]).detach()
        if total > rho:
            clipped += 1
            for part in second:
                part.data *= (rho / total).sqrt()
            total = norm([s * b @ a for a, b in (second[:2], second[2:])])
            assert total.item() == pytest.approx(rho)
    assert clipped
    assert_same(model, plain)
    assert not list(bi_layers(model))
    assert {name for name, _ in model.named_parameters()} == {
        name for name, _ in network().named_parameters()
    }


@BATCHES
def test_ivon(batches):
    """Every step's gradient is that at m + σ z; the optimizer has a test of its own."""
    model, ess, start, seed = network(), 50.0, 0.7, 9
    names = [name for name, _ in lora_layers(model)]
    plain = Plain(model)
    drawn = {"params": trained(model), "drawn": True, "weight_decay": 0.1}
    train(model, DrawFactors(seed), IVON([drawn], ess=ess, hess_init=start, lr=50.0), 1e9, batches)
    g = [torch.zeros_like(part) for part in plain.parameters]
    h = [torch.full_like(part, start) for part in plain.parameters]
    b1, b2 = 0.9, 0.99999
    for step in range(STEPS):
        deviations = []
        for i, part in enumerate(plain.parameters):
            generator = torch.Generator().manual_seed(
                stream_seed(seed, "ivon", step, names[i // 2], "AB"[i % 2])
            )
            z = torch.randn(part.shape, generator=generator, dtype=torch.float64)
            deviations.append(z / (ess * (h[i] + 0.1)).sqrt())
        theta = [part + deviation for part, deviation in zip(plain.parameters, deviations, strict=True)]
        gradients = plain.gradients(step, [(theta[0], theta[1]), (theta[2], theta[3])])
        for i, part in enumerate(plain.parameters):
            h_hat = gradients[i] * deviations[i] * ess * (h[i] + 0.1)
            g[i] = b1 * g[i] + (1 - b1) * gradients[i]
            h[i] = b2 * h[i] + (1 - b2) * h_hat + 0.5 * (1 - b2) ** 2 * (h[i] - h_hat) ** 2 / (h[i] + 0.1)
            newton = (g[i] / (1 - b1 ** (step + 1)) + 0.1 * part.data) / (h[i] + 0.1)
            part.data -= 50.0 * newton.clip(-CLIP_RADIUS, CLIP_RADIUS)
    assert_same(model, plain)


@pytest.mark.parametrize(
    "callback", [MGPO(0.2, 0.9), EFM(0.3, 0.9), DrawFactors(1)], ids=lambda c: type(c).__name__
)
def test_only_training_passes_are_perturbed_and_the_layers_are_restored(callback):
    model = network()
    classes = [type(module) for module in model.modules()]
    x = torch.randn(4, 6, dtype=torch.float64)
    seen = []

    class Look(type(callback)):
        def on_step_begin(self, *args, **known):
            super().on_step_begin(*args, **known)
            before = [part.detach().clone() for part in model.parameters()]
            training, evaluation = model(x), model.eval()(x)
            model.train()
            merged = [layer.weight + layer.delta() for _, layer in lora_layers(model)]
            plain = (x @ merged[0].T + model[0].bias).tanh() @ merged[1].T + model[2].bias
            torch.testing.assert_close(evaluation, plain)
            seen.append(not torch.equal(training, evaluation))
            assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))

    watched = Look.__new__(Look)
    watched.__dict__.update(callback.__dict__)
    drawn = {"params": trained(model), "drawn": True, "weight_decay": 0.1}
    optimizer = (
        IVON([drawn], ess=50.0, hess_init=0.7, lr=1.0)
        if isinstance(callback, DrawFactors)
        else adamw(trained(model))
    )
    train(model, watched, optimizer, 1.0, 2)
    assert seen == [
        isinstance(callback, DrawFactors),
        True,
        True,
        True,
        True,
    ]  # the others need an earlier step
    assert [type(module) for module in model.modules()] == classes
