"""What conformers bring is the paired difference of two models on the same bags."""

import numpy as np
from mil_attn import BagData
from molpool_pipelines.fitting._without_3d import differences, without_instances
from sklearn.metrics import mean_absolute_error, roc_auc_score


def test_a_model_that_is_better_with_conformers_is_told_from_one_that_is_not():
    rng = np.random.default_rng(0)
    y = (rng.random((300, 2)) < 0.5).astype(float)
    noise = rng.normal(size=y.shape)
    with_3d, flat = y + 0.5 * noise, y + np.array([2.0, 0.5]) * noise
    y[:9, 0] = np.nan
    ids = [f"m{i}" for i in range(300)]
    first, second = differences(y, np.stack([with_3d, flat]), ["a", "b"], "roc_auc", ids)
    ours, theirs = (roc_auc_score(y[9:, 0], p[9:, 0]) for p in (with_3d, flat))
    assert first.startswith(f"a: AUC {ours:.3f} with conformers, {theirs:.3f} from 2D features")
    assert first.endswith("they help.")
    assert "(+0.000, +0.000 to +0.000)" in second
    assert second.endswith("they are not shown to help.")


def test_smaller_errors_are_better():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(100, 1))
    both = np.stack([y + 0.1, y + 0.5 * rng.normal(size=y.shape)])
    (said,) = differences(y, both, ["a"], "mae", [f"m{i}" for i in range(100)])
    flat = mean_absolute_error(y, both[1])
    assert said.startswith(f"a: MAE 0.100 with conformers, {flat:.3f}")
    assert said.endswith("they help.")


def test_a_task_without_a_class_to_tell_apart_is_left_out():
    both = np.zeros((2, 5, 1))
    assert differences(np.zeros((5, 1)), both, ["a"], "roc_auc", list("abcde")) == []


def test_bags_lose_instances_alone():
    data = BagData(
        ["a", "b"],
        np.ones((3, 2), dtype=np.float32),
        np.array([0, 1, 3]),
        x2d=np.ones((2, 4), dtype=np.float32),
        instance_ids=["1", "2", "3"],
    )
    flat = without_instances(data)
    assert flat.instances is None
    assert flat.ids == data.ids
    assert flat.x2d is not None
    assert flat.x2d.shape == (2, 4)
