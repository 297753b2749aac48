"""Limit of a model's requests: none is repeated or continued unless the budget allows it, whoever sends it.

Three parties send a question more than once: Inspect after an error, the provider's own client after an error, and a
provider's class in Inspect that continues an unfinished reply. The first asks `Model.should_retry`; what the other two
send passes the provider's hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from lowland.stress.asking.budget import Budget, Stopped
from lowland.stress.asking.inspect_internals import before_each_request, http_hooks, http_retries

if TYPE_CHECKING:
    from inspect_ai.model import Model

_DECIDED: ContextVar[list[object]] = ContextVar("decided")
"""Repetitions of the question that is being asked on which `limit_repetitions` has decided."""


def limit_repetitions(model: Model, budget: Budget) -> None:
    """Let a question be sent again only while the budget allows it, and not by the provider's client.

    A repetition is counted before it is sent.

    Args:
        model: the model; it is changed in place.
        budget: counts the repetitions.
    """
    decide, send = model.should_retry, model.api.generate
    check, watched = _checker_of_requests(budget), None

    def should_retry(error: BaseException) -> bool:
        if not decide(error):
            return False
        _DECIDED.get().append(error)
        return budget.allow_repetition()

    async def generate(*arguments: Any, **options: Any) -> Any:
        nonlocal watched
        # Inspect may have made new ones
        client, hooks = getattr(model.api, "client", None), http_hooks(model.api)
        if getattr(client, "max_retries", None):
            client.max_retries = 0  # type: ignore[union-attr]
        if hooks is not None and hooks is not watched:
            before_each_request(hooks, check)
            watched = hooks
        return await send(*arguments, **options)

    model.should_retry = should_retry  # type: ignore[assignment, method-assign]
    model.api.generate = generate  # type: ignore[method-assign]


@contextmanager
def counting_repetitions(budget: Budget) -> Iterator[None]:
    """Count repetitions of the question that is asked in the block, afterwards, if nothing could decide on them."""
    before, decided = http_retries(), _DECIDED.set([])
    try:
        yield
    finally:
        budget.count_retries(max(0, http_retries() - before - len(_DECIDED.get())))
        _DECIDED.reset(decided)


def _checker_of_requests(budget: Budget) -> Callable[[str], None]:
    """Return a function that takes the id of each request, and raises `Stopped` if it may not be sent once more."""
    sent: set[str] = set()

    def check(request_id: str) -> None:
        if request_id not in sent:
            sent.add(request_id)
            return
        _DECIDED.get().append(request_id)
        if not budget.allow_repetition():
            raise Stopped(str(budget.reason))

    return check
