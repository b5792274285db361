"""How rows are drawn for networks on features."""

import numpy as np
import pytest
from molpool_common import InputError
from molpool_pipelines.fitting import TrainTabularConfig
from molpool_pipelines.fitting._draws import check_draws, epoch_sampler
from multitask_models import MultitaskMLP
from sampling_core import JointSamplingConfig

CURRICULUM = {
    "enabled": True,
    "task_oversampling": {"enabled": False},
    "curriculum": {"enabled": True, "phase_epochs": 2},
}


def test_phases_follow_the_epoch_of_each_network():
    y = np.arange(300.0)[:, None]
    quality = ["high", "medium", "low"] * 100
    config = JointSamplingConfig.model_validate(CURRICULUM)
    sampler = epoch_sampler(config, y, quality, epochs=10)
    assert sampler is not None
    shares = []
    # The second network's epochs are numbered from 10.
    for epoch in (0, 3, 9, 10, 13):
        sampler.set_epoch(epoch)
        rows = np.fromiter(sampler, dtype=int)
        shares.append(np.bincount(rows % 3, minlength=3) / len(rows))
    # Weights of the phases warmup, expand and polish; 300 draws, four standard deviations are .12.
    for share, expected in zip(
        shares, [(0.9, 0.1, 0), (0.6, 0.3, 0.1), (0.7, 0.2, 0.1)] * 2, strict=False
    ):
        np.testing.assert_allclose(share, expected, atol=0.12)
    assert shares[0][2] == shares[3][2] == 0


def test_a_network_learns_the_rows_that_it_draws():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)).astype(np.float32)
    # A rare task of 8 labels, and a frequent one that says nothing of it.
    y = np.full((400, 2), np.nan)
    y[:, 0] = rng.normal(size=400)
    y[:8, 1] = 3 * X[:8, 0]
    config = JointSamplingConfig(enabled=True, task_oversampling={"alpha": 1.0})
    counts = np.zeros(400)
    sampler = epoch_sampler(config, y, None, epochs=20)
    assert sampler is not None
    for epoch in range(20):
        sampler.set_epoch(epoch)
        np.add.at(counts, np.fromiter(sampler, dtype=int), 1)
    assert counts[:8].mean() > 5 * counts[8:].mean()

    def error(sampler):
        model = MultitaskMLP(members=1, hidden=32, epochs=20, task_power=0.0, dropout=0.0)
        fitted = model.fit(X, y, sampler=sampler).predict(X[:8])
        return np.abs(fitted[:, 1] - y[:8, 1]).mean()

    assert error(sampler) < 0.8 * error(None)


def test_off_is_no_sampler():
    assert epoch_sampler(JointSamplingConfig(), np.ones((3, 1)), None, epochs=3) is None


@pytest.mark.parametrize(
    ("joint", "models", "key"),
    [
        ({"enabled": True}, ["gp"], "joint_sampling:"),
        ({"enabled": True, "num_samples": 9}, ["mlp"], "num_samples"),
        ({**CURRICULUM, "curriculum": {"enabled": True}}, ["mlp"], "phase_epochs"),
        (
            {
                **CURRICULUM,
                "curriculum": {"enabled": True, "phase_epochs": 2, "strategy": "weighted"},
            },
            ["mlp"],
            "strategy",
        ),
    ],
)
def test_what_networks_cannot_draw_by_is_refused(joint, models, key):
    config = TrainTabularConfig(joint_sampling=joint, model=models)
    with pytest.raises(InputError, match=key):
        check_draws(config.joint_sampling, config.model)
