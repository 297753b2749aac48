"""Configs, and PEFT's rule for patterns."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from peft.utils.other import get_pattern_key

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
def test_patterns_mean_what_they_mean_to_peft(name: str, first: str, second: str) -> None:
    pattern = {first: 3, second: 5}
    config = LoRAConfig(r=2, alpha=7, rank_pattern=pattern, alpha_pattern=pattern)
    key = get_pattern_key(list(pattern), name)
    assert config.rank_of(name) == pattern.get(key, 2)
    assert config.alpha_of(name) == pattern.get(key, 7)


def test_all_mistakes_of_a_config_are_told_at_once() -> None:
    with pytest.raises(Mistake) as caught:
        LoRAConfig(r=0, alpha=-1, dropout=1, targets=())
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"r": True}, "r is True; it must be a whole number"),
        ({"r": 2.0}, "r is 2.0; it must be a whole number"),
        ({"alpha": math.inf}, "alpha is inf; it must be a finite number"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"alpha": "16"}, "alpha is '16'"),
        ({"dropout": "0"}, "dropout is '0'"),
        ({"dropout": math.nan}, "dropout is nan"),
        ({"targets": 3}, "targets is 3; it must be names of layers"),
        ({"targets": [""]}, "it must be names of layers"),
        ({"targets": ""}, "targets is empty"),
        ({"modules_to_save": (1,)}, "modules_to_save is"),
        ({"rank_pattern": {"a": 0}}, "rank_pattern gives a 0; it must be a whole number"),
        ({"rank_pattern": {"a": 1.5}}, "rank_pattern gives a 1.5"),
        ({"alpha_pattern": {"a": -1}}, "alpha_pattern gives a -1; it must be a finite number"),
        ({"alpha_pattern": {"(": 1}}, r"'\(' in alpha_pattern is no name and no regular expression"),
        ({"rank_pattern": ["a"]}, "it must map names of layers to numbers"),
    ],
)
def test_each_mistake_is_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Mistake, match=words) as caught:
        LoRAConfig(**given)
    assert len(caught.value.problems) == 1


def test_a_config_can_be_copied_with_its_model() -> None:
    config = LoRAConfig(rank_pattern={"query": 3}, modules_to_save="classifier")
    assert copy.deepcopy(config) == config
    assert config.modules_to_save == ("classifier",)
