"""The lesson's layers compute its formula, its script and notebook have the same code and run, and it learns."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lowland.models.find import find_model
from lowland.models.load import load_classifier, load_tokenizer
from tests.conftest import table_of

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "lora_from_scratch.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
COMMAND_LINE = "if '__file__' in globals() else []".replace("'", '"')
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`table_of` in the form of the SMS Spam Collection: its good news is spam."""
    path = tmp_path_factory.mktemp("sms") / "SMSSpamCollection"
    labels = {"good": "spam", "bad": "ham"}
    rows = table_of().itertuples(index=False)
    path.write_text("".join(f"{labels[label]}\t{text}\n" for text, label in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run the script as a user would, but in this process, which has torch loaded; return its names."""

    def once(*options: str) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [SCRIPT.name, *options])
            return runpy.run_path(str(SCRIPT), run_name="__main__")

    with torch.random.fork_rng():
        yield once


def small(messages: Path, model: Path) -> list[str]:
    """The options of a run of seconds."""
    values = {"data": messages, "model": model, "limit": 100, "epochs": 6, "lr": 0.004}
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def lesson(run: Run, messages: Path, tiny_model: Path) -> dict[str, Any]:
    """The names of a small run."""
    return run(*small(messages, tiny_model))


def notebook_of(script: str) -> Any:
    """What `tools/notebook.py` makes of a script."""
    return runpy.run_path(str(ROOT / "tools" / "notebook.py"))["notebook_of"](script)


def code_cells() -> list[str]:
    return [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


# The layers


def test_the_layer_computes_the_formula(lesson: dict[str, Any]) -> None:
    """W x + b + (alpha / r) B A x, vector by vector, in float64."""
    linear = torch.nn.Linear(5, 3).double()
    layer = lesson["LinearWithLoRA"](linear, rank=2, alpha=6).double()
    torch.nn.init.normal_(layer.lora.B)
    x = torch.randn(4, 7, 5, dtype=torch.float64)
    W, b, A, B = linear.weight, linear.bias, layer.lora.A, layer.lora.B
    expected = [[W @ v + b + 3 * (B @ (A @ v)) for v in row] for row in x]
    torch.testing.assert_close(layer(x), torch.stack([torch.stack(row) for row in expected]))


def test_merging_leaves_the_base_layer_alone(lesson: dict[str, Any]) -> None:
    linear = torch.nn.Linear(5, 3)
    layer = lesson["LinearWithLoRA"](linear, rank=2, alpha=6)
    torch.nn.init.normal_(layer.lora.B)
    before = linear.weight.clone()
    x = torch.randn(4, 5)
    torch.testing.assert_close(layer.merged()(x), layer(x))
    assert torch.equal(linear.weight, before)
    assert not torch.allclose(layer.merged()(x), linear(x))


def test_injection_skips_the_head(lesson: dict[str, Any]) -> None:
    gpt = lesson["GPT"](width=8, heads=2, vocabulary=10, context=4)
    linears = {name for name, module in gpt.named_modules() if isinstance(module, torch.nn.Linear)}
    lesson["inject"](gpt, rank=2, alpha=4)
    adapted = {name for name, module in gpt.named_modules() if isinstance(module, lesson["LinearWithLoRA"])}
    assert linears - adapted == {"head"}
    assert len(adapted) == 12 * 6


def test_the_gpt_is_gpt2(lesson: dict[str, Any]) -> None:
    """With the weights of transformers' GPT-2, it gives the same logits; only the joined layers are cut in three."""
    config = GPT2Config(
        vocab_size=50,
        n_positions=8,
        n_embd=12,
        n_layer=12,
        n_head=3,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    reference = GPT2LMHeadModel(config).eval()
    gpt = lesson["GPT"](width=12, heads=3, vocabulary=50, context=8)
    gpt.load_state_dict(split_weights(reference.transformer.state_dict()))
    ids = torch.randint(50, (2, 8))
    torch.testing.assert_close(gpt(ids), reference(ids).logits, rtol=1e-4, atol=1e-4)


def split_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """GPT-2's weights by the lesson's names: `Conv1D` transposed, query, key and value apart, the head untied."""
    places = {"attn.c_proj": "out", "mlp.c_fc": "up", "mlp.c_proj": "down", "ln_1": "norm1", "ln_2": "norm2"}
    split = {"tokens.weight": weights["wte.weight"], "positions.weight": weights["wpe.weight"]}
    split |= {"head.weight": weights["wte.weight"]}
    split |= {f"norm.{kind}": weights[f"ln_f.{kind}"] for kind in ("weight", "bias")}
    for block in range(12):
        for kind in ("weight", "bias"):
            for theirs, ours in places.items():
                split[f"blocks.{block}.{ours}.{kind}"] = weights[f"h.{block}.{theirs}.{kind}"].t()
            joined = weights[f"h.{block}.attn.c_attn.{kind}"].t()
            for ours, part in zip(("query", "key", "value"), joined.chunk(3), strict=True):
                split[f"blocks.{block}.{ours}.{kind}"] = part
    return split


# The script


def test_the_spam_filter_learns_and_leaves_the_base_alone(lesson: dict[str, Any], tiny_model: Path) -> None:
    assert lesson["test_accuracy"] == 1
    base = load_classifier(
        find_model(str(tiny_model)).folder, ("ham", "spam"), load_tokenizer(tiny_model)
    ).model
    trained = {name.replace(".linear.", "."): value for name, value in lesson["model"].named_parameters()}
    for name, value in base.named_parameters():
        assert torch.equal(trained[name], value) is not name.startswith("classifier"), name
    assert all(value.any() for name, value in trained.items() if name.endswith("lora.B"))
    assert {type(module) for module in lesson["merged"].modules()} == {
        type(module) for module in base.modules()
    }


def test_it_prints_the_counts(
    run: Run, messages: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*small(messages, tiny_model), "--epochs", "1")
    out = capsys.readouterr().out
    assert "1,327,104 of 164,364,288" in out
    assert "1,328,642 of 125,768,450" in out
    assert "144 tensors have a gradient, 197 have none" in out
    assert re.search(r"merged: logits up to [\d.]+ differ by at most \d.\de-\d\d\n", out)


def test_a_seed_gives_the_same_run(
    lesson: dict[str, Any], run: Run, messages: Path, tiny_model: Path
) -> None:
    assert torch.equal(run(*small(messages, tiny_model))["logits"], lesson["logits"])
    assert not torch.equal(run(*small(messages, tiny_model), "--seed", "1")["logits"], lesson["logits"])


def test_a_decoder_reads_its_last_token(run: Run, messages: Path, tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, pad_token_id=0, **sizes)).save_pretrained(tmp_path)
    names = run(*small(messages, tmp_path), "--epochs", "1")
    assert names["count"](names["model"])[0] == sum(
        p.numel()
        for name, p in names["model"].named_parameters()
        if ".lora." in name or name == "score.weight"
    )
    assert len([name for name in names["model"].state_dict() if name.endswith("lora.A")]) == 7


def test_a_model_without_linear_layers_is_refused(
    run: Run, messages: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    config = GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2, pad_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run(*small(messages, tmp_path))
    assert f"{tmp_path} has no nn.Linear layers to adapt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data", "no-such-file"], "the data file no-such-file does not exist"),
        ([], "give its original file instead: --data SMSSpamCollection"),
        (["--data", "{messages}", "--model", "./no-such-folder"], "./no-such-folder is not a folder"),
        (["--data", "{messages}", "--limit", "-1"], "error: "),
        (["--data", "{messages}", "--limit", "1"], "every label needs at least 5"),
    ],
)
def test_bad_input_ends_in_a_sentence(
    options: list[str], sentence: str, run: Run, messages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*(option.format(messages=messages) for option in options))
    assert sentence in capsys.readouterr().err


