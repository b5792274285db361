"""Weights of calibration rows toward new molecules, against densities that are known."""

import numpy as np
import pytest
from molpool_common import InputError
from molpool_pipelines.models import Calibration, ShiftModel

SMILES = ["C" * (1 + i % 30) + ("O" if i % 2 else "N") for i in range(2000)]


def drawn(seed=0):
    """Distances of 1 500 calibration rows, uniform, and of 500 new ones, denser where far."""
    rng = np.random.default_rng(seed)
    return rng.uniform(size=1500), np.sqrt(rng.uniform(size=500))


def test_ratios_are_those_of_the_densities():
    known, new = drawn()
    shift = ShiftModel("similarity", SMILES[:1500], known, SMILES[1500:], new)
    # p(new) / p(known) = 2 d; ends are cut at 1/3 and 3, and ranges are eighths of both sets.
    middle = (known > 0.3) & (known < 0.95)
    # About 60 new molecules in a range: 13 % of noise beside its width.
    assert np.abs(np.log(shift.known[middle] / (2 * known[middle]))).mean() < 0.2
    assert shift.known.min() >= 1 / 3
    assert 1000 < shift.of([], np.empty(0)).effective < 1500


@pytest.mark.parametrize("kind", ["similarity", "structure"])
def test_molecules_of_one_kind_weigh_the_same(kind):
    rng = np.random.default_rng(1)
    distance = rng.uniform(size=2000)
    smiles = list(rng.permutation(SMILES))
    shift = ShiftModel(kind, smiles[:1000], distance[:1000], smiles[1000:], distance[1000:])
    assert np.abs(np.log(shift.known)).mean() < 0.25
    new = shift.of(smiles[1000:1010], distance[1000:1010])
    assert new.new.shape == (10,)
    one = shift.of(smiles[1003:1004], distance[1003:1004])
    assert one.new[0] == pytest.approx(new.new[3])


def test_weighted_intervals_cover_where_plain_ones_do_not():
    rng = np.random.default_rng(2)
    known, new = drawn(3)
    y, new_y = rng.normal(scale=known)[:, None], rng.normal(scale=new)[:, None]
    calibration = Calibration.fit(y, 0 * y, ["regression"])
    shift = ShiftModel("similarity", SMILES[:1500], known, SMILES[1500:], new)

    def covered(given):
        lower, upper = calibration.ends(0 * new_y, 0.8, shift=given)
        return ((lower <= new_y) & (new_y <= upper)).mean()

    # Errors grow with distance, and so do the new molecules: .72 without weights.
    assert covered(None) < 0.75
    # 500 rows: a standard deviation of .018, and .010 of the calibration.
    assert covered(shift.of(SMILES[1500:], new)) == pytest.approx(0.8, abs=0.05)


def test_a_handful_of_molecules_is_refused():
    with pytest.raises(InputError, match="shift"):
        ShiftModel("similarity", SMILES[:50], np.ones(50), SMILES[:3], np.ones(3))
