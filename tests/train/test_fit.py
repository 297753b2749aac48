"""One training run on a tiny model: paired, clean, whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing
from transformers import BertModel, T5Config, T5ForSequenceClassification, TrainerCallback

from lowland.ground.mistakes import Mistake
from lowland.ground.recipe import DATA, DEFAULT_MODEL, Recipe
from lowland.ground.spec import RunSpec, run_spec
from lowland.models.find import ModelSource, find_model
from lowland.models.load import load_classifier, load_tokenizer
from lowland.tasks.classification import TextData, score
from lowland.tasks.table import load_task
from lowland.train.fit import Diverged, Trained, check, train
from lowland.train.methods import METHODS, method_named

LRS = {"rslora": 0.006, "lora-plus": 0.001, "dora": 0.02, "vera": 0.1, "ia3": 0.02}
"""Learning rates that suit so small a model; 0.01 for the rest."""


def spec_of(method: str, seed: int = 42, **changes: object) -> RunSpec:
    row = method.rpartition("+")[2]
    given = {"lr": LRS.get(row, 0.01), "rank": 32 if row == "vera" else 4}
    recipe = Recipe(**{"epochs": 2, "overrides": {}, **given, **changes})
    return run_spec(recipe, method, seed, method_named(method).options)


@pytest.fixture
def source_for(data: TextData, source: ModelSource, tmp_path: Path) -> Callable[[str], ModelSource]:
    """The tiny model; for (IA)³ one whose body has seen the task: on a random one it has nothing to rescale."""

    def make(method: str) -> ModelSource:
        if not method.endswith("ia3"):
            return source
        train(spec_of("full", epochs=6), data, source, tmp_path)
        BertModel.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "body")
        load_tokenizer(source.folder).save_pretrained(tmp_path / "body")
        return find_model(str(tmp_path / "body"))

    return make


@pytest.mark.parametrize("method", METHODS)
def test_it_learns(data: TextData, source_for: Callable[[str], ModelSource], method: str) -> None:
    trained = train(spec_of(method, epochs=6), data, source_for(method))
    assert trained.scores["test"]["accuracy"] > 0.75  # half of them by chance
    losses = [entry["loss"] for entry in trained.history if "loss" in entry]
    assert losses[-1] < losses[0]


COMPOSED = (
    "flat+dora", "flat+pissa", "flat+vera", "flat+ia3", "flat+lora-plus", "flat+rslora",
    "neftune+flat-lora", "neftune+full", "neftune+dora",
)  # fmt: skip


@pytest.mark.parametrize("method", COMPOSED)
def test_a_composed_method_learns(
    data: TextData, source_for: Callable[[str], ModelSource], method: str
) -> None:
    """The tiny model's embeddings are small, and so is the noise on them here."""
    trained = train(spec_of(method, epochs=10, neftune_alpha=0.1), data, source_for(method))
    assert trained.scores["test"]["accuracy"] > 0.75
    assert losses(trained)[-1] < losses(trained)[0]


