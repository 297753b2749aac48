"""The private names of inspect-ai that lowland needs: all of them in this file, and none elsewhere.

Private names may move between releases, which is why pyproject.toml pins the release.
"""

from __future__ import annotations

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.event import ModelEvent
from inspect_ai.log._samples import _active_model_event, sample_active
from inspect_ai.model._model import active_model

__all__ = ["PrerequisiteError", "active_event", "active_model", "http_retries"]


def http_retries() -> int:
    """Return how often the provider's client has repeated requests of the sample that is being solved."""
    active = sample_active()
    return 0 if active is None else active.http_retries


def active_event() -> ModelEvent | None:
    """Return the log's event of the request that is being sent."""
    return _active_model_event.get()
