"""The private names of inspect-ai that lowland needs: all of them in this file, and none elsewhere.

Private names may move between releases, which is why pyproject.toml pins the release.
"""

from __future__ import annotations

from collections.abc import Callable

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.event import ModelEvent
from inspect_ai.log._samples import _active_model_event, sample_active
from inspect_ai.model import ModelAPI
from inspect_ai.model._model import active_model
from inspect_ai.model._providers.util.hooks import HttpHooks

__all__ = [
    "PrerequisiteError",
    "active_event",
    "active_model",
    "before_each_request",
    "http_hooks",
    "http_retries",
]


def http_retries() -> int:
    """Return how often the provider's client has repeated requests of the sample that is being solved."""
    active = sample_active()
    return 0 if active is None else active.http_retries


def active_event() -> ModelEvent | None:
    """Return the log's event of the request that is being sent."""
    return _active_model_event.get()


def http_hooks(api: ModelAPI) -> HttpHooks | None:
    """Return what a provider calls around its HTTP requests; None if it has no such hooks."""
    return getattr(api, "_http_hooks", None)


def before_each_request(hooks: HttpHooks, check: Callable[[str], None]) -> None:
    """Call a function before each HTTP request of a provider; the request is not sent if the function raises.

    The function gets an id. All requests of one call of the provider's `generate` share it.
    """
    update = hooks.update_request_time

    def checked(request_id: str) -> None:
        check(request_id)
        update(request_id)

    hooks.update_request_time = checked  # type: ignore[method-assign]
