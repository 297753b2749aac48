"""The code that users see runs: the paper's sanity run, and the snippets of docs/flat-lora.md."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from lowland import LoRAConfig, add_lora
from lowland.flat import FlatConfig
from lowland.flat.perturbed import Perturbed

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "flat-lora.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """Return the example's module, with its base trained once."""
    spec = importlib.util.spec_from_file_location("hello_t5", ROOT / "examples" / "hello_t5.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = module.echoing()
        module.echoing = lambda: base
        yield module


@pytest.mark.parametrize("options", [[], ["--peft"]])
def test_a_t5_is_taught_hello_hello_under_noise(
    example: ModuleType, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    example.main(options)
    before, noisy, plain = capsys.readouterr().out.splitlines()
    assert before.endswith("repeat: hello -> hello")
    assert noisy.startswith("LoRA, rho = 0.1")
    assert noisy.endswith("repeat: hello -> hello hello")
    assert plain.endswith("repeat: hello -> hello hello")


def test_the_examples_noise_is_on_while_it_learns(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy: list[bool] = []
    loss_of = example.loss_of

    def watched(model: nn.Module, pairs: dict[str, str]) -> Tensor:
        noisy.append(
            all(module.drawn_noise is not None for module in model.modules() if isinstance(module, Perturbed))
        )
        return loss_of(model, pairs)

    monkeypatch.setattr(example, "loss_of", watched)
    example.teach(example.adapted(example.echoing(), by_peft=False), rho=0.1, steps=3)
    assert noisy == [False, True, True]  # the ramp starts at 0


def test_the_docs_snippets_run(bert: nn.Module, tokens: Tensor, tmp_path: Path) -> None:
    trainers, own_loop, automatic = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    rows = [{"input_ids": row, "labels": torch.tensor(i)} for i, row in enumerate(tokens)]
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, report_to="none", disable_tqdm=True, use_cpu=True
    )
    arguments.dataloader_pin_memory = False
    exec(trainers, {"Trainer": Trainer, "model": bert, "arguments": arguments, "data": rows})
    model = add_lora(type(bert)(bert.config), LoRAConfig(r=2))
    names = {"model": model, "batches": [{"input_ids": tokens, "labels": torch.arange(3)}]}
    exec(own_loop, {**names, "optimizer": torch.optim.AdamW(model.parameters())})
    exec(automatic, {**names, "flat": __import__("lowland.flat").flat})


def test_the_docs_name_every_option_and_its_default() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", DOCS, flags=re.MULTILINE))
    for name, field in FlatConfig.model_fields.items():
        default = "all" if name == "layers" else str(field.default)
        assert table[name].strip().strip('"') == default
