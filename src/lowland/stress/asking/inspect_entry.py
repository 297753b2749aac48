"""Entries of Inspect's registry for stress tests: two tasks, and the provider of lowland's own models."""

from lowland.stress.asking.evals import messy, multilingual
from lowland.stress.asking.provider import LowlandAPI

__all__ = ["LowlandAPI", "messy", "multilingual"]
