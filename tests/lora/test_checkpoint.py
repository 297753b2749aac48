"""Saving and loading of adapters, also by PEFT."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertForSequenceClassification

from lowland import LoRAConfig, add_lora, load_adapter, merge_lora, save_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora import find_head, lora_layers
from lowland.lora.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from lowland.lora.inject import config_of
from tests.conftest import bert_config
from tests.lora.conftest import answers, assert_untouched, fill_adapters, learned, state_of

pytestmark = [  # warnings of peft
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Could not find a config file:UserWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]

Build = Callable[[str], Any]
CLASSIFIERS = ("bert", "roberta", "distilbert", "gpt2 for texts", "llama for texts", "t5 for texts")
LANGUAGE = ("gpt2", "llama", "t5", "bart", "bert for words")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rsLoRA": {"rslora": True},
    "dropout": {"dropout": 0.1},
    "patterns": {"rank_pattern": {r".*\.1\..*": 2, "0": 7}, "alpha_pattern": {r".*\.0\..*": 3.5}},
}
TASKS = {"gpt2": "CAUSAL_LM", "llama": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM", "bart": "SEQ_2_SEQ_LM"}


def head_of(name: str, model: nn.Module) -> tuple[str, ...]:
    return find_head(model) if name in CLASSIFIERS else ()


def peft_reads(base: nn.Module, folder: Path) -> nn.Module:
    return peft.PeftModel.from_pretrained(copy.deepcopy(base), str(folder)).eval()


def peft_writes(base: nn.Module, folder: Path, **options: Any) -> nn.Module:
    """Save a model that PEFT adapted, with nonzero adapters, and return it."""
    config = peft.LoraConfig(**{"r": 4, "lora_alpha": 6, **options})
    model = fill_adapters(peft.get_peft_model(copy.deepcopy(base), config)).eval()
    model.save_pretrained(str(folder))
    return model


def assert_near(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *LANGUAGE])
def test_peft_reads_our_checkpoints(build: Build, tokens: torch.Tensor, tmp_path: Path, name: str) -> None:
    base = build(name)
    model = learned(base, head_of(name, base))
    folder = save_adapter(model, tmp_path / "adapter", base_model="tiny")
    logits = answers(model, tokens)
    assert (logits - answers(base, tokens)).abs().max() > 1e-3
    assert_near(answers(peft_reads(base, folder), tokens), logits)
    assert torch.equal(answers(load_adapter(copy.deepcopy(base), folder), tokens), logits)
    config = json.loads((folder / CONFIG_FILE).read_text())
    expected = "SEQ_CLS" if name in CLASSIFIERS else TASKS.get(name)
    assert config["task_type"] == expected
    assert config["base_model_name_or_path"] == "tiny"


@pytest.mark.parametrize("name", [*CLASSIFIERS, *LANGUAGE])
def test_we_read_pefts_checkpoints(build: Build, tokens: torch.Tensor, tmp_path: Path, name: str) -> None:
    base = build(name)
    task = "SEQ_CLS" if name in CLASSIFIERS else TASKS.get(name)
    targets = (
        "all-linear" if name not in ("distilbert", "bert for words") else ["lin1", "lin2", "query", "dense"]
    )
    options: dict[str, Any] = {"target_modules": targets, "task_type": task}
    if name == "t5 for texts":
        options |= {"modules_to_save": ["classification_head"], "target_modules": ["q", "v", "wo"]}
    if name == "bert for words":
        options["exclude_modules"] = r"cls\..*"
    theirs = peft_writes(base, tmp_path / "adapter", **options)
    logits = answers(theirs, tokens)
    assert (logits - answers(base, tokens)).abs().max() > 1e-3
    model = load_adapter(copy.deepcopy(base), tmp_path / "adapter")
    assert_near(answers(model, tokens), logits)
    assert_near(
        answers(load_adapter(copy.deepcopy(base), save_adapter(model, tmp_path / "again")), tokens), logits
    )


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_options_are_exchanged_with_peft_both_ways(
    build: Build, tokens: torch.Tensor, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    base = build(name)
    if "rank_pattern" in options:
        options = {**options, "rank_pattern": {r".*\.1\..*": 2, r".*\.0\..*": 7}}
    model = learned(base, head_of(name, base), **options)
    folder = save_adapter(model, tmp_path / "ours")
    assert_near(answers(peft_reads(base, folder), tokens), answers(model, tokens))
    assert torch.equal(answers(load_adapter(copy.deepcopy(base), folder), tokens), answers(model, tokens))
    peft_names = {"rslora": "use_rslora", "dropout": "lora_dropout"}
    theirs = {peft_names.get(key, key): value for key, value in options.items()}
    other = peft_writes(base, tmp_path / "theirs", target_modules="all-linear", task_type=None, **theirs)
    loaded = load_adapter(copy.deepcopy(base), tmp_path / "theirs")
    if name == "bert":  # without a task PEFT takes the classifier for any linear layer
        assert "classifier" in dict(lora_layers(loaded))
    assert_near(answers(loaded, tokens), answers(other, tokens))
    assert config_of(loaded).dropout == options.get("dropout", 0)


FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "endings": ("bert", {"target_modules": ["query", "self.value"]}),
    "a regular expression": ("bert", {"target_modules": r".*layer\.1\..*(key|dense)"}),
    "what PEFT takes by itself": ("bert", {}),
    "some layers": ("bert", {"target_modules": ["query"], "layers_to_transform": [1]}),
    "one layer": ("bert", {"target_modules": ["query", "pooler.dense"], "layers_to_transform": 0}),
    "layers of a pattern": (
        "t5",
        {"target_modules": ["q"], "layers_to_transform": [1], "layers_pattern": "block"},
    ),
    "layers of patterns": (
        "t5",
        {"target_modules": ["q"], "layers_to_transform": [0], "layers_pattern": ["layers", "block"]},
    ),
    "exclusions": ("bert", {"target_modules": ["dense"], "exclude_modules": ["output.dense"]}),
    "an exclusion": ("bert", {"target_modules": ["dense"], "exclude_modules": r".*pooler.*"}),
    "a pattern for no layer": ("bert", {"target_modules": ["query"], "alpha_pattern": {"^nothing": 3}}),
    "another start": ("bert", {"target_modules": ["query"], "init_lora_weights": "gaussian"}),
    "a head by its ending": ("distilbert", {"target_modules": ["q_lin"], "modules_to_save": ["classifier"]}),
    "an embedding": ("bert", {"target_modules": ["word_embeddings", "query"]}),
    "the embedding of a Llama": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "scaled embeddings": ("bart", {"target_modules": ["q_proj"], "exclude_modules": ["lm_head"]}),
}


@pytest.mark.filterwarnings("ignore:The following alpha_pattern keys did not match:RuntimeWarning")
@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_peft_s_config_are_read(
    build: Build, tokens: torch.Tensor, tmp_path: Path, field: str
) -> None:
    name, options = FIELDS[field]
    base = build(name)
    theirs = peft_writes(base, tmp_path / "adapter", **options)
    model = load_adapter(copy.deepcopy(base), tmp_path / "adapter")
    assert_near(answers(model, tokens), answers(theirs, tokens))
    assert [name for name, _ in lora_layers(model)] == theirs.base_model.targeted_module_names
    assert_near(
        answers(peft_reads(base, save_adapter(model, tmp_path / "ours")), tokens), answers(theirs, tokens)
    )


def test_embeddings_are_exchanged_with_peft_both_ways(
    build: Build, tokens: torch.Tensor, tmp_path: Path
) -> None:
    base = build("llama")
    model = learned(base, targets=["embed_tokens", "q_proj"])
    folder = save_adapter(model, tmp_path / "ours")
    names = {name.rsplit(".", 1)[-1] for name in load_file(folder / WEIGHTS_FILE) if "embed" in name}
    assert names == {"lora_embedding_A", "lora_embedding_B"}
    assert_near(answers(peft_reads(base, folder), tokens), answers(model, tokens))
    peft_writes(base, tmp_path / "theirs", target_modules=["embed_tokens"])
    assert any("base_layer" in name for name in load_file(tmp_path / "theirs" / WEIGHTS_FILE))
    with torch.no_grad():
        base.model.embed_tokens.weight[3, 3] += 1
    refused(
        base, tmp_path / "theirs", "it differs from the model's in 1 of 64 rows, the first of which is row 3"
    )


class Nested(nn.Module):
    """Model in which the name of one layer is the end of that of another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(4, 4), nn.ModuleDict({"first": nn.Linear(4, 4)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner["first"](self.first(x).tanh())


@pytest.mark.parametrize("targets", ["first", r"inner\.first"])
def test_peft_adapts_exactly_our_layers(tmp_path: Path, targets: str) -> None:
    base, x = Nested(), torch.randn(3, 4)
    model = fill_adapters(add_lora(copy.deepcopy(base), LoRAConfig(r=2, targets=f"^{targets}")))
    folder = save_adapter(model, tmp_path / "adapter")
    theirs = peft_reads(base, folder)
    assert theirs.base_model.targeted_module_names == [name for name, _ in lora_layers(model)]
    assert_near(theirs(x), model(x))
    assert torch.equal(load_adapter(copy.deepcopy(base), folder)(x), model(x))


def test_conv1d_beside_linear_layers(tmp_path: Path) -> None:
    from transformers.pytorch_utils import Conv1D

    base, x = nn.Sequential(nn.Linear(4, 6), Conv1D(5, 6), nn.Linear(5, 3)), torch.randn(2, 4)
    model = fill_adapters(add_lora(copy.deepcopy(base), LoRAConfig(r=2)))
    folder = save_adapter(model, tmp_path / "adapter")
    assert_near(peft_reads(base, folder)(x), model(x))
    merged = peft_reads(base, folder).merge_and_unload()
    assert_near(merged(x), merge_lora(copy.deepcopy(model))(x))


def test_the_name_of_the_base_is_in_its_config_or_an_argument(build: Build, tmp_path: Path) -> None:
    model = learned(build("bert"))
    model.config._name_or_path = "someone/bert"
    for base_model, name in ((None, "someone/bert"), ("tiny", "tiny")):
        folder = save_adapter(model, tmp_path / name, base_model=base_model)
        assert json.loads((folder / CONFIG_FILE).read_text())["base_model_name_or_path"] == name


@pytest.mark.parametrize("head", [(), ("classifier",)])
def test_the_task_type_is_written_if_the_head_is_saved(
    build: Build, tmp_path: Path, head: tuple[str]
) -> None:
    folder = save_adapter(learned(build("bert"), head), tmp_path / "adapter")
    config = json.loads((folder / CONFIG_FILE).read_text())
    assert (config["task_type"], config["modules_to_save"]) == (
        ("SEQ_CLS", ["classifier"]) if head else (None, None)
    )
    peft_reads(build("bert"), folder)


def test_a_trained_tied_embedding_is_saved_and_loaded(
    build: Build, tokens: torch.Tensor, tmp_path: Path
) -> None:
    base = build("gpt2")
    model = learned(base, ("wte", "lm_head"))
    folder = save_adapter(model, tmp_path / "adapter")
    assert torch.equal(answers(load_adapter(copy.deepcopy(base), folder), tokens), answers(model, tokens))
    assert_near(answers(peft_reads(base, folder), tokens), answers(model, tokens))
    saved = load_file(folder / WEIGHTS_FILE)
    saved["base_model.model.lm_head.weight"][3, 3] += 1
    save_file(saved, folder / WEIGHTS_FILE)
    loaded = load_adapter(copy.deepcopy(base), folder)
    assert not loaded.config.tie_word_embeddings
    expected = answers(peft_reads(base, folder), tokens)
    torch.testing.assert_close(answers(loaded, tokens), expected, rtol=1e-5, atol=1e-5)
    assert (answers(loaded, tokens) - answers(model, tokens)).abs().max() > 1e-3


def test_two_values_of_a_tensor_with_many_names_are_refused(build: Build, tmp_path: Path) -> None:
    base = build("t5")
    whole = ("shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head")
    folder = save_adapter(learned(base, whole), tmp_path / "adapter")
    change_tensors(folder, lambda t: t["base_model.model.lm_head.weight"].add_(1))
    refused(
        base,
        folder,
        "holds two values for shared.weight and lm_head.weight, which are one tensor in the model",
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("base_dtype", [torch.bfloat16, torch.float32])
def test_adapters_are_float32_and_trainable(
    build: Build, tmp_path: Path, dtype: torch.dtype, base_dtype: torch.dtype
) -> None:
    folder = save_adapter(learned(build("bert"), ("classifier",)), tmp_path / "adapter")
    saved = {name: tensor.to(dtype) for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    save_file(saved, folder / WEIGHTS_FILE)
    model = load_adapter(build("bert").to(base_dtype), folder)
    for name, layer in lora_layers(model):
        assert layer.lora_A.dtype == layer.lora_B.dtype == torch.float32
        assert torch.equal(layer.lora_A, saved[f"base_model.model.{name}.lora_A.weight"].float())
    fresh = add_lora(build("bert"), LoRAConfig(r=4, modules_to_save=("classifier",)))
    trained = [
        {name for name, parameter in each.named_parameters() if parameter.requires_grad}
        for each in (model, fresh)
    ]
    assert trained[0] == trained[1]


def test_a_compiled_model_is_saved_under_the_names_of_the_original(build: Build, tmp_path: Path) -> None:
    model = learned(build("bert"))
    folder = save_adapter(torch.compile(model, backend="eager"), tmp_path / "adapter")
    load_adapter(build("bert"), folder)


def test_a_folder_that_is_not_empty_is_refused(build: Build, tmp_path: Path) -> None:
    model, place = learned(build("bert")), tmp_path / "adapter"
    place.mkdir()
    save_adapter(model, place)  # empty, which is allowed
    assert sorted(path.name for path in place.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    before = state_of(model)
    with pytest.raises(
        Mistake, match=r"is not empty; name a new folder, or call save_adapter\(…, overwrite=True"
    ):
        save_adapter(model, place)
    assert_untouched(model, before)
    (place / "notes.txt").write_text("mine")
    fill_adapters(model)
    model.classifier.weight.data.zero_()
    save_adapter(learned(build("bert"), r=2), place, overwrite=True)
    assert (place / "notes.txt").read_text() == "mine"
    assert next(iter(lora_layers(load_adapter(build("bert"), place))))[1].r == 2
    with pytest.raises(Mistake, match="is a file; name a folder"):
        save_adapter(model, place / "notes.txt")
    with pytest.raises(Mistake, match="no LoRA layers to save"):
        save_adapter(build("bert"), tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_write_leaves_no_partial_folder(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    model, place = learned(build("bert")), tmp_path / "adapter"
    if overwrite:
        save_adapter(learned(build("bert"), r=2), place)

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("lowland.lora.checkpoint.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_adapter(model, place, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == (["adapter"] if overwrite else [])
    if overwrite:
        assert next(iter(lora_layers(load_adapter(build("bert"), place))))[1].r == 2


def test_an_interrupted_overwrite_leaves_nothing_that_can_be_loaded(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, move = save_adapter(learned(build("bert")), tmp_path / "adapter"), Path.replace

    def cut(self: Path, target: Path) -> Path:
        if self.name == CONFIG_FILE:
            raise KeyboardInterrupt
        return move(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        save_adapter(learned(build("bert"), alpha=1), place, overwrite=True)
    refused(build("bert"), place, "holds no adapter_config.json")


def refused(model: nn.Module, folder: Path, message: str) -> Mistake:
    """Check that loading is refused with this message and leaves the model unchanged."""
    before = state_of(model)
    with pytest.raises(Mistake) as caught:
        load_adapter(model, folder)
    assert_untouched(model, before)
    assert message in str(caught.value)
    return caught.value


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    saved = load_file(folder / WEIGHTS_FILE)
    change(saved)
    save_file(saved, folder / WEIGHTS_FILE)


QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"
FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (
        lambda f: (f / WEIGHTS_FILE).write_bytes((f / WEIGHTS_FILE).read_bytes()[:-100]),
        "is damaged",
    ),
    "no header": (lambda f: (f / WEIGHTS_FILE).write_bytes(b"\xff" * 200), "is damaged"),
    "empty": (lambda f: (f / WEIGHTS_FILE).write_bytes(b""), "is damaged"),
    "gone": (lambda f: (f / WEIGHTS_FILE).unlink(), "holds no adapter_model.safetensors"),
    "a pickle": (
        lambda f: (f / WEIGHTS_FILE).rename(f / "adapter_model.bin"),
        "adapter_model.bin is a pickle file, which is not read: save the adapter again with",
    ),
    "no config": (lambda f: (f / CONFIG_FILE).unlink(), "holds no adapter_config.json"),
    "a list": (lambda f: (f / CONFIG_FILE).write_text("[]"), "is damaged (it is not a JSON object)"),
    "no JSON": (lambda f: (f / CONFIG_FILE).write_text('{"r": '), "is damaged"),
    "not even text": (lambda f: (f / CONFIG_FILE).write_bytes(b"\xff\xfe\x00"), "is damaged"),
}
TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "lacks one": (
        lambda t: t.pop(QUERY),
        "lacks tensors that its config and the model require: bert.encoder.layer.0.attention.self.query.lora_A.weight",
    ),
    "lacks many": (lambda t: [t.pop(name) for name in list(t) if "lora_B" in name], " and 3 more"),
    "holds another": (
        lambda t: t.update({QUERY.replace("query", "quarry"): torch.zeros(4, 16)}),
        "holds tensors that have no place in the model: bert.encoder.layer.0.attention.self.quarry.lora_A.weight",
    ),
    "no head": (lambda t: t.pop("base_model.model.classifier.bias"), "require: classifier.bias"),
    "another shape": (
        lambda t: t.update({QUERY: torch.zeros(16, 4)}),
        "query.lora_A.weight is (16, 4) in the file, and (4, 16) by its config and the model",
    ),
    "whole numbers": (
        lambda t: t.update({QUERY: torch.zeros(4, 16, dtype=torch.int8)}),
        "should be floating-point numbers, not torch.int8",
    ),
    "a head in whole numbers": (
        lambda t: t.update({"base_model.model.classifier.bias": torch.zeros(3, dtype=torch.int64)}),
        "classifier.bias is of another type than the model's",
    ),
    "NaN": (lambda t: t[QUERY].view(-1)[5:6].fill_(torch.nan), "has NaN or infinity in bert.encoder.layer.0"),
    "infinity": (
        lambda t: t["base_model.model.classifier.weight"][0].fill_(torch.inf),
        "in classifier.weight",
    ),
    "another tool's": (
        lambda t: [t.update({f"lora_unet.{i}.alpha": t.pop(name)}) for i, name in enumerate(list(t))],
        "holds no A and B of any layer; only PEFT's LoRA can be loaded",
    ),
}
CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "another rank": (
        {"r": 3},
        "is (4, 16) in the file, and (3, 16) by its config and the model (25 more differ)",
    ),
    "a rank for no layer": ({"r": 400}, "and (400, 16) by its config and the model (25 more differ)"),
    "no rank": ({"r": None}, "adapter_config.json is damaged (r missing)"),
    "a rank in words": ({"r": "four"}, "adapter_config.json cannot be used: r is 'four'"),
    "alpha in words": ({"lora_alpha": "one"}, "adapter_config.json cannot be used: alpha is the text 'one'"),
    "dropout of 2": ({"lora_dropout": 2}, "adapter_config.json cannot be used: dropout is 2"),
    "targets of another kind": ({"target_modules": 5}, "adapter_config.json is damaged"),
    "targets that are no pattern": ({"target_modules": "("}, "adapter_config.json is damaged"),
    "fewer layers": ({"target_modules": ["query"]}, "have no place in the model"),
    "more layers": (
        {"target_modules": r"bert\..*(query|key|value|dense|word_embeddings)"},
        "lora_embedding_A",
    ),
    "layers that are not there": (
        {"target_modules": ["q_proj"]},
        "selects no layer of BertForSequenceClassification, and adapter_model.safetensors holds A and B of bert.enc",
    ),
    "no peft_type": ({"peft_type": ...}, "has no peft_type; adapters with peft_type LORA can be loaded"),
    "IA3": ({"peft_type": "IA3"}, "holds an adapter of kind IA3; LoRA and rsLoRA can be loaded"),
    "DoRA": (
        {"use_dora": True},
        "holds an adapter with use_dora = true; plain LoRA and rsLoRA can be loaded",
    ),
    "PiSSA": ({"init_lora_weights": "pissa"}, 'init_lora_weights = "pissa", with which PEFT subtracts'),
    "fast PiSSA": ({"init_lora_weights": "pissa_niter_4"}, 'init_lora_weights = "pissa_niter_4", with which'),
    "OLoRA": ({"init_lora_weights": "OLoRA"}, 'init_lora_weights = "OLoRA", with which PEFT subtracts'),
    "CorDA": ({"init_lora_weights": "corda", "corda_config": {}}, "path_initial_model_for_weight_conversion"),
    "LoftQ": (
        {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}},
        'init_lora_weights = "loftq", with which PEFT quantises the base\'s weights',
    ),
    "an unknown initialisation": (
        {"init_lora_weights": "zen"},
        'init_lora_weights = "zen"; lowland was not tested with this value. It reads adapters with true, false,',
    ),
    "biases": ({"bias": "lora_only"}, 'bias = "lora_only"'),
    "a bias of its own": ({"lora_bias": True}, "lora_bias = true"),
    "parameters": ({"target_parameters": ["a.b"]}, "target_parameters"),
    "tokens": (
        {"trainable_token_indices": [1, 2]},
        "trainable_token_indices = [1, 2] in its config, and holds no trained rows",
    ),
    "doubled layers": ({"layer_replication": [[0, 2]]}, "layer_replication"),
    "activated LoRA": ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    "QA-LoRA": ({"use_qalora": True}, "use_qalora = true"),
    "tied adapters": ({"ensure_weight_tying": True}, "ensure_weight_tying = true"),
    "what is yet to come": ({"use_next_year": {"strength": 2}}, "use_next_year"),
}


@pytest.fixture
def folder(build: Build, tmp_path: Path) -> Path:
    return save_adapter(learned(build("bert"), ("classifier",)), tmp_path / "adapter")


@pytest.mark.parametrize("case", FILES)
def test_a_damaged_file_is_refused(bert: nn.Module, folder: Path, case: str) -> None:
    damage, message = FILES[case]
    damage(folder)
    assert len(refused(bert, folder, message).problems) == 1


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_fit_are_refused(bert: nn.Module, folder: Path, case: str) -> None:
    change, message = TENSORS[case]
    change_tensors(folder, change)
    assert len(refused(bert, folder, message).problems) == 1


@pytest.mark.parametrize("case", CONFIGS)
def test_configs_that_are_not_supported_are_refused(bert: nn.Module, folder: Path, case: str) -> None:
    changes, message = CONFIGS[case]
    fields = {**json.loads((folder / CONFIG_FILE).read_text()), **changes}
    fields = {key: value for key, value in fields.items() if value is not ...}
    (folder / CONFIG_FILE).write_text(json.dumps(fields))
    assert len(refused(bert, folder, message).problems) == 1


def test_every_field_of_peft_s_config_is_accepted_at_its_default(bert: nn.Module, folder: Path) -> None:
    written = json.loads((folder / CONFIG_FILE).read_text())
    defaults = peft.LoraConfig(target_modules=["query"]).to_dict()
    defaults |= {key: list(value) for key, value in defaults.items() if isinstance(value, set)}
    (folder / CONFIG_FILE).write_text(json.dumps({**defaults, **written}))
    load_adapter(bert, folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gpt2",
            "adapts bert.encoder.layer.0.attention.output.dense, and GPT2LMHeadModel has no layer of that",
        ),
        ("llama", "and LlamaForCausalLM has no layer of that name; load it into a model of the architecture"),
        ("bert for tokens", "have no place in the model: bert.pooler.dense.lora_A.weight"),
    ],
)
def test_an_adapter_for_another_architecture(build: Build, folder: Path, name: str, message: str) -> None:
    refused(build(name), folder, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 20}, "has tensors of another size than required: bert.encoder"),
        (
            {"num_labels": 5},
            "classifier.weight is (3, 16) in the file, and (5, 16) by its config and the model (1 more",
        ),
        ({"num_hidden_layers": 1}, "have no place in the model: bert.encoder.layer.1."),
        ({"num_hidden_layers": 3}, "have no place in the model"),
    ],
)
def test_an_adapter_for_another_size(folder: Path, changes: dict[str, int], message: str) -> None:
    model = BertForSequenceClassification(bert_config(**{"num_labels": 3, **changes}))
    if changes == {"num_hidden_layers": 3}:  # its own names say which layers are meant
        load_adapter(model, folder)
        return
    assert len(refused(model, folder, message).problems) == 1


def test_a_model_that_has_adapters_is_refused(bert: nn.Module, folder: Path) -> None:
    refused(load_adapter(bert, folder), folder, "has LoRA layers already; call remove_lora(model) first")


def test_a_merged_model_saves_the_same_adapter(bert: nn.Module, folder: Path, tmp_path: Path) -> None:
    saved = save_adapter(merge_lora(load_adapter(bert, folder)), tmp_path / "again")
    first, second = (load_file(each / WEIGHTS_FILE) for each in (folder, saved))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
