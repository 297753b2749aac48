"""Scratch memory: one shared block where that is safe, a new tensor elsewhere."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lowland import LoRAConfig, add_lora
from lowland.lora.scratch import scratch


@pytest.fixture(autouse=True)
def without_gradients() -> object:
    with torch.no_grad():
        yield


def weight(*shape: int) -> Tensor:
    return torch.zeros(*shape)


def test_weights_share_one_block_with_their_own_shapes_and_strides() -> None:
    large, small, transposed = scratch(weight(6, 7)), scratch(weight(2, 3)), scratch(weight(5, 4).T)
    assert large.data_ptr() == small.data_ptr() == transposed.data_ptr()
    assert (large.shape, small.stride(), transposed.stride()) == ((6, 7), (3, 1), weight(5, 4).T.stride())
    assert scratch(weight(2, 3), torch.float64).data_ptr() != small.data_ptr()


def test_a_larger_weight_gets_a_larger_block() -> None:
    before = scratch(weight(3, 3)).fill_(1)
    after = scratch(weight(300, 300))
    assert after.numel() == 90_000
    assert scratch(weight(3, 3)).data_ptr() == after.data_ptr()
    assert before.eq(1).all()


def test_where_it_is_not_safe_the_tensor_is_new() -> None:
    block = scratch(weight(4, 4)).data_ptr()
    with torch.enable_grad():
        assert scratch(weight(4, 4)).data_ptr() != block
    assert scratch(weight(8, 8)[::2, ::2]).data_ptr() != block
    assert scratch(torch.empty(4, 4, device="meta")).is_meta
    with FakeTensorMode() as mode:
        assert scratch(mode.from_tensor(weight(4, 4))).fake_mode is mode
    places: list[int] = []
    with_grad_off = torch.no_grad()
    thread = threading.Thread(target=with_grad_off(lambda: places.append(scratch(weight(4, 4)).data_ptr())))
    thread.start()
    thread.join()
    assert places[0] != block


def test_a_model_that_ran_in_inference_mode_can_be_trained() -> None:
    model = add_lora(nn.Sequential(nn.Linear(5, 6)), LoRAConfig(r=2))
    x = torch.randn(64, 5)  # enough tokens for the merged form
    done: list[Tensor] = []

    def both() -> None:
        with torch.inference_mode():
            model(x)
        with torch.enable_grad():
            model(x).sum().backward()
        done.append(model[0].lora_B.grad)

    thread = threading.Thread(target=both)  # a new thread has no scratch memory yet
    thread.start()
    thread.join()
    assert done
    assert done[0].any()
