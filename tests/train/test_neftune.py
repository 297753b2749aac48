"""NEFTune: the size of its noise, where it is added, and what stays unchanged."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import T5Config, T5ForSequenceClassification
from transformers.integrations.neftune import activate_neftune

from lowland import LoRAConfig, add_lora
from lowland.ground.rng import stream_seed
from lowland.lora.embedding import LoRAEmbedding
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from lowland.train.fit import fit
from lowland.train.neftune import NEFTune, input_embeddings
from tests.invariants.test_paired import same, watched
from tests.train.runs import adapt, run, small_job
from tests.train.test_fit import Look

EMBEDDING = ("query", "word_embeddings")


def armed(model: nn.Module, alpha: float = 5.0, seed: int = 1, step: int = 0) -> NEFTune:
    """A model during an optimizer step."""
    noise = NEFTune(alpha, seed)
    noise.on_train_begin(None, None, None, model=model)
    noise.on_step_begin(None, SimpleNamespace(global_step=step), None)
    return noise


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


@pytest.fixture
def table() -> nn.Module:
    """A model that is only an embedding, 24 wide."""
    layer = nn.Embedding(50, 24)
    layer.get_input_embeddings = lambda: layer
    return layer


def test_the_noise_is_uniform_within_alpha_over_the_root_of_tokens_times_width(table: nn.Module) -> None:
    tokens = torch.randint(0, 50, (64, 32), generator=torch.Generator().manual_seed(0))
    plain = table(tokens)
    armed(table, alpha=7.0)
    noise = (table(tokens) - plain).detach()
    bound = 7.0 / math.sqrt(32 * 24)
    assert noise.abs().max() <= bound + 1e-6
    counts = torch.histc(noise, bins=10, min=-bound, max=bound) / noise.numel()
    assert torch.allclose(counts, torch.full((10,), 0.1), atol=0.006)  # 49152 draws; four standard errors
    short = table(tokens[:, :8]) - plain[:, :8]
    assert short.abs().max() > 1.9 * bound  # a quarter of the tokens, twice the noise


def test_it_is_as_large_as_that_of_transformers(table: nn.Module) -> None:
    tokens = torch.zeros(64, 32, dtype=torch.long)
    plain, ours = table(tokens), armed(table)
    mine = (table(tokens) - plain).std()
    ours.remove()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        activate_neftune(table, 5.0)
        theirs = (table(tokens) - plain).std()
    assert mine.item() == pytest.approx(theirs.item(), rel=0.02)


def test_a_draw_is_a_function_of_seed_step_and_how_many_there_were(table: nn.Module) -> None:
    tokens = torch.zeros(2, 3, dtype=torch.long)
    plain, size = table(tokens), 5.0 / math.sqrt(3 * 24)
    armed(table, seed=4, step=9)
    for draw in range(2):
        generator = torch.Generator().manual_seed(stream_seed(4, "neftune", 9, draw))
        expected = plain + torch.empty(2, 3, 24).uniform_(-size, size, generator=generator)
        assert torch.equal(table(tokens), expected)


def test_the_global_generator_is_left_alone(table: nn.Module) -> None:
    before = torch.random.get_rng_state()
    armed(table)
    table(torch.zeros(2, 3, dtype=torch.long))
    assert torch.equal(before, torch.random.get_rng_state())


def test_in_bf16_the_sum_is_rounded_once(table: nn.Module) -> None:
    tokens = torch.zeros(2, 3, dtype=torch.long)
    table.bfloat16()
    plain = table(tokens)
    armed(table)
    generator, size = torch.Generator().manual_seed(stream_seed(1, "neftune", 0, 0)), 5.0 / math.sqrt(3 * 24)
    expected = plain.float() + torch.empty(2, 3, 24).uniform_(-size, size, generator=generator)
    assert torch.equal(table(tokens), expected.bfloat16())


def adapted(bert: nn.Module, kind: str) -> nn.Module:
    if kind == "embedding":
        return add_lora(bert, LoRAConfig(r=4, targets=EMBEDDING))
    return adapt(kind, bert, seed=42).model


@pytest.mark.parametrize("kind", ["full", "lora", "embedding", "dora", "vera", "ia3"])
def test_a_model_meets_it_once_a_forward_pass_in_training_and_never_in_evaluation(
    bert: nn.Module, tokens: torch.Tensor, kind: str
) -> None:
    for module in bert.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model = adapted(bert, kind).train()
    (layer,) = input_embeddings(model)
    assert isinstance(layer, LoRAEmbedding) == (kind == "embedding")
    plain, before = model(tokens).logits, hooks(model)
    noise = armed(model)
    assert not torch.equal(model(tokens).logits, plain)
    assert noise.draws == 1
    assert torch.equal(model.eval()(tokens).logits, plain)
    assert noise.draws == 1
    noise.on_train_end(None, None, None)
    assert torch.equal(model.train()(tokens).logits, plain)
    assert hooks(model) == before


def test_an_output_layer_that_shares_the_table_gets_none(gpt2: nn.Module) -> None:
    assert gpt2.lm_head.weight is gpt2.transformer.wte.weight
    assert input_embeddings(gpt2) == [gpt2.transformer.wte]


def test_encoder_and_decoder_each_get_it(tokens: torch.Tensor) -> None:
    """In transformers 5 neither calls the layer that `get_input_embeddings` names."""
    sizes = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8, "vocab_size": 64}
    model = T5ForSequenceClassification(T5Config(**sizes, decoder_start_token_id=0, eos_token_id=3)).train()
    tokens[:, -1] = 3
    noise = armed(model)
    model(tokens)
    assert noise.draws == 2


def test_hooks_of_a_stopped_run_are_removed_before_the_next_run(bert: nn.Module) -> None:
    before, noise = hooks(bert), armed(bert)
    noise.on_train_begin(None, None, None, model=bert)  # the last run was interrupted
    assert hooks(bert) == before + 1
    noise.remove()
    assert hooks(bert) == before


def test_noise_is_added_once_per_training_batch_and_leaves_no_hook(
    data: TaskData, source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    real = NEFTune._add_noise

    def watch(noise: NEFTune, layer: nn.Module, inputs: object, out: torch.Tensor) -> torch.Tensor:
        noisy = real(noise, layer, inputs, out)
        seen.append((layer.training, noisy is not out))
        return noisy

    plain, _ = watched(data, source, "lora", epochs=1)
    monkeypatch.setattr(NEFTune, "_add_noise", watch)
    look = Look()
    fit(small_job("neftune+lora", data, source, epochs=1), [look])
    assert set(seen) == {(True, True), (False, False)}
    assert seen.count((True, True)) == len(plain.batches)
    assert not any(embedding._forward_hooks for embedding in input_embeddings(look.model))


@pytest.mark.parametrize("row", ["full", "lora", "dora"])
def test_head_batches_and_masks_are_those_of_the_method_without_it(
    data: TaskData, source: ModelSource, row: str
) -> None:
    changes = {"batch_size": 8, "accumulation": 2, "dropout": 0.1}
    (plain, before), (under, after) = (
        watched(data, source, name, **changes) for name in (row, f"neftune+{row}")
    )
    assert torch.equal(plain.head, under.head)
    assert plain.batches == under.batches
    assert len(plain.masks) > 4
    assert all(torch.equal(a, b) for a, b in zip(plain.masks, under.masks, strict=True))
    assert before.losses != after.losses


def test_tiny_noise_gives_nearly_the_method_without_noise(data: TaskData, source: ModelSource) -> None:
    plain, faint = (
        run("lora", data, source),
        run("neftune+lora", data, source, neftune_alpha=1e-7),
    )
    np.testing.assert_allclose(plain.losses, faint.losses, atol=1e-4)


@pytest.mark.parametrize("method", ["neftune+lora", "neftune+flat-lora"])
def test_a_run_is_reproducible_and_depends_on_alpha_and_seed(
    data: TaskData, source: ModelSource, method: str
) -> None:
    first = run(method, data, source, epochs=1)
    assert same(first, run(method, data, source, epochs=1))
    assert first.losses != run(method, data, source, epochs=1, neftune_alpha=20.0).losses
    row = method.removeprefix("neftune+")
    assert first.losses != run(row, data, source, epochs=1).losses


def test_two_perturbations_draw_from_streams_of_their_own(data: TaskData, source: ModelSource) -> None:
    """With rho 0 there is no Flat-LoRA noise, and NEFTune's is unchanged."""
    alone = run("neftune+lora", data, source, epochs=1)
    assert same(alone, run("neftune+flat-lora", data, source, epochs=1, rho=0.0))


def test_a_checkpoint_that_holds_the_embeddings_is_refused_and_a_reference_pass_is_clean() -> None:
    from torch.utils.checkpoint import checkpoint

    table = nn.Embedding(5, 4)
    callback = NEFTune(alpha=5.0, seed=1)
    table.register_forward_hook(callback._add_noise)
    ids = torch.arange(5)[None]
    with torch.no_grad():
        assert torch.equal(table(ids), table.weight[None])
    assert not torch.equal(table(ids), table.weight[None])
    with pytest.raises(RuntimeError, match="leave them out of the gradient checkpoint"):
        checkpoint(nn.Sequential(table, nn.Linear(4, 2)), ids, use_reentrant=False).sum().backward()
