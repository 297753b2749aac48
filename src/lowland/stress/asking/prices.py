"""What a model's tokens cost, by a table that the user gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lowland.ground.fields import read_yaml
from lowland.ground.mistakes import Mistake, one_of


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """Dollars for so many tokens."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


def read_prices(path: Path) -> dict[str, Price]:
    """A user's price table, YAML or JSON: `model: {input: 3, output: 15}`, US dollars per million tokens.

    Raises:
        Mistake: if the file or a row of it cannot be used.
    """
    read = read_yaml(path, "price table")
    form = (
        "expected lines such as 'anthropic/claude-x: {input: 3, output: 15}', US dollars per million tokens"
    )
    if not isinstance(read, dict) or not read:
        raise Mistake(f"{path} is no price table; {form}")
    problems = [
        f"{path}: the price of {model} is {row}; {form}" for model, row in read.items() if _wrong(row)
    ]
    if problems:
        raise Mistake(*problems)
    return {str(model): Price(float(row["input"]), float(row["output"])) for model, row in read.items()}


def price_of(model: str, prices: Mapping[str, Price]) -> Price:
    """The price of a model.

    Raises:
        Mistake: if the table has none.
    """
    if model not in prices:
        raise Mistake(f"the price table has no such model: {one_of('model', model, tuple(prices))}")
    return prices[model]


def _wrong(row: object) -> bool:
    if not isinstance(row, dict) or set(row) != {"input", "output"}:
        return True
    return any(
        isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < math.inf
        for one in row.values()
    )
