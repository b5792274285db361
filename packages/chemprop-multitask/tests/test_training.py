"""What validation predicted is what the model predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chemprop_multitask import ChempropModel, MoleculeData, ValidationPredictions


@pytest.mark.slow
@pytest.mark.parametrize("kinds", ["rr", "cc", "rc"])
def test_validation_predictions_are_those_of_the_model(
    settings: Any, smiles: list[str], table: Any, classes: Any, kinds: str
) -> None:
    full = {"r": "regression", "c": "classification"}
    columns = {"r": table, "c": classes}
    targets = np.column_stack([columns[kind][:, t] for t, kind in enumerate(kinds)])
    data = MoleculeData(smiles, targets, task_names="ab")
    held_out = MoleculeData(smiles[:11], targets[:11], task_names="ab")
    model = ChempropModel.from_config(
        settings(epochs=1, patience=None),
        task_names="ab",
        task_types=[full[k] for k in kinds],  # type: ignore[misc]
    )
    seen = ValidationPredictions()
    model.fit(data, held_out, callbacks=[seen])  # the first epoch is the best, so its weights stay
    # The unit is scaled back in single precision here and there.
    np.testing.assert_allclose(seen.latest, model.predict(held_out), rtol=1e-5, atol=1e-6)
