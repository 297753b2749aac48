"""Prices of a model's tokens, from a table that the user provides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.yaml_files import read_yaml

FORM = "expected lines such as 'anthropic/claude-x: {input: 3, output: 15}', US dollars per million tokens"


@dataclass(frozen=True)
class Price:
    """Price of a model, in US dollars per million tokens."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """Return the price of these numbers of tokens in US dollars."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


def read_prices(path: Path) -> dict[str, Price]:
    """Return the prices in a YAML or JSON file with lines `model: {input: 3, output: 15}`.

    Raises:
        Mistake: if the file cannot be read, or a price in it is not valid.
    """
    table = read_yaml(path, "price table")
    if not isinstance(table, dict) or not table:
        raise Mistake(f"{path} is not a price table; {FORM}")
    problems = [
        f"{path}: the price of {model} is {price}; {FORM}"
        for model, price in table.items()
        if not _is_price(price)
    ]
    if problems:
        raise Mistake(*problems)
    return {
        str(model): Price(float(price["input"]), float(price["output"])) for model, price in table.items()
    }


def price_of(model: str, prices: Mapping[str, Price]) -> Price:
    """Return the price of a model.

    Raises:
        Mistake: if the table does not contain the model.
    """
    if model not in prices:
        raise Mistake(f"the price table does not contain the model: {one_of('model', model, tuple(prices))}")
    return prices[model]


def _is_price(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"input", "output"}:
        return False
    return all(
        isinstance(dollars, int | float) and not isinstance(dollars, bool) and 0 <= dollars < math.inf
        for dollars in value.values()
    )
