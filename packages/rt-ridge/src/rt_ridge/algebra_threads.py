"""Threads of the linear algebra library, as many as the matrices are worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

WORTH_THREADS = 1_000
"""Dense coefficients from which on one product is worth sharing.

At 261 of them two threads that wait for each other take twice the time of one, and thrice where
two chains run side by side.
"""


@contextmanager
def matched_threads(n_dense: int) -> Iterator[None]:
    """Let the linear algebra library use one thread where systems are small.

    Parameters
    ----------
    n_dense : int
        Coefficients of the dense system.
    """
    if n_dense >= WORTH_THREADS:
        yield
        return
    with threadpool_limits(limits=1, user_api="blas"):
        yield
