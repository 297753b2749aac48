"""Connection to the Hugging Face hub: tested once, so that an offline machine does not wait for every retry."""

from __future__ import annotations

import functools

from huggingface_hub import constants, get_session

from lowland.ground.mistakes import reason_of


@functools.cache
def hub_reachable() -> bool:
    """Return whether the hub can be reached; False under HF_HUB_OFFLINE. Its cache can be used in any case."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:
        return False
    return True


def reason_of_hub(error: Exception) -> str:
    """Return why the hub's libraries failed, for a sentence in brackets; offline, their own words are misleading."""
    if hub_reachable():
        return reason_of(error)[:200]
    return "the hub cannot be reached, and its cache on this machine does not hold all files"
