"""The targets "standard" and "extended" on many architectures. Oracles: PEFT's table, and places that say attention."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers as hf
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFTS
from torch import nn

from lowland import LoRAConfig, add_lora, load_adapter, save_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora import lora_layers
from lowland.lora.targets import target_names
from tests.conftest import bert_config
from tests.lora.conftest import BERT, LLAMA, MODELS, SMALL, answers, assert_untouched, learned, state_of

pytestmark = [  # warnings of peft
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Could not find a config file:UserWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning"),
]

PICTURES = {**BERT, "image_size": 8, "patch_size": 4}
GPTS = {"vocab_size": 64, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 4}
MORE: dict[str, Callable[[], nn.Module]] = {
    "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**LLAMA, head_dim=8)),
    "gemma 3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**LLAMA, head_dim=8)),
    "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**PICTURES, num_labels=3)),
    "clip": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**PICTURES)),
    "electra": lambda: hf.ElectraForSequenceClassification(
        hf.ElectraConfig(**BERT, **SMALL, embedding_size=16)
    ),
    "deberta-v2": lambda: hf.DebertaV2ForSequenceClassification(hf.DebertaV2Config(**BERT, **SMALL)),
    "albert": lambda: hf.AlbertForSequenceClassification(
        hf.AlbertConfig(**BERT, vocab_size=64, embedding_size=16)
    ),
    "mpnet": lambda: hf.MPNetForSequenceClassification(hf.MPNetConfig(**BERT, **SMALL)),
    "longformer": lambda: hf.LongformerForSequenceClassification(
        hf.LongformerConfig(**BERT, **SMALL, attention_window=4)
    ),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**BERT, **SMALL)),
    "phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**BERT, **SMALL)),
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**LLAMA)),
    "modernbert": lambda: hf.ModernBertForMaskedLM(hf.ModernBertConfig(**BERT, **SMALL)),
    "bloom": lambda: hf.BloomForCausalLM(hf.BloomConfig(hidden_size=16, n_layer=2, n_head=2, vocab_size=64)),
    "mpt": lambda: hf.MptForCausalLM(hf.MptConfig(d_model=16, n_heads=2, n_layers=2, vocab_size=64)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**LLAMA)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**LLAMA)),
    "opt": lambda: hf.OPTForCausalLM(
        hf.OPTConfig(
            hidden_size=16,
            ffn_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            vocab_size=64,
            word_embed_proj_dim=16,
        )
    ),
    "codegen": lambda: hf.CodeGenForCausalLM(hf.CodeGenConfig(**GPTS, rotary_dim=4)),
    "gpt2 with an encoder": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPTS, add_cross_attention=True)),
    "bert with an encoder": lambda: hf.BertLMHeadModel(
        hf.BertConfig(**BERT, vocab_size=64, is_decoder=True, add_cross_attention=True)
    ),
}
ENDINGS = {
    "llama": ({"q_proj", "v_proj"}, {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "gemma": ({"q_proj", "v_proj"}, {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "gemma 3": ({"q_proj", "v_proj"}, {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "gpt2": ({"c_attn"}, {"c_attn", "attn.c_proj"}),
    "bert": ({"query", "value"}, {"query", "key", "value", "attention.output.dense"}),
    "roberta": ({"query", "value"}, {"query", "key", "value", "attention.output.dense"}),
    "distilbert": ({"q_lin", "v_lin"}, {"q_lin", "k_lin", "v_lin", "out_lin"}),
    "t5": ({"q", "v"}, {"q", "k", "v", "o"}),
    "bart": ({"q_proj", "v_proj"}, {"q_proj", "k_proj", "v_proj", "out_proj"}),
    "vit": ({"q_proj", "v_proj"}, {"q_proj", "k_proj", "v_proj", "o_proj"}),
}
"""What an adapter's file says of the models that the two words were made for."""


@pytest.fixture
def model_of() -> Callable[[str], Any]:
    """Return a function that builds the tiny model of a name, in evaluation mode."""

    def build_model(name: str) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return {**MODELS, **MORE}[name]().eval()

    return build_model


def names_of(model: nn.Module, targets: str | list[str]) -> list[str]:
    return target_names(model, LoRAConfig(r=2, targets=targets))


@pytest.mark.parametrize("name", [*MODELS, *MORE])
def test_extended_is_every_linear_layer_whose_place_says_attention(
    model_of: Callable[[str], Any], name: str
) -> None:
    model = model_of(name)
    standard, extended, every = (
        names_of(model, targets) for targets in ("standard", "extended", "all-linear")
    )
    inside = [layer for layer in every if "att" in layer.lower()]
    assert extended == inside
    assert set(standard) < set(extended) < set(every)
    assert [layer for layer in every if layer in standard] == standard  # in the model's order


UNKNOWN_TO_PEFT = ("distilbert", "vit", "clip", "albert", "mpnet", "longformer", "phi3", "modernbert")


