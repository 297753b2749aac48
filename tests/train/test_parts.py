"""Methods that train a part of the model itself: the rest stays as it was, also in the saved model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import lowland as package
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions
from lowland.models.load import LoadedModel
from lowland.models.source import ModelSource
from lowland.tasks.examples import TaskData
from tests.language_models import language_model
from tests.train.runs import adapt, run


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["head", "bitfit"])
def test_what_is_not_trained_is_saved_as_it_was(
    data: TaskData, source: ModelSource, tmp_path: Path, method: str, dtype: str
) -> None:
    """In bf16, too: a base that was rounded would be saved rounded."""
    run(method, data, source, dtype=dtype, folder=tmp_path)
    before = AutoModelForSequenceClassification.from_pretrained(source.folder).state_dict()
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    frozen = {name for name in after if not name.startswith("classifier")}
    if method == "bitfit":
        frozen -= {name for name in after if name.endswith(".bias")}
        assert any(name.endswith("query.bias") for name in changed)
    assert "classifier.weight" in changed
    assert not changed & frozen


@pytest.mark.parametrize("method", ["head", "bitfit"])
def test_a_run_predicts_as_it_was_tested(
    lowland: Callable[..., tuple[int, str, str]], texts: Path, tmp_path: Path, method: str
) -> None:
    code, _, err = lowland("train", "--method", method)
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob(f"classification-{method}-*")
    tested = read_predictions(folder)
    rows = [line.rsplit(",", 1)[0] for line in texts.read_text().splitlines()[1:]]
    answers = package.load(folder).predict([rows[number] for number in tested["example"]])
    assert list(answers["predicted"]) == list(tested["predicted"])
    code, _, err = lowland("merge", str(folder), "--out", str(tmp_path / "merged"))
    assert code == 2
    assert "nothing to merge" in err


def test_a_model_without_such_parts_is_refused() -> None:
    model = language_model("llama")
    with pytest.raises(
        Mistake, match="bitfit trains biases, and a LlamaForCausalLM has none; leave bitfit out"
    ):
        adapt("bitfit", model)
    with pytest.raises(
        Mistake, match="head trains the task's own output layer, and a LlamaForCausalLM answers by"
    ):
        adapt("head", LoadedModel(model, train_head=False))
