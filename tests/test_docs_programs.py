"""The Python of the pages that have no test of their own runs, with what a reader would have at that place."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from lowland import LoRAConfig, add_lora
from lowland.ground import runtime
from lowland.lora.inject import lora_layers
from tests.evidence.readers.test_inspect_results import log
from tests.language_models import characters, language_model, save
from tests.stress.asking.support import INSPECTS, own_machine
from tests.test_docs_commands import PAGES, blocks

pytestmark = [pytest.mark.filterwarnings(pattern) for pattern in INSPECTS]
__all__ = ["log", "own_machine"]

TESTED_ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "CONTRIBUTING.md": "tests/test_contributing.py",
    "docs/first-steps.md": "tests/test_readme.py",
    "docs/flat-lora.md": "tests/flat/test_hello_t5.py",
    "docs/report.md": "tests/report/test_page.py",
}
"""Pages with Python, and the tests that run it."""
TESTED_HERE = ("lora", "merging", "other-tools", "stress", "studies", "studies-on-many-machines", "verdict")


def programs(page: str) -> list[str]:
    return blocks(PAGES[f"docs/{page}.md"], "python")


def run(program: str, **names: Any) -> dict[str, Any]:
    exec(program, names)
    return names


def test_every_page_with_python_is_tested() -> None:
    pages = {page for page, path in PAGES.items() if blocks(path, "python")}
    assert pages == {*TESTED_ELSEWHERE, *(f"docs/{page}.md" for page in TESTED_HERE)}


@pytest.mark.filterwarnings(
    "ignore:fan_in_fan_out is set to False but:UserWarning"
)  # PEFT's own word on GPT-2
def test_lora_speeds_up_peft_and_keeps_blocks(
    gpt2: GPT2LMHeadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpt2.save_pretrained(tmp_path / "gpt2")
    keeps, fuses = programs("lora")
    monkeypatch.chdir(tmp_path)
    model = run(fuses)["model"]
    assert type(model.base_model.model.transformer.h[0].attn.c_attn).__module__.startswith("peft.")
    called = []
    monkeypatch.setattr(runtime, "keep_large_blocks", lambda: called.append(True))
    run(keeps)
    assert called


def test_merging_takes_the_adapter_in_and_out(gpt2: GPT2LMHeadModel, tokens: torch.Tensor) -> None:
    (program,) = programs("merging")
    model = add_lora(gpt2, LoRAConfig(r=2)).eval()
    with torch.no_grad():
        before = model(tokens).logits
        run(program, model=model, torch=torch)
        assert not list(lora_layers(model))
        torch.testing.assert_close(
            model(tokens).logits.float(), before, rtol=0.05, atol=0.05
        )  # stored in bf16


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # TRL's own words
def test_other_tools_get_the_noise_and_read_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL and PEFT are real; LLaMA-Factory is a stand-in with the function's signature."""
    monkeypatch.chdir(tmp_path)
    trl, scores, factory, back = programs("other-tools")
    save(language_model("llama"), tmp_path / "base", characters())
    data = Dataset.from_dict({"text": ["a b c", "d e f"]})
    changes = {
        "google/gemma-3-270m": str(tmp_path / "base"),
        'SFTConfig("out")': 'SFTConfig("out", max_steps=2, per_device_train_batch_size=1, report_to="none",'
        ' use_cpu=True, disable_tqdm=True, bf16=False, dataloader_pin_memory=False, save_strategy="no")',
    }
    for before, after in changes.items():
        assert before in trl
        trl = trl.replace(before, after)
    trainer = run(trl, data=data)["trainer"]
    assert trainer.state.global_step == 2
    trainer.model.save_pretrained("runs/…-lora-s42-…/adapter")
    base = AutoModelForCausalLM.from_pretrained("base")
    assert isinstance(run(back, base=base)["model"], PeftModel)

    run(scores, correct=[1, 0, 1])
    assert list(pd.read_csv("new.csv")["score"]) == [1, 0, 1]

    called: list[tuple] = []
    tuner = ModuleType("llamafactory.train.tuner")
    tuner.run_exp = lambda args, callbacks: called.append((args, callbacks))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llamafactory.train.tuner", tuner)
    Path("llama3_lora_sft.yaml").write_text("stage: sft\n")
    run(factory)
    assert called[0][0] == {"stage": "sft"}
    assert type(called[0][1][0]).__name__ == "FlatLoRA"


def test_stress_asks_from_python(own_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = programs("stress")
    assert "ollama/llama3.2" in program
    folder = run(
        program.replace("ollama/llama3.2", "mockllm/model").replace("limit=20", "limit=1, mitigations='none'")
    )["folder"]
    assert (folder / "record.json").is_file()


def test_studies_read_exported_predictions(
    lowland: Callable[..., tuple], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = programs("studies")
    assert lowland("compare", "--methods", "lora", "bag-of-words", "--seeds", "1", "--out", "runs")[0] == 0
    assert (
        lowland("study", "export", "runs", "--predictions", "--out", "predictions.parquet", small=False)[0]
        == 0
    )
    lines = program.splitlines()
    shown = run("\n".join([*lines[:-1], f"shown = {lines[-1]}"]))["shown"]
    assert list(shown.columns) == [("bag-of-words", 1), ("lora", 1)]
    assert len(shown) > 5


def test_many_machines_start_a_study_on_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    asked: list[tuple] = []
    monkeypatch.setattr("lowland.run_study", lambda recipe, engine: asked.append((recipe, engine)))
    (program,) = programs("studies-on-many-machines")
    names = run(program)
    ((recipe, engine),) = asked
    assert recipe.task.name == "rte"
    assert isinstance(engine, names["RayEngine"])


def test_verdicts_compare_arrays_and_logs(
    log: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compares, scores = programs("verdict")
    old, new = np.arange(200) % 3 > 0, np.arange(200) % 5 > 0
    names = run(compares, old_correct=old, new_correct=new)
    assert names["verdict"].outcome == "better"
    assert len(names["verdict"].broken) == np.sum(old & ~new)
    Path("logs").mkdir()
    log("before", {1, 2, 3}).rename("logs/before.eval")
    assert callable(run(scores)["includes_compared"]())


def test_readme_compares_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = [block for block in blocks(PAGES["README.md"], "python") if "lowland.verdict" in block]
    import lowland

    run(program, lowland=lowland, old_correct=np.ones(50), new_correct=np.arange(50) % 2)
    assert re.search("worse", capsys.readouterr().out)
