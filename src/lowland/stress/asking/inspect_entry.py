"""Entry point of Inspect: two tasks, and the provider of the model lowland/retriever."""

from lowland.stress.asking.evals import messy, multilingual
from lowland.stress.asking.retriever_api import LowlandAPI

__all__ = ["LowlandAPI", "messy", "multilingual"]
