"""Tests keep what they compute out of the user's cache, are not timed, and run on two cores."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # on a busy machine any example may be slow
settings.load_profile("untimed")

_modules = 0
"""Modules that had been imported when garbage was last looked for among them."""

# A process a core, so a thread a process, also of the commands that tests start: threads beyond the
# cores wait for one another. Read when the libraries load, which is after this.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point ``cache_dir: auto``, also of the processes that tests start, to a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLPOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def no_garbage_in_libraries() -> None:
    """Keep what was imported out of collections, which some libraries start at each call."""
    global _modules
    if len(sys.modules) > _modules + 100:
        gc.collect()
        gc.freeze()
        _modules = len(sys.modules)


def pytest_unconfigure() -> None:
    """Let libraries take themselves down at exit."""
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a folder in one worker: they share what its fixtures trained."""
    # Not by marks of groups, which pytest-xdist 3.8 loses with the names of tests in pytest 9.2.
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class LoadFolderScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            parts = nodeid.split("::")[0].split("/")
            depth = 4 if parts[:2] == ["packages", "pipelines"] else 3
            return "/".join(parts[:depth])

    return LoadFolderScheduling(config, log)
