"""Each fault of an adapter is found and said in a sentence, and a healthy adapter has none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lowland.measure.diagnosis.diagnose import Diagnosis, diagnose
from tests.deploy.merge.test_merging import base_folder, peft_adapter

Run = Callable[..., tuple[int, str, str]]
Tensors = dict[str, Tensor]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """An adapter of PEFT's for a classifier: it is smaller than W, and all directions of a rank of 4 are used."""
    folder = tmp_path_factory.mktemp("healthy")
    base = base_folder("SEQ_CLS", folder / "base", tiny_model)
    peft_adapter("SEQ_CLS", base, folder / "adapter", lora_alpha=8)
    change(folder / "adapter", tensors=scale_b(0.1))
    return folder / "adapter"


@pytest.fixture
def adapter(healthy: Path, tmp_path: Path) -> Path:
    """A copy of the healthy adapter."""
    return Path(shutil.copytree(healthy, tmp_path / "adapter"))


def change(folder: Path, tensors: Callable[[Tensors], Any] | None = None, **config: Any) -> None:
    """Change an adapter's tensors in place, or return others; and fields of its config."""
    if tensors is not None:
        state = load_file(folder / WEIGHTS)
        changed = tensors(state)
        save_file(state if changed is None else changed, folder / WEIGHTS)
    content = {**json.loads((folder / CONFIG).read_text()), **config}
    (folder / CONFIG).write_text(json.dumps(content))


def scale_b(factor: float, layers: str = "") -> Callable[[Tensors], Tensors]:
    return lambda state: {
        name: tensor * (factor if "lora_B" in name and layers in name else 1)
        for name, tensor in state.items()
    }


def put_nan(state: Tensors) -> None:
    next(tensor for name, tensor in state.items() if "lora_A" in name)[0, 0] = torch.nan


def one_direction(state: Tensors) -> None:
    for name, tensor in state.items():
        if "lora_B" in name:
            tensor[:, 1:] = 0


def found(diagnosis: Diagnosis) -> dict[str, tuple[str, str]]:
    return {finding.name: (finding.verdict, finding.sentence) for finding in diagnosis.findings}


def test_a_healthy_adapter_has_nothing_suspicious(adapter: Path) -> None:
    diagnosis = diagnose(adapter)
    assert found(diagnosis) == {"diagnosis": ("ok", "nothing suspicious")}
    assert diagnosis.title.startswith("LORA, r = 4, s = 2, 13 layers of ")
    assert diagnosis.loads is True


FAULTS: list[tuple[str, dict[str, Any], str, str, str]] = [
    (
        "zero B",
        {"tensors": scale_b(0)},
        "no effect",
        "FAIL",
        "B is zero in all 13 layers, as before the first step",
    ),
    ("some zero", {"tensors": scale_b(0, "layer.1")}, "no effect", "note", "B is zero in 6 of 13 layers"),
    ("alpha 0", {"lora_alpha": 0}, "no effect", "FAIL", "alpha is 0"),
    ("rounded away", {"tensors": scale_b(1e-10)}, "no effect", "FAIL", "even in fp32"),
    ("NaN", {"tensors": put_nan}, "NaN", "FAIL", "1 of 28 tensors hold NaN or infinity"),
    (
        "empty",
        {"tensors": lambda s: {n: t.new_zeros(0) if "lora_" in n else t for n, t in s.items()}},
        "weights",
        "FAIL",
        "26 of 26 matrices A and B are empty, as DeepSpeed ZeRO-3 leaves them",
    ),
    (
        "no weights",
        {"tensors": lambda s: {n: t for n, t in s.items() if "lora_" not in n}},
        "no weights",
        "FAIL",
        "A and B of no layer",
    ),
    (
        "A alone",
        {"tensors": lambda s: {n: t for n, t in s.items() if not ("lora_B" in n and "key" in n)}},
        "weights",
        "FAIL",
        "A and B of 2 layers",
    ),
    ("rank", {"r": 16}, "rank", "FAIL", "has 4 rows, and adapter_config.json says r = 16"),
    ("no alpha", {"lora_alpha": None}, "scale", "FAIL", "no lora_alpha"),
    ("large s", {"lora_alpha": 400}, "scale", "note", "alpha / r is 100"),
    ("small s", {"lora_alpha": 0.04}, "scale", "note", "alpha / r is 0.01"),
    (
        "targets",
        {"target_modules": ["query", "q_proj"]},
        "targets",
        "FAIL",
        "which target_modules does not select",
    ),
    ("still", {"tensors": scale_b(1e-4, "layer.1")}, "still layers", "note", "6 of 13 layers hardly moved"),
    ("wasted", {"tensors": one_direction}, "wasted rank", "note", "rank 4, and 1 direction carry 99%"),
    ("overwritten", {"tensors": scale_b(1e4)}, "large update", "note", "s·BA is larger than W in 13 layers"),
    ("lossy merge", {"tensors": scale_b(1e-2)}, "merging", "note", "in bf16"),
    (
        "no head",
        {"tensors": lambda s: {n: t for n, t in s.items() if "lora_" in n}, "modules_to_save": None},
        "head",
        "note",
        "holds no head",
    ),
    (
        "module to save",
        {"modules_to_save": ["classifier", "pooler"], "task_type": None},
        "head",
        "FAIL",
        "modules_to_save names pooler",
    ),
    ("more than s·BA", {"use_dora": True}, "kind", "note", "use_dora = true"),
    ("another base", {"base_model_name_or_path": "no/such-model"}, "base model", "note", "cannot be used"),
]


@pytest.mark.parametrize(
    ("changes", "name", "verdict", "words"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault_is_found(
    adapter: Path, changes: dict[str, Any], name: str, verdict: str, words: str
) -> None:
    change(adapter, **changes)
    findings = found(diagnose(adapter))
    assert findings[name][0] == verdict
    assert words in findings[name][1]


def test_what_cannot_be_loaded_is_said_and_the_checklist_left_out(lowland: Run, adapter: Path) -> None:
    change(
        adapter,
        tensors=lambda state: {
            name: t for name, t in state.items() if "layer.0.attention.self.key" not in name
        },
        target_modules=["query", "key", "value", "dense"],
    )
    code, out, err = lowland("check", "--adapter", str(adapter))
    assert code == 1
    assert "lowland:" not in err
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["FAIL", "loading"]]
    assert "lacks tensors that its config and the model require" in lines[1]


def test_check_diagnoses_before_the_checklist(lowland: Run, adapter: Path) -> None:
    code, out, err = lowland("check", "--adapter", str(adapter))
    assert code == 0, err
    assert out.splitlines()[1].split(maxsplit=2) == ["ok", "diagnosis", "nothing suspicious"]
    assert "PEFT reads it" in out


def test_without_a_base_the_files_are_diagnosed_and_the_checklist_says_why_not(
    lowland: Run, adapter: Path
) -> None:
    change(adapter, tensors=scale_b(0), base_model_name_or_path="no/such-model")
    code, out, err = lowland("check", "--adapter", str(adapter))
    assert code == 2
    assert "FAIL  no effect" in out
    assert "no/such-model" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("file", "content"),
    [(WEIGHTS, b"xxxx"), (CONFIG, b"{"), (CONFIG, b'{"r": {}, "lora_alpha": [], "peft_type": "LORA"}')],
)
def test_a_damaged_file_is_one_sentence(lowland: Run, adapter: Path, file: str, content: bytes) -> None:
    (adapter / file).write_bytes(content)
    code, out, err = lowland("check", "--adapter", str(adapter))
    assert code in (1, 2)
    assert "Traceback" not in err + out
    assert "unexpected" not in err
