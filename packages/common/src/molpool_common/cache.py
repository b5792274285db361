"""Where things that can be fetched or computed again are kept."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "MOLPOOL_CACHE"
"""Environment variable with the folder that ``auto`` stands for."""


def user_cache() -> Path:
    """Return the folder ``molpool`` in the user's cache, which need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore a relative path.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "molpool"


def cache_folder(setting: str | None) -> Path | None:
    """Return the folder that a ``cache_dir`` setting stands for.

    Parameters
    ----------
    setting : str or None
        A folder; ``auto`` for the one that `MOLPOOL_CACHE` names or else ``molpool/molecules`` in
        the user's cache; ``none`` or None for no cache.
    """
    if setting is None or setting == "none":
        return None
    if setting != "auto":
        return Path(setting).expanduser()
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else user_cache() / "molecules"
