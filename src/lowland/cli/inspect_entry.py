"""Entry point of Inspect: two tasks, the provider of lowland's own models, and a metric that compares with a log."""

from lowland.evidence.inspect_metric import paired_difference
from lowland.stress.asking.inspect_entry import LowlandAPI, messy, multilingual

__all__ = ["LowlandAPI", "messy", "multilingual", "paired_difference"]
