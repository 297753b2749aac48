"""Properties of adapter folders: a changed file is refused, or gives what PEFT makes of it."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BertForSequenceClassification

from lowland import LoRAConfig, add_lora, load_adapter, save_adapter
from lowland.ground.mistakes import Mistake
from lowland.lora.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from lowland.lora.peft_config import READ_FIELDS, TYPES, WITHOUT_EFFECT, read_json
from tests.lora.conftest import fill_adapters
from tests.strategies import VALUES, mutated

SHARED = settings(suppress_health_check=list(HealthCheck))
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "r": st.integers(-1, 9),
    "lora_alpha": st.integers(-1, 9) | st.floats(-2, 9),
    "lora_dropout": st.floats(0, 0.5),
    "use_rslora": st.booleans(),
    "target_modules": st.sampled_from(
        ["all-linear", ".*query", ["query", "value"], ["value"], [], "(", None]
    ),
    "exclude_modules": st.sampled_from([None, "value", ["layer.0.attention.self.query"], ".*0.*"]),
    "layers_to_transform": st.sampled_from([None, 0, [1], [0, 1], [7]]),
    "layers_pattern": st.sampled_from([None, "layer", ["layer"], "block"]),
    "rank_pattern": st.dictionaries(st.sampled_from(["query", ".*value", "0", "["]), st.integers(0, 9)),
    "alpha_pattern": st.dictionaries(st.sampled_from(["query", ".*value", "x"]), st.floats(0, 9)),
    "modules_to_save": st.sampled_from([None, [], ["classifier"], ["pooler"], ["nowhere"]]),
    "bias": st.sampled_from(["none", "all", "lora_only"]),
    "use_dora": st.booleans(),
}


@pytest.fixture
def folder(bert: BertForSequenceClassification, tmp_path: Path) -> Path:
    """An adapter that changes the outputs."""
    model = copy.deepcopy(bert)
    add_lora(model, LoRAConfig(r=4, alpha=6, targets=("query", "value"), modules_to_save=("classifier",)))
    return save_adapter(fill_adapters(model), tmp_path / "adapter")


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Give a file another content in the block."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def outputs_of_peft(base: nn.Module, folder: Path, tokens: torch.Tensor) -> torch.Tensor | None:
    """The outputs with PEFT; None if it does not load the folder, or only with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`")
        try:
            model = peft.PeftModel.from_pretrained(copy.deepcopy(base), str(folder)).eval()
        except Exception:  # of any kind
            return None
        return model(tokens).logits.detach()


def check(base: BertForSequenceClassification, folder: Path, tokens: torch.Tensor) -> None:
    """Fail unless lowland refuses the folder and leaves the model alone, or gives the outputs that PEFT gives."""
    model, before = copy.deepcopy(base), base.state_dict()
    try:
        load_adapter(model, folder)
    except Mistake as mistake:
        problems = mistake.problems
    else:
        outputs = outputs_of_peft(base, folder, tokens)
        with torch.no_grad():
            assert outputs is None or torch.allclose(
                model.eval()(tokens).logits, outputs, atol=1e-5, equal_nan=True
            )
        return
    assert all(problem.strip() for problem in problems)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@settings(SHARED, max_examples=60)
@given(values=st.fixed_dictionaries({}, optional=LIKELY))
def test_another_config_is_refused_or_read_as_peft_reads_it(
    bert: BertForSequenceClassification, folder: Path, tokens: torch.Tensor, values: dict[str, Any]
) -> None:
    assume(values)
    config = json.loads((folder / CONFIG_FILE).read_text())
    with changed(folder / CONFIG_FILE, json.dumps({**config, **values}).encode()):
        check(bert, folder, tokens)


@settings(SHARED, max_examples=60)
@given(name=st.sampled_from([*READ_FIELDS, *WITHOUT_EFFECT]), value=VALUES)
@example("modules_to_save", [None])
@example("modules_to_save", 5)
@example("task_type", ["SEQ_CLS"])
@example("use_rslora", "false")
@example("init_lora_weights", [])
def test_a_config_with_any_value_is_refused_or_read_as_peft_reads_it(
    bert: BertForSequenceClassification, folder: Path, tokens: torch.Tensor, name: str, value: Any
) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    with changed(folder / CONFIG_FILE, json.dumps({**config, name: value}).encode()):
        check(bert, folder, tokens)


@settings(SHARED, max_examples=80)
@given(data=st.data(), name=st.sampled_from([CONFIG_FILE, WEIGHTS_FILE]))
def test_changed_bytes_are_refused_or_read_as_peft_reads_them(
    bert: BertForSequenceClassification, folder: Path, tokens: torch.Tensor, data: st.DataObject, name: str
) -> None:
    with changed(folder / name, data.draw(mutated((folder / name).read_bytes()))):
        check(bert, folder, tokens)


@pytest.mark.parametrize("name", TYPES)
def test_a_field_of_another_type_is_named(folder: Path, name: str) -> None:
    content = {**json.loads((folder / CONFIG_FILE).read_text()), name: [[None]]}
    (folder / CONFIG_FILE).write_text(json.dumps(content))
    with pytest.raises(Mistake, match=rf"is damaged \({name} is \[\[None\]\]\)"):
        read_json(folder)
