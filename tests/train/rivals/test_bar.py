"""BAR against algorithm 2 of the paper, written out."""

import torch

from lowland.train.rivals.bar import BAR, balance


def factors(larger: str):
    """Return A, B and their gradients in float64; the gradient of `larger` is the larger one."""
    torch.manual_seed(0)
    a, b, grad_a, grad_b = (
        torch.randn(shape, dtype=torch.float64) for shape in ((2, 5), (4, 2), (2, 5), (4, 2))
    )
    scale = 100.0
    return (a, b, grad_a, grad_b * scale) if larger == "B" else (a, b, grad_a * scale, grad_b)


def test_the_factor_with_the_larger_gradient_grows_and_the_other_shrinks():
    for larger, (of_a, of_b) in {"B": (0.9, 1.1), "A": (1.1, 0.9)}.items():
        a, b, grad_a, grad_b = factors(larger)
        a0, b0 = a.clone(), b.clone()
        balance(a, b, grad_a, grad_b, 0.1)
        torch.testing.assert_close(a, of_a * a0)
        torch.testing.assert_close(b, of_b * b0)


def test_the_step_descends_the_papers_regulariser():
    """With ‖∇A‖ > ‖∇B‖ the objective gets α/2 (‖B‖² - ‖A‖²): a step along its gradient by autograd is the same."""
    a, b, grad_a, grad_b = factors("A")
    x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
    (0.3 / 2 * (y.square().sum() - x.square().sum())).backward()
    balance(a, b, grad_a, grad_b, 0.3 * 0.01)
    torch.testing.assert_close(a, (x - 0.01 * x.grad).detach())
    torch.testing.assert_close(b, (y - 0.01 * y.grad).detach())


def test_the_strength_falls_linearly_to_zero():
    assert [BAR(0.5).strength(step, 4) for step in range(5)] == [0.5, 0.375, 0.25, 0.125, 0.0]
