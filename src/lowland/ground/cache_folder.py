"""Cache folder of lowland: for what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "LOWLAND_CACHE"
"""Environment variable that names the cache folder."""


def cache_folder() -> Path:
    """Return the cache folder: the one in LOWLAND_CACHE, else the operating system's usual place for a cache."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_cache_path("lowland")