def test_predictions_hold_the_scores(data: TextData, source: ModelSource) -> None:
    trained = train(spec_of("lora"), data, source)
    table, split = trained.predictions, data.splits["test"]
    assert list(table["example"]) == list(split.examples)
    names = np.array(data.label_names)
    assert (table["label"] == names[split.labels]).all()
    number = {name: i for i, name in enumerate(names)}
    assert trained.scores["test"] == score(split.labels, table["predicted"].map(number).to_numpy())
    probabilities = table[[f"p_{name}" for name in names]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert (names[probabilities.argmax(1)] == table["predicted"]).all()


def test_a_diverging_run_is_stopped(data: TextData, source: ModelSource) -> None:
    with pytest.raises(Diverged, match="smaller lr"):
        train(spec_of("full", lr=1e30, warmup=0.0, epochs=30), data, source)


def test_nothing_looks_at_the_test_set_before_the_end(data: TextData, source: ModelSource) -> None:
    class Seen(TrainerCallback):
        def __init__(self) -> None:
            self.sizes: list[int] = []
            self.training = True

        def on_evaluate(
            self, args: object, state: object, control: object, eval_dataloader: object, **rest
        ) -> None:
            self.sizes.append(len(eval_dataloader.dataset))

    seen = Seen()
    train(spec_of("lora", epochs=3), data, source, callbacks=[seen])
    assert seen.sizes == [len(data.splits["validation"])] * 3


@pytest.mark.slow
@pytest.mark.data
def test_lora_learns_the_phrasebank(shared_data: Callable[[str], Path]) -> None:
    recipe = Recipe(
        task="financial-phrasebank", data=str(shared_data("financial_phrasebank/Sentences_50Agree.txt"))
    )
    data = load_task(recipe.task, {name: getattr(recipe, name) for name in DATA})
    spec = run_spec(recipe, "lora", 42, METHODS["lora"].options)
    assert train(spec, data, find_model(DEFAULT_MODEL)).scores["test"]["accuracy"] >= 0.80


def test_an_encoder_decoder_can_be_trained(data: TextData, tiny_model: Path, tmp_path: Path) -> None:
    sizes = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8, "vocab_size": 64}
    T5ForSequenceClassification(T5Config(**sizes, decoder_start_token_id=0, eos_token_id=3)).save_pretrained(
        tmp_path
    )
    tokenizer = load_tokenizer(tiny_model)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    tokenizer.save_pretrained(tmp_path)
    trained = train(spec_of("flat-lora", epochs=1), data, find_model(str(tmp_path)))
    assert 0 < trained.parameters["share"] < 1


def test_weights_are_kept_only_where_asked(data: TextData, source: ModelSource, tmp_path: Path) -> None:
    train(spec_of("lora", epochs=1, keep_weights=False), data, source, tmp_path)
    assert not (tmp_path / "adapter").exists()
    train(spec_of("lora", epochs=1), data, source, tmp_path)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def losses(trained: Trained) -> list[float]:
    return [entry["loss"] for entry in trained.history if "loss" in entry]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_repeats_itself_to_the_bit(data: TextData, source: ModelSource, method: str) -> None:
    one, again = (train(spec_of(method, dropout=0.1), data, source) for _ in range(2))
    assert losses(one) == losses(again)
    assert one.predictions.equals(again.predictions)


@pytest.mark.parametrize("method", METHODS)
def test_it_learns_in_bf16_and_keeps_what_it_learned_in_fp32(
    data: TextData, source_for: Callable[[str], ModelSource], method: str, tmp_path: Path
) -> None:
    source, folder = source_for(method), tmp_path / "run"
    trained = train(spec_of(method, epochs=6, dtype="bf16"), data, source, folder)
    assert losses(trained)[-1] < losses(trained)[0]
    assert trained.scores["test"]["accuracy"] > 0.75
    (file,) = folder.glob("*/*.safetensors")
    assert {one.dtype for one in load_file(file).values()} == {torch.float32}
    plain = train(spec_of(method, epochs=6, dtype="fp32"), data, source)
    assert losses(trained) != losses(plain)  # it was bf16 indeed
    np.testing.assert_allclose(losses(trained)[:3], losses(plain)[:3], atol=0.03)