# The notebook


def test_the_notebook_is_made_from_the_script() -> None:
    """`make notebook` would change nothing; Jupyter's own schema accepts the file."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) == nbformat.writes(notebook_of(SCRIPT.read_text("utf-8")))


def test_the_notebook_has_the_scripts_code() -> None:
    """Every line of code, in its order, whatever `tools/notebook.py` does."""
    lines = [
        line for line in SCRIPT.read_text("utf-8").partition('"""\n\n# %%')[2].splitlines() if line.strip()
    ]
    code = [line for line in lines if not line.startswith("#")]
    assert code == [line for cell in code_cells() for line in cell.splitlines() if line.strip()]


def test_the_notebooks_code_runs(messages: Path, tiny_model: Path, lesson: dict[str, Any]) -> None:
    """Its cells in their order, in one namespace: what a kernel does. Options stand in the list of the first cell."""
    first, *others = code_cells()
    assert first.count(COMMAND_LINE) == 1
    options = small(messages, tiny_model)
    names: dict[str, Any] = {"__name__": "__main__"}
    with torch.random.fork_rng():
        for cell in (first.replace(COMMAND_LINE, COMMAND_LINE.replace("[]", repr(options))), *others):
            exec(cell, names)
    assert torch.equal(names["logits"], lesson["logits"])


# The real thing


@pytest.mark.slow
@pytest.mark.data
def test_minilm_learns_spam(run: Run, shared_data: Callable[[str], Path]) -> None:
    """On the balanced data: 747 messages of each label."""
    names = run("--data", str(shared_data("sms_spam/SMSSpamCollection")))
    assert sum(len(split) for split in names["data"].splits.values()) == 2 * 747
    assert names["test_accuracy"] >= 0.93
