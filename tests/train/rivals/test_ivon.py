"""IVON against its published algorithm, written out in float64."""

import pytest
import torch
from torch import nn

from lowland.train.rivals.ivon import IVON

ESS, START, DELTA, LR = 100.0, 0.5, 0.1, 0.3


def optimizers(monkeypatch, radius=1e-3):
    """Return IVON on a parameter (4,), and the parameter."""
    monkeypatch.setattr("lowland.train.rivals.ivon.CLIP_RADIUS", radius)
    monkeypatch.setattr("lowland.train.rivals.ivon.BETA2", 0.9)
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64))
    group = {"params": [parameter], "drawn": True, "weight_decay": DELTA}
    return IVON([group], ess=ESS, hess_init=START, lr=LR), parameter


def loss_at(theta):
    """A loss that is not quadratic, so that its Hessian depends on θ."""
    return (theta.cosh() + 0.3 * theta * theta.roll(1)).sum()


def published(m, draws, radius, steps):
    """Algorithm 1 of Shen et al. (2024), with the gradient by autograd."""
    b1, b2, h, g = 0.9, 0.9, torch.full_like(m, START), torch.zeros_like(m)
    for t, z in enumerate(draws[:steps], start=1):
        sigma = 1 / (ESS * (h + DELTA)).sqrt()
        theta = (m + sigma * z).requires_grad_()
        (grad,) = torch.autograd.grad(loss_at(theta), theta)
        h_hat = grad * (theta - m).detach() / sigma**2
        g = b1 * g + (1 - b1) * grad
        h = b2 * h + (1 - b2) * h_hat + 0.5 * (1 - b2) ** 2 * (h - h_hat) ** 2 / (h + DELTA)
        m = m - LR * ((g / (1 - b1**t) + DELTA * m) / (h + DELTA)).clip(-radius, radius)
    return m, h


def take_step(optimizer, parameter, z):
    """Compute the gradient at the drawn value, and step."""
    theta = parameter + optimizer.deviation(parameter, z)
    optimizer.zero_grad()
    loss_at(theta).backward()
    optimizer.step()


@pytest.mark.parametrize("radius", [0.05, 1e9])
def test_steps_are_those_of_the_published_algorithm(monkeypatch, radius):
    optimizer, parameter = optimizers(monkeypatch, radius)
    draws = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mean, hessian = published(parameter.detach().clone(), draws, radius, 6)
    for z in draws:
        take_step(optimizer, parameter, z)
    torch.testing.assert_close(parameter.detach(), mean)
    torch.testing.assert_close(optimizer.state[parameter]["hessian"], hessian)


def test_the_variance_stays_positive_where_the_curvature_is_negative(monkeypatch):
    optimizer, parameter = optimizers(monkeypatch)
    for z in torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4)):
        theta = parameter + optimizer.deviation(parameter, z)
        optimizer.zero_grad()
        (-50 * theta.square().sum()).backward()
        optimizer.step()
    assert (optimizer.state[parameter]["hessian"] + DELTA > 0).all()


def test_a_restored_optimizer_goes_on_to_the_bit(monkeypatch):
    draws = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    whole, parameter = optimizers(monkeypatch)
    for z in draws[:2]:
        take_step(whole, parameter, z)
    resumed, copy = optimizers(monkeypatch)
    copy.data.copy_(parameter.detach())
    resumed.load_state_dict(whole.state_dict())
    for z in draws[2:]:
        take_step(whole, parameter, z)
        take_step(resumed, copy, z)
    assert torch.equal(parameter, copy)


def test_other_groups_are_adamws(monkeypatch):
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(3)), nn.Parameter(torch.zeros(3))
    theirs.data.copy_(ours.data)
    _, drawn = optimizers(monkeypatch)
    mixed = IVON(
        [
            {"params": [drawn], "drawn": True, "weight_decay": DELTA},
            {"params": [ours], "weight_decay": 0.2, "lr": 0.01},
        ],
        ess=ESS,
        hess_init=START,
        lr=LR,
    )
    plain = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.2)
    for step in range(3):
        mixed.deviation(drawn, torch.randn(4, dtype=torch.float64))
        for parameter in (ours, theirs):
            parameter.grad = torch.full((3,), float(step - 1))
        drawn.grad = torch.ones(4, dtype=torch.float64)
        mixed.step()
        plain.step()
    assert torch.equal(ours, theirs)


def test_a_step_without_a_draw_is_an_error(monkeypatch):
    optimizer, parameter = optimizers(monkeypatch)
    parameter.grad = torch.ones_like(parameter)
    with pytest.raises(RuntimeError, match="drawn nothing"):
        optimizer.step()
