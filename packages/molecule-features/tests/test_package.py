"""The package's front."""

import molecule_features
import pytest


@pytest.mark.core
def test_every_name_of_the_front_loads() -> None:
    for name in molecule_features.__all__:
        assert getattr(molecule_features, name) is not None
