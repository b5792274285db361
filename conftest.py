"""Tests keep what they compute out of the user's cache, and are not timed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # on a busy machine any example may be slow
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point ``cache_dir: auto``, also of the processes that tests start, to a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLPOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
