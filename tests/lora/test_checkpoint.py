"""Adapters to disk and back, and into the real peft."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import peft
import pytest
import torch
from torch import nn

from lowland import LoRAConfig, add_lora, load_adapter, save_adapter
from lowland.lora import lora_layers
from lowland.mistakes import Mistake


@pytest.fixture(params=["bert", "gpt2"])
def base(request: pytest.FixtureRequest) -> nn.Module:
    return request.getfixturevalue(request.param)


def learned(base: nn.Module, **options: object) -> nn.Module:
    """A copy with adapters, and perhaps a head, that say something."""
    head = ("classifier",) if hasattr(base, "classifier") else ()
    model = add_lora(copy.deepcopy(base), LoRAConfig(r=4, alpha=6, modules_to_save=head, **options), seed=9)
    generator = torch.Generator().manual_seed(5)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.3, generator=generator)
    if head:
        nn.init.normal_(model.classifier.weight, generator=generator)
    return model


def test_round_trip(base: nn.Module, tokens: torch.Tensor, tmp_path: Path) -> None:
    model = learned(base)
    again = load_adapter(copy.deepcopy(base), save_adapter(model, tmp_path / "adapter"))
    assert torch.equal(again(tokens).logits, model(tokens).logits)
    assert not torch.equal(again(tokens).logits, base(tokens).logits)


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # peft calls what is deprecated
@pytest.mark.parametrize("rslora", [False, True])
def test_peft_reads_it(base: nn.Module, tokens: torch.Tensor, tmp_path: Path, rslora: bool) -> None:
    model = learned(base, rslora=rslora)
    folder = save_adapter(model, tmp_path / "adapter", base_model="tiny")
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), str(folder)).eval()
    torch.testing.assert_close(theirs(tokens).logits, model(tokens).logits, rtol=0, atol=1e-6)


def damaged(folder: Path, how: str) -> None:
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "gone":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "a list":
        config.write_text("[]")
    elif how == "no rank":
        config.write_text('{"peft_type": "LORA"}')
    else:
        given = json.loads(config.read_text())
        changes = {"another rank": {"r": 3}, "dora": {"use_dora": True}, "ia3": {"peft_type": "IA3"}}
        fewer = {"target_modules": given["target_modules"][:1]}
        config.write_text(json.dumps({**given, **changes.get(how, fewer)}))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", "is damaged"),
        ("gone", "holds no adapter_model.safetensors"),
        ("no config", "holds no adapter_config.json"),
        ("a list", "is damaged"),
        ("no rank", "is damaged"),
        ("another rank", "the model's is"),
        ("dora", "use_dora"),
        ("ia3", "IA3"),
        ("fewer layers", "which the model has not"),
    ],
)
def test_a_bad_file_is_refused_and_the_model_stays(
    bert: nn.Module, tmp_path: Path, how: str, words: str
) -> None:
    folder = save_adapter(learned(bert), tmp_path / "adapter")
    damaged(folder, how)
    before = {name: one.clone() for name, one in bert.state_dict().items()}
    with pytest.raises(Mistake, match=words):
        load_adapter(bert, folder)
    assert list(bert.state_dict()) == list(before)
    assert all(torch.equal(before[name], one) for name, one in bert.state_dict().items())
    assert all(one.requires_grad for one in bert.parameters())


def test_an_adapter_of_another_width_lists_what_does_not_fit(bert: nn.Module, tmp_path: Path) -> None:
    from tests.conftest import bert_config

    folder = save_adapter(learned(bert), tmp_path / "adapter")
    wider = type(bert)(bert_config(hidden_size=20, num_labels=3))
    with pytest.raises(Mistake) as caught:
        load_adapter(wider, folder)
    assert len(caught.value.problems) > 10
