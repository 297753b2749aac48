"""Whether the Hugging Face hub answers: asked once, so that an offline machine does not wait for every retry."""

from __future__ import annotations

import functools

from huggingface_hub import constants, get_session


@functools.cache
def hub_reachable() -> bool:
    """Whether the hub can be reached now (False under HF_HUB_OFFLINE); what lies in its cache can be used anyway."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:
        return False
    return True
