"""One training run on a tiny model: paired, clean, complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
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
from lowland.models import formats
from lowland.models.find import find_model
from lowland.models.load import load_classifier, load_tokenizer
from lowland.models.packages import DEFAULT_MODEL
from lowland.models.source import ModelSource
from lowland.study.plan import plan
from lowland.study.recipe import Recipe
from lowland.study.run import run_job
from lowland.tasks.examples import Split, TaskData
from lowland.tasks.table import task_named
from lowland.train.check_fit import check_methods_fit
from lowland.train.fit import _arguments, fit
from lowland.train.fitted import Diverged
from tests.train.runs import NETWORKS, run, run_job_of, small_job


@pytest.fixture
def source_for(data: TaskData, source: ModelSource, tmp_path: Path) -> Callable[[str], ModelSource]:
    """The tiny model; for (IA)³, which only rescales features, a model that is trained on the task."""

    def make(method: str) -> ModelSource:
        if not method.endswith(("ia3", "head", "bitfit")):
            return source
        run("full", data, source, epochs=6, folder=tmp_path)
        BertModel.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "body")
        load_tokenizer(source.folder).save_pretrained(tmp_path / "body")
        return find_model(str(tmp_path / "body"))

    return make


@pytest.mark.parametrize("method", NETWORKS)
def test_it_learns(data: TaskData, source_for: Callable[[str], ModelSource], method: str) -> None:
    trained = run(method, data, source_for(method), epochs=6)
    assert trained.scores["test"]["accuracy"] > 0.75  # half would be right by chance
    assert trained.losses[-1] < trained.losses[0]


COMPOSED = (
    "flat+dora", "flat+pissa", "flat+vera", "flat+ia3", "flat+lora-plus", "flat+rslora",
    "neftune+flat-lora", "neftune+full", "neftune+dora",
    "ema+lora", "swa+full", "sam+full", "sam-w+dora", "sam+flat-lora",
)  # fmt: skip


@pytest.mark.parametrize("method", COMPOSED)
def test_a_composed_method_learns(
    data: TaskData, source_for: Callable[[str], ModelSource], method: str
) -> None:
    """The tiny model's embeddings are small, and so is the noise on them here."""
    trained = run(method, data, source_for(method), epochs=10, neftune_alpha=0.1)
    assert trained.scores["test"]["accuracy"] > 0.75
    assert trained.losses[-1] < trained.losses[0]


