from rt_ridge.hierarchy._linear_system import WORTH_THREADS, matched_threads
from threadpoolctl import threadpool_info, threadpool_limits


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_small_systems_take_one_thread_and_large_ones_what_was_allowed() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        with matched_threads(WORTH_THREADS - 1):
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        with matched_threads(WORTH_THREADS):
            assert blas_threads() == {2}
