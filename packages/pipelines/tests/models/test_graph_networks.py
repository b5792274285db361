"""Chemprop networks beside models on features: groups, limits, what is left to others, files."""

import numpy as np
import pytest
from chemprop_multitask import ChempropConfig, ChempropModel, SeparateModels
from molpool_common import InputError
from molpool_pipelines.models import GraphNetworks

SMILES = ["C" * n + end for n in range(1, 13) for end in ("", "O", "N", "Cl")]
TASKS = ("length", "twice", "chlorine", "constant")
KINDS = ("regression", "regression", "classification", "regression")


def config(**training):
    return ChempropConfig.model_validate(
        {
            "model": {"message_passing": {"hidden_size": 16}, "ffn": {"hidden_size": 16}},
            "training": {"epochs": 2, "batch_size": 16, "loss": "mae", **training},
        }
    )


def labels():
    length = np.array([float(len(s)) for s in SMILES])
    chlorine = np.array([float("Cl" in s) for s in SMILES])
    y = np.stack([length, -2 * length, chlorine, np.full(len(SMILES), 3.0)], axis=1)
    y[::3, 1] = np.nan
    return y


def networks(groups, **options):
    return GraphNetworks(config(), TASKS, KINDS, groups, cache="none", seed=1, **options)


@pytest.fixture(scope="module")
def fitted():
    made = networks([("length", "twice"), ("chlorine",), ("constant",)], n_networks=2)
    return made.fit(SMILES, labels())


def test_each_group_has_networks_of_its_own(fitted):
    parts = [[part.task_names for part in member.parts] for member in fitted.ensemble_.members]
    assert parts == [[("length", "twice"), ("chlorine",)]] * 2
    mean, sd = fitted.predict(SMILES)
    assert np.isfinite(mean).all()
    assert (mean[:, 3] == 3).all()  # its labels are all equal, which takes no network
    assert ((mean[:, 2] >= 0) & (mean[:, 2] <= 1)).all()
    assert (sd[:, :3] > 0).all()


def test_they_predict_the_same_after_they_were_saved(fitted, tmp_path):
    fitted.save(tmp_path / "networks")
    again = GraphNetworks.load(tmp_path / "networks")
    for ours, theirs in zip(again.predict(SMILES), fitted.predict(SMILES), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    file = tmp_path / "networks" / "member-000-group-000.pt"
    assert ChempropModel.load(file).task_names == ("length", "twice")
    (tmp_path / "networks" / "networks.json").write_text("{}")
    with pytest.raises(InputError, match="Chemprop networks"):
        GraphNetworks.load(tmp_path / "networks")


def test_tasks_in_no_group_are_left_to_others():
    made = networks([("twice",)]).fit(SMILES, labels())
    mean, sd = made.predict(SMILES[:5])
    assert np.isfinite(mean[:, 1]).all()
    assert np.isnan(mean[:, [0, 2, 3]]).all()
    assert np.isnan(sd).all()  # one network has no spread


def test_limits_are_learnt_and_predictions_end_there():
    y = labels()
    signs = np.zeros(y.shape, dtype=np.int8)
    signs[y[:, 0] > 9, 0] = 1  # the assay says "> 9" of the longer half
    y[:, 0] = np.minimum(y[:, 0], 9.0)
    made = networks([("length",)]).fit(SMILES, y, censoring=signs)
    assert made.limits_.ceiling[0] == 9
    assert made.predict(["C" * 40])[0][0, 0] <= 9


def test_features_reach_the_head_where_they_are_asked_for():
    X = np.random.default_rng(0).normal(size=(len(SMILES), 4)).astype(np.float32)
    made = networks([("length",)], with_features=True).fit(SMILES, labels(), features=X)
    one, other = made.predict(SMILES, X)[0], made.predict(SMILES, -X)[0]
    assert not np.allclose(one[:, 0], other[:, 0])


def test_held_out_molecules_choose_the_epochs_of_each_task():
    made = GraphNetworks(
        config(epochs=6, best_epoch="task", patience=None),
        TASKS,
        KINDS,
        [("length", "twice"), ("chlorine",)],
        val_share=0.25,
        cache="none",
    ).fit(SMILES, labels())
    assert made.ensemble_ is not None
    member = made.ensemble_.members[0]
    assert isinstance(member, SeparateModels)
    served = [name for part in member.parts for name in part.serves or ()]
    assert sorted(served) == ["chlorine", "length", "twice"]
    assert np.isfinite(made.predict(SMILES)[0][:, :3]).all()


def test_what_they_will_take_grows_with_the_epochs():
    short, long = (
        GraphNetworks(config(epochs=epochs), TASKS, KINDS, [TASKS], cache="none")
        for epochs in (1, 1000)
    )
    seconds = [made.expected_seconds(SMILES, labels()) for made in (short, long)]
    # A thousand times as many epochs; a loaded machine times either three times as long.
    assert 100 < seconds[1] / seconds[0] < 10_000