def test_predictions_hold_the_scores(data: TaskData, source: ModelSource) -> None:
    trained = run("lora", data, source)
    table, split = trained.predictions, data.splits["test"]
    assert list(table["example"]) == list(split.examples)
    assert list(table["label"]) == list(split["label"])
    assert trained.scores["test"] == task_named("classification").summarise(split, table)
    assert trained.scores["test"]["accuracy"] == (table["label"] == table["predicted"]).mean()
    assert (table["score"] == (table["label"] == table["predicted"])).all()
    names = np.array(data.label_names)
    probabilities = table[[f"p_{name}" for name in names]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert (names[probabilities.argmax(1)] == table["predicted"]).all()


def test_a_diverging_run_is_stopped(data: TaskData, source: ModelSource) -> None:
    with pytest.raises(Diverged, match="smaller lr"):
        fit(small_job("full", data, source, lr=1e30, warmup=0.0, epochs=30))


def test_nothing_looks_at_the_test_set_before_the_end(data: TaskData, source: ModelSource) -> None:
    class Seen(TrainerCallback):
        def __init__(self) -> None:
            self.sizes: list[int] = []
            self.training = True

        def on_evaluate(
            self, args: object, state: object, control: object, eval_dataloader: object, **rest
        ) -> None:
            self.sizes.append(len(eval_dataloader.dataset))

    seen = Seen()
    fit(small_job("lora", data, source, epochs=3), [seen])
    assert seen.sizes == [len(data.splits["validation"])] * 3


class NeverRead(Split):
    """A split that must not be read."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("columns", "examples", "groups", "categories"):
            pytest.fail(f"{name} of a test set was read")
        return super().__getattribute__(name)


def test_fit_never_reads_a_test_set(data: TaskData, source: ModelSource) -> None:
    test_set = data.splits["test"]
    hidden = NeverRead.__new__(NeverRead)
    for name in ("columns", "examples", "groups", "categories"):
        object.__setattr__(hidden, name, getattr(test_set, name))
    with pytest.raises(pytest.fail.Exception, match="was read"):
        len(hidden)
    splits = {**data.splits, "test": hidden, "another": hidden}
    unread, open_ = (
        fit(small_job("flat-lora", some, source, epochs=1)) for some in (replace(data, splits=splits), data)
    )
    assert unread.validation == open_.validation


@pytest.mark.slow
@pytest.mark.data
def test_lora_learns_the_phrasebank(shared_data: Callable[[str], Path]) -> None:
    file = shared_data("financial_phrasebank/Sentences_50Agree.txt")
    recipe = Recipe(
        task={"name": "financial-phrasebank", "data": str(file)},
        model=DEFAULT_MODEL,
        methods=["lora"],
        seeds=[42],
    )
    (job,) = plan(recipe)
    assert run_job_of(job).scores["test"]["accuracy"] >= 0.80


def test_an_encoder_decoder_can_be_trained(data: TaskData, tiny_model: Path, tmp_path: Path) -> None:
    sizes = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8, "vocab_size": 64}
    T5ForSequenceClassification(T5Config(**sizes, decoder_start_token_id=0, eos_token_id=3)).save_pretrained(
        tmp_path
    )
    tokenizer = load_tokenizer(tiny_model)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    tokenizer.save_pretrained(tmp_path)
    trained = run("flat-lora", data, find_model(str(tmp_path)), epochs=1)
    assert 0 < trained.fitted.parameters["share"] < 1


def test_weights_are_kept_only_on_request(data: TaskData, source: ModelSource, tmp_path: Path) -> None:
    options = {"epochs": 1, "out": str(tmp_path)}
    without = run_job(small_job("lora", data, source, **options, keep_weights=False))
    assert not (without / "adapter").exists()
    with_weights = run_job(small_job("lora", data, source, **options))
    assert (with_weights / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("method", NETWORKS)
def test_a_run_repeats_itself_to_the_bit(data: TaskData, source: ModelSource, method: str) -> None:
    first, second = (run(method, data, source, dropout=0.1) for _ in range(2))
    assert first.losses == second.losses
    assert first.predictions.equals(second.predictions)


@pytest.mark.parametrize("method", NETWORKS)
def test_it_learns_in_bf16_and_keeps_what_it_learned_in_fp32(
    data: TaskData, source_for: Callable[[str], ModelSource], method: str, tmp_path: Path
) -> None:
    source, folder = source_for(method), tmp_path / "run"
    trained = run(method, data, source, epochs=6, dtype="bf16", folder=folder)
    assert trained.losses[-1] < trained.losses[0]
    assert trained.scores["test"]["accuracy"] > 0.75
    (file,) = folder.glob("*/*.safetensors")
    assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float32}
    plain = run(method, data, source, epochs=6, dtype="fp32")
    assert trained.losses != plain.losses  # bf16 was used
    first = 2 if method == "ivon-lora" else 3  # a clipped step has one size, so that rounding grows faster
    np.testing.assert_allclose(trained.losses[:first], plain.losses[:first], atol=0.03)


@pytest.mark.parametrize(("dtype", "expected"), [("bf16", "eager"), ("fp32", "sdpa")])
def test_attention_is_computed_by_products_in_bf16(
    data: TaskData, source: ModelSource, dtype: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fitted = fit(small_job("lora", data, source, epochs=1, dtype=dtype))
    assert fitted.adapted.base_model.config._attn_implementation == expected


def test_each_process_drops_other_entries(
    data: TaskData, source: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = small_job("lora", data, source)
    seeds = []
    for rank in (0, 1, 2):
        monkeypatch.setattr("lowland.train.fit.process_rank", lambda rank=rank: rank)
        seeds.append(_arguments(job, str(tmp_path), 32).seed)
    assert len(set(seeds)) == 3


class Look(TrainerCallback):
    """Records the model and the optimizer at the first step, and the model's logits."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self.args, self.model = args, parts["model"]
        self.first_rates = {group["initial_lr"] for group in parts["optimizer"].param_groups}
        self.base = {name: weight.clone() for name, weight in self.frozen().items()}
        self.logits: list[torch.Tensor] = []
        self.formats: set[torch.dtype] = set()
        query = next(
            module for name, module in self.model.named_modules() if name.endswith("0.attention.self.query")
        )
        query.register_forward_hook(lambda layer, inputs, out: self.formats.add(out.dtype))
        parts["model"].register_forward_hook(
            lambda layer, inputs, out: self.logits.append(out.logits.detach())
        )

    def frozen(self) -> dict[str, torch.Tensor]:
        return {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if not parameter.requires_grad
        }


@pytest.mark.parametrize("method", ["lora", "flat-lora", "dora"])
def test_the_base_is_held_in_bf16_and_never_written(data: TaskData, source: ModelSource, method: str) -> None:
    look = Look()
    fit(small_job(method, data, source, epochs=1, dtype="bf16"), [look])
    assert {str(logits.dtype) for logits in look.logits} == {"torch.float32"}
    assert any(not torch.equal(logits, logits.bfloat16().float()) for logits in look.logits)
    assert look.formats == {torch.bfloat16}  # from autocast
    linear = {weight.dtype for name, weight in look.base.items() if "query" in name}
    assert linear == {torch.float32 if method == "dora" else torch.bfloat16}
    assert all(torch.equal(weight, look.base[name]) for name, weight in look.frozen().items())
    assert {parameter.dtype for parameter in look.model.parameters() if parameter.requires_grad} == {
        torch.float32
    }


def test_auto_is_fp32_on_a_processor_without_fast_bf16(
    texts: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "processor_is_faster_in_bf16", lambda: False)
    settings = {"task": {"name": "classification", "data": str(texts)}, "model": str(tiny_model)}
    settings |= {"methods": ["lora"], "seeds": [42], "epochs": 1, "rank": 4, "lr": 0.01}
    (auto,), (plain,) = (plan(Recipe(**settings, dtype=dtype)) for dtype in ("auto", "fp32"))
    assert (auto.dtype, auto.key) == ("fp32", plain.key)
    assert run_job_of(auto).predictions.equals(run_job_of(plain).predictions)


def test_with_lora_plus_b_learns_faster(data: TaskData, source: ModelSource) -> None:
    look, plain = Look(), Look()
    fit(small_job("lora-plus", data, source, epochs=1, lr=0.01, lr_ratio=4.0), [look])
    fit(small_job("lora", data, source, epochs=1, lr=0.01), [plain])
    assert look.first_rates == {0.01, 0.04}
    assert plain.first_rates == {0.01}


def test_lora_plus_with_ratio_one_is_lora(data: TaskData, source: ModelSource) -> None:
    plus = run("lora-plus", data, source, lr=0.01, lr_ratio=1.0)
    assert plus.losses == run("lora", data, source).losses


@pytest.mark.parametrize("method", ["dora", "pissa", "vera", "ia3"])
def test_a_reloaded_peft_run_answers_as_before(
    data: TaskData, source: ModelSource, method: str, tmp_path: Path
) -> None:
    trained = run(method, data, source, folder=tmp_path)
    tokenizer = load_tokenizer(source.folder)
    base = load_classifier(source.folder, data.label_names, tokenizer).model
    model = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    inputs = tokenizer(list(data.splits["test"]["text"]), padding=True, return_tensors="pt")
    with torch.no_grad():
        answers = model(**inputs).logits.double().softmax(-1).numpy()
    expected = trained.predictions[[f"p_{name}" for name in data.label_names]].to_numpy()
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert trained.fitted.model_class == "BertForSequenceClassification"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # warnings of torch's own imports for compiling
def test_compile_is_the_trainers(data: TaskData, source: ModelSource) -> None:
    class Begun(Exception):
        pass

    class Stop(Look):
        def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            super().on_train_begin(args, state, control, **parts)
            raise Begun  # compiling itself takes half a minute

    for compile in (True, False):
        look = Stop()
        with pytest.raises(Begun):
            fit(small_job("lora", data, source, compile=compile), [look])
        assert look.args.torch_compile is compile


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["lora", "neftune+lora"])
def test_a_compiled_run_learns_the_same(data: TaskData, source: ModelSource, method: str) -> None:
    compiled, plain = (run(method, data, source, compile=whether, batch_size=64) for whether in (True, False))
    np.testing.assert_allclose(compiled.losses, plain.losses, atol=1e-3)


def test_a_quantised_model_is_refused_before_it_is_loaded(
    data: TaskData, source: ModelSource, tmp_path: Path
) -> None:
    folder = tmp_path / "quantised"
    shutil.copytree(source.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Mistake, match=r"are quantised; .* loop of your own with add_lora"):
        check_methods_fit([small_job("lora", data, find_model(str(folder)))])
    check_methods_fit([small_job("lora", data, source)])
