import logging
import signal

import pytest
import torch
from molpool_common.training import interruptible, quiet, seed_step


def test_a_place_in_training_has_its_own_draws_and_the_same_each_time() -> None:
    def draws(seed: int, *place: int) -> list[float]:
        seed_step(seed, *place)
        return [float(x) for x in torch.rand(3)]

    with torch.random.fork_rng(devices=[]):
        assert draws(0, 1, 2) == draws(0, 1, 2)
        every = [draws(0, 1, 2), draws(0, 2, 1), draws(1, 1, 2), draws(0, 1)]
    assert all(a != b for i, a in enumerate(every) for b in every[:i])


def test_an_exit_of_lightnings_is_an_interruption_and_ctrl_c_is_heeded_again() -> None:
    def ends_as_lightning_does() -> None:
        with interruptible():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise SystemExit(1)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ends_as_lightning_does()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_lightnings_advice_is_silent_inside_alone() -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    with quiet():
        assert not logger.isEnabledFor(logging.INFO)
        assert logger.isEnabledFor(logging.WARNING)
    assert logger.level == before
