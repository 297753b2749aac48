"""Checks of the config, and PEFT's rule for patterns."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from types import MappingProxyType
from typing import Any

import pytest
from peft.utils.other import get_pattern_key

import lowland.lora
from lowland import LoRAConfig
from lowland.ground.mistakes import Mistake

NAMES = (
    "query",
    "layer.0.query",
    "layer.10.query",
    "layer.1.key",
    "layer.1.keys",
    "my_query",
    "layer.0.query.deep",
)
PATTERNS = ("query", "layer.1", "layer.0.query", r"layer\.\d+\.key|value", "ery", ".*", "layer.1.*")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("first", PATTERNS)
@pytest.mark.parametrize("second", PATTERNS)
def test_patterns_match_as_in_peft(name: str, first: str, second: str) -> None:
    pattern = {first: 3, second: 5}
    config = LoRAConfig(r=2, alpha=7, rank_pattern=pattern, alpha_pattern=pattern)
    key = get_pattern_key(list(pattern), name)
    assert config.rank_of(name) == pattern.get(key, 2)
    assert config.alpha_of(name) == pattern.get(key, 7)


def test_all_mistakes_of_a_config_are_reported_at_once() -> None:
    with pytest.raises(Mistake) as caught:
        LoRAConfig(r=0, alpha=-1, dropout=1, targets=())
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"r": True}, "r is True; it must be a whole number"),
        ({"r": 2.0}, "r is 2.0; it must be a whole number"),
        ({"alpha": math.inf}, "alpha is inf; it must be finite"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"alpha": "16"}, "alpha is the text '16'"),
        ({"dropout": "0"}, "dropout is the text '0'"),
        ({"dropout": math.nan}, "dropout is nan"),
        ({"targets": 3}, "targets holds 3; each value must be text that is not empty"),
        ({"targets": [""]}, "targets holds ''; each value must be text"),
        ({"targets": ""}, "targets holds ''; each value must be text"),
        ({"targets": ()}, "it must not be empty"),
        ({"modules_to_save": (1,)}, "modules_to_save holds 1"),
        ({"rank_pattern": {"a": 0}}, "rank_pattern holds 0 for a; it must be at least 1"),
        ({"rank_pattern": {"a": 1.5}}, "rank_pattern holds 1.5 for a; it must be a whole number"),
        ({"alpha_pattern": {"a": -1}}, "alpha_pattern holds -1 for a; it must be above 0"),
        ({"alpha_pattern": {"(": 1}}, r"alpha_pattern: key '\(' is not a valid regular expression"),
        ({"rank_pattern": ["a"]}, "it must be a mapping"),
        ({"rank": 3}, "unknown field 'rank'"),
    ],
)
def test_each_mistake_is_one_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message) as caught:
        LoRAConfig(**values)
    assert len(caught.value.problems) == 1


def test_a_config_can_be_copied_with_its_model() -> None:
    config = LoRAConfig(rank_pattern={"query": 3}, modules_to_save="classifier")
    assert copy.deepcopy(config) == config
    assert config.modules_to_save == ("classifier",)


def test_a_changed_copy_is_checked_as_well() -> None:
    config = LoRAConfig(r=4, targets="query")
    assert config.replace(alpha=8) == LoRAConfig(r=4, alpha=8, targets=("query",))
    with pytest.raises(Mistake, match="r is 0"):
        config.replace(r=0)


def test_patterns_may_be_any_mapping() -> None:
    assert LoRAConfig(rank_pattern=MappingProxyType({"query": 3})).rank_of("layer.0.query") == 3


@pytest.mark.parametrize("module", ["lowland.lora", "lowland.lora.config", "lowland.lora.plus"])
def test_the_config_is_imported_without_torch(module: str) -> None:
    heavy = "{'torch', 'transformers', 'peft'}"
    program = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_every_public_name_is_there() -> None:
    assert "LoRAConfig" in lowland.lora.__all__
    for name in lowland.lora.__all__:
        assert getattr(lowland.lora, name).__name__ == name
