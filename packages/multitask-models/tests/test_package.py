"""The package's front."""

import multitask_models
import pytest


@pytest.mark.core
def test_every_name_of_the_front_loads() -> None:
    for name in vars(multitask_models)["__all__"]:
        assert getattr(multitask_models, name) is not None