class Look(TrainerCallback):
    """Looks at the model and the optimizer at the first step, and at what the model answers."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self.args, self.model = args, parts["model"]
        self.first_rates = {group["initial_lr"] for group in parts["optimizer"].param_groups}
        self.base = {name: one.clone() for name, one in self.frozen().items()}
        self.logits: list[torch.Tensor] = []
        self.formats: set[torch.dtype] = set()
        query = next(
            one for name, one in self.model.named_modules() if name.endswith("0.attention.self.query")
        )
        query.register_forward_hook(lambda layer, given, out: self.formats.add(out.dtype))
        parts["model"].register_forward_hook(
            lambda layer, given, out: self.logits.append(out.logits.detach())
        )

    def frozen(self) -> dict[str, torch.Tensor]:
        return {name: one for name, one in self.model.named_parameters() if not one.requires_grad}


@pytest.mark.parametrize("method", ["lora", "flat-lora", "dora"])
def test_the_base_is_held_in_bf16_and_never_written(data: TextData, source: ModelSource, method: str) -> None:
    look = Look()
    train(spec_of(method, epochs=1, dtype="bf16"), data, source, callbacks=[look])
    assert {str(one.dtype) for one in look.logits} == {"torch.float32"}
    assert any(not torch.equal(one, one.bfloat16().float()) for one in look.logits)
    assert look.formats == {torch.bfloat16}  # of autocast
    linear = {one.dtype for name, one in look.base.items() if "query" in name}
    assert linear == {torch.float32 if method == "dora" else torch.bfloat16}
    assert all(torch.equal(one, look.base[name]) for name, one in look.frozen().items())
    assert {one.dtype for one in look.model.parameters() if one.requires_grad} == {torch.float32}


def test_auto_is_fp32_on_a_processor_without_fast_bf16(
    data: TextData, source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    auto, plain = (train(spec_of("lora", epochs=1, dtype=one), data, source) for one in ("auto", "fp32"))
    assert auto.predictions.equals(plain.predictions)


def test_with_lora_plus_b_learns_faster(data: TextData, source: ModelSource) -> None:
    look, plain = Look(), Look()
    train(spec_of("lora-plus", epochs=1, lr=0.01, lr_ratio=4.0), data, source, callbacks=[look])
    train(spec_of("lora", epochs=1, lr=0.01), data, source, callbacks=[plain])
    assert look.first_rates == {0.01, 0.04}
    assert plain.first_rates == {0.01}


def test_at_a_ratio_of_one_lora_plus_is_lora(data: TextData, source: ModelSource) -> None:
    one = train(spec_of("lora-plus", lr=0.01, lr_ratio=1.0), data, source)
    assert losses(one) == losses(train(spec_of("lora"), data, source))


@pytest.mark.parametrize("method", ["dora", "pissa", "vera", "ia3"])
def test_what_a_peft_row_left_answers_as_it_did(
    data: TextData, source: ModelSource, method: str, tmp_path: Path
) -> None:
    trained = train(spec_of(method), data, source, tmp_path)
    tokenizer = load_tokenizer(source.folder)
    base = load_classifier(source.folder, data.label_names, tokenizer)
    model = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    inputs = tokenizer(list(data.splits["test"].texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs).logits.double().softmax(-1).numpy()
    wanted = trained.predictions[[f"p_{name}" for name in data.label_names]].to_numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert trained.model_class == "BertForSequenceClassification"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, in what it imports to compile
def test_compile_is_the_trainers(data: TextData, source: ModelSource) -> None:
    class Begun(Exception):
        pass

    class Stop(Look):
        def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            super().on_train_begin(args, state, control, **parts)
            raise Begun  # compiling itself takes half a minute

    for compile in (True, False):
        look = Stop()
        with pytest.raises(Begun):
            train(spec_of("lora", compile=compile), data, source, callbacks=[look])
        assert look.args.torch_compile is compile


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["lora", "neftune+lora"])
def test_a_compiled_run_learns_the_same(data: TextData, source: ModelSource, method: str) -> None:
    compiled, plain = (
        train(spec_of(method, compile=one, batch_size=64), data, source) for one in (True, False)
    )
    np.testing.assert_allclose(losses(compiled), losses(plain), atol=1e-3)


def test_a_quantised_model_is_refused_before_it_is_loaded(source: ModelSource, tmp_path: Path) -> None:
    folder = tmp_path / "quantised"
    shutil.copytree(source.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Mistake, match=r"are quantised; .* loop of your own with add_lora"):
        check([spec_of("lora")], find_model(str(folder)))
    check([spec_of("lora")], source)