@pytest.mark.parametrize("name", [name for name in (*MODELS, *MORE) if name not in UNKNOWN_TO_PEFT])
def test_standard_is_what_peft_adapts_by_default(model_of: Callable[[str], Any], name: str) -> None:
    """PEFT adds the feed-forward in Phi."""
    model = model_of(name)
    expected = set(PEFTS[model.config.model_type]) - {"fc1", "fc2"}
    every = names_of(model, "all-linear")
    assert names_of(model, "standard") == [layer for layer in every if layer.rpartition(".")[2] in expected]


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("targets", ["standard", "extended"])
def test_the_adapters_file_holds_endings_and_peft_loads_it(
    model_of: Callable[[str], Any], tmp_path: Path, tokens: torch.Tensor, name: str, targets: str
) -> None:
    base = model_of(name)
    model = learned(base, targets=targets)
    with torch.no_grad():
        for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
            parameter.mul_(4)
    save_adapter(model, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == ENDINGS[name][targets == "extended"]
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "adapter").eval()
    ours = load_adapter(copy.deepcopy(base), tmp_path / "adapter").eval()
    adapted = [layer for layer, _ in lora_layers(model)]
    assert [layer for layer, _ in lora_layers(ours)] == adapted
    wrapped = {
        layer.removeprefix("base_model.model.")
        for layer, module in theirs.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    assert wrapped == set(adapted)
    if name == "vit":
        pictures = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            logits = [each(pixel_values=pictures).logits for each in (model.eval(), theirs, ours, base)]
    else:
        logits = [answers(each, tokens) for each in (model.eval(), theirs, ours, base)]
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(logits[2], logits[0], rtol=0, atol=1e-5)
    assert (logits[3] - logits[0]).abs().max() > 1e-4


class Named(nn.Module):
    """Attention layers under the names of several architectures, and layers of the same names elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.text = nn.ModuleDict(
            {name: nn.Linear(4, 4) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
        )
        self.images = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("to_q", "to_k", "to_v")})
        self.images["to_out"] = nn.ModuleList([nn.Linear(4, 4), nn.Dropout(0.1)])
        self.mixer = nn.ModuleDict(
            {name: nn.Linear(4, 4) for name in ("q_proj", "out_proj", "o_proj", "key")}
        )


def test_layers_count_by_their_place_and_several_kinds_together() -> None:
    model = Named()
    assert names_of(model, "standard") == ["text.q_proj", "text.v_proj", "images.to_q", "images.to_v"]
    assert names_of(model, "extended") == [
        *(f"text.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj")),
        *(f"images.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")),
    ]


def test_a_file_does_not_select_a_layer_of_the_same_name_elsewhere(tmp_path: Path) -> None:
    model = add_lora(Named(), LoRAConfig(r=2, targets="standard"))
    save_adapter(model, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == {"text.q_proj", "v_proj", "to_q", "to_v"}


def test_a_set_may_stand_beside_names(bert: nn.Module) -> None:
    together = names_of(bert, ["standard", "pooler.dense"])
    assert together == [*names_of(bert, "standard"), "bert.pooler.dense"]


@pytest.mark.parametrize("targets", ["standard", "extended"])
def test_a_model_without_known_attention_is_told_what_it_has(targets: str) -> None:
    config = hf.MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=64)
    for model, endings in (
        (hf.MambaForCausalLM(config), "dt_proj, in_proj, out_proj, x_proj"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "0, 1"),
    ):
        before = state_of(model)
        message = (
            f"targets is '{targets}', and no attention layer of {type(model).__name__} is known by the names of its"
            f" projections; its linear layers end with {endings}: name some of them, or use all-linear"
        )
        with pytest.raises(Mistake) as caught:
            add_lora(model, LoRAConfig(r=2, targets=targets))
        assert caught.value.problems == (message,)
        assert_untouched(model, before)


def test_a_misspelt_set_is_named() -> None:
    model = hf.BertForMaskedLM(bert_config())
    with pytest.raises(Mistake, match="unknown target module 'standart'; did you mean 'standard'"):
        add_lora(model, LoRAConfig(r=2, targets="standart"))


@pytest.mark.parametrize(
    ("method", "targets", "endings"),
    [
        ("lora", "standard", {"query", "value"}),
        ("lora", "extended", {"query", "key", "value", "attention.output.dense"}),
        ("dora", "standard", {"query", "value"}),
        ("pissa", "standard", {"query", "value"}),
        ("vera", "standard", {"query", "value"}),
    ],
)
def test_methods_on_the_command_line(
    lowland: Callable[..., tuple], tmp_path: Path, method: str, targets: str, endings: set[str]
) -> None:
    code, _, err = lowland("train", "--method", method, "--targets", targets, "--epochs", "1", "--rank", "2")
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob("classification-*")
    record = json.loads((folder / "record.json").read_text())
    assert record["asked"]["method"]["targets"] == [targets]
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    selected = config["target_modules"]
    if method == "lora":
        assert set(selected) == endings
    assert all(name.endswith(tuple(endings)) for name in selected)
    assert lowland("predict", str(folder), "--text", "the firm rises")[0] == 0


def test_a_recipe_and_the_checklist_take_the_words(
    lowland: Callable[..., tuple], tmp_path: Path, tiny_model: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "methods: [{lora: {targets: standard}}, {lora: {targets: [extended], label: more}}]\nseeds: [1]\n"
    )
    code, out, err = lowland("compare", "--config", str(recipe), "--epochs", "1")
    assert code == 0, err
    trained = {
        line.split("|")[1].strip(): int(line.split("|")[5].replace(",", ""))
        for line in out.splitlines()
        if line.startswith(("| lora ", "| more "))
    }
    assert trained["more"] > trained["lora"] > 0
    code, out, err = lowland("check", "--model", str(tiny_model), "--targets", "extended", "--rank", "2")
    assert code == 0, err
