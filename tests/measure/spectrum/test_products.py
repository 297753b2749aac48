"""Products with the Hessian and the Gauss-Newton matrix are those of dense matrices, and of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hessian_eigenthings import HessianOperator
from hessian_eigenthings.param_utils import match_names
from torch import Tensor, nn
from torch.func import jvp
from torch.nn.functional import cross_entropy

from lowland.ground.progress import no_remark
from lowland.measure.space import ADAPTER
from lowland.measure.spectrum.products import (
    PRODUCTS,
    Product,
    gauss_newton_product,
    hessian_product,
    split_vector,
)
from lowland.measure.subject import load_subject
from lowland.tasks.examples import Batch
from tests.measure.spectrum.spaces import (
    SPACES,
    center,
    classes,
    dense_gauss_newton,
    dense_hessian,
    mean_loss,
)

LogitsOf, LossOf = Callable[[Any], Tensor], Callable[[Tensor, Batch], Tensor]


def class_loss(logits: Tensor, batch: Batch) -> Tensor:
    return cross_entropy(logits.view(-1, 3), batch["labels"], reduction="sum")


def place_loss(logits: Tensor, batch: Batch) -> Tensor:
    start, end = logits.view(2, 3, 7)
    both = [cross_entropy(start, batch["start_positions"]), cross_entropy(end, batch["end_positions"])]
    return 3 * (both[0] + both[1]) / 2


def token_loss(logits: Tensor, batch: Batch) -> Tensor:
    rows = zip(logits.view(2, 7, 24), batch["labels"], strict=True)
    return sum((cross_entropy(row[:-1], labels[1:]) for row, labels in rows), torch.zeros(()))


LOSSES: dict[str, tuple[LogitsOf, LossOf]] = {
    "classes": (lambda outputs: outputs.logits, class_loss),
    "places": (lambda outputs: torch.stack([outputs.start_logits, outputs.end_logits]), place_loss),
    "next_tokens": (lambda outputs: outputs.logits, token_loss),
}


def directions(size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("kind", SPACES)
def test_hessian_product_is_that_of_the_dense_hessian(kind: str) -> None:
    space, batches = SPACES[kind]()
    dense = dense_hessian(space, batches)
    for vector in directions(space.dimension):
        torch.testing.assert_close(hessian_product(space, batches, vector), dense @ vector)


@pytest.mark.parametrize("kind", SPACES)
def test_gauss_newton_product_is_that_of_the_dense_matrix(kind: str) -> None:
    space, batches = SPACES[kind]()
    dense = dense_gauss_newton(space, batches, *LOSSES[kind])
    assert dense.abs().max() > 1e-3
    for vector in directions(space.dimension):
        torch.testing.assert_close(gauss_newton_product(space, batches, vector), dense @ vector)


def test_hessian_product_is_that_of_hessian_eigenthings() -> None:
    space, batches = classes()
    batches = [batches[0]]  # it takes the mean of batches, not of rows
    names = list(space.center)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return model(**batch).loss

    operator = HessianOperator(
        space.model.requires_grad_(True), batches, loss, param_filter=match_names(*names)
    )
    (vector, _) = directions(space.dimension)
    expected = operator.matvec(vector)
    torch.testing.assert_close(hessian_product(space, batches, vector), expected)


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_product_does_not_depend_on_how_rows_are_batched(product: Product) -> None:
    space, batches = classes()
    singles = [
        {name: values[row : row + 1] for name, values in batch.items()}
        for batch in batches
        for row in range(len(batch["labels"]))
    ]
    (vector, _) = directions(space.dimension)
    torch.testing.assert_close(product(space, singles, vector), product(space, batches, vector))


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_adapter_space_has_the_chain_rule_of_both_factors(
    study: dict[str, list[Path]], product: Product
) -> None:
    subject = load_subject(study["lora"][0], no_remark)
    batches = list(subject.sample("train", limit=6, batch_size=3).batches)
    single = subject.space(ADAPTER)
    center_of = {name: weight.double() for name, weight in single.center.items()}
    space = replace(single, model=single.model.double(), center=center_of)
    before = {name: value.clone() for name, value in space.model.state_dict().items()}
    (vector, _) = directions(space.dimension)
    image = product(space, batches, vector)
    if product is hessian_product:
        loss = mean_loss(space, batches)
        torch.testing.assert_close(image, jvp(torch.func.grad(loss), (center(space),), (vector,))[1])
    else:

        def logits(point: Tensor) -> Tensor:
            return torch.cat([space.outputs(split_vector(space, point), batch).logits for batch in batches])

        z, slope = jvp(logits, (center(space),), (vector,))  # (rows, 2), (rows, 2)
        p = z.softmax(1)
        along = (p * slope**2).sum(1) - (p * slope).sum(1) ** 2  # uᵀ·(diag(p) - p·pᵀ)·u
        torch.testing.assert_close(vector @ image, along.mean())
    assert all(torch.equal(value, before[name]) for name, value in space.model.state_dict().items())


def test_weight_without_influence_has_no_curvature() -> None:
    space, batches = SPACES["places"]()
    unused = {"unused": torch.ones(5, dtype=torch.float64), **space.center}
    wider = replace(space, center=unused)
    (vector, _) = directions(wider.dimension)
    for product in PRODUCTS.values():
        image = product(wider, batches, vector)
        assert image[:5].abs().max() == 0
        torch.testing.assert_close(image[5:], product(space, batches, vector[5:]))
