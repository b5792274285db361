"""What models see: a salt as given, or as its base; new molecules as those that trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from chemprop_multitask import ChempropConfig, ChempropError, ChempropModel, Ensemble
from mil_attn import BagData, MILDataConfig, MoleculeFeaturesConfig
from molecule_features import featurize
from molpool_common import structures_of, validate_values
from molpool_pipelines.fitting import TrainTabularConfig, train_tabular
from molpool_pipelines.models import (
    Blend,
    MemberSettings,
    Molecules,
    PredictConfig,
    TabularModel,
    build_member,
    fit_member,
    load_model,
    predict_table,
)
from molpool_pipelines.runs import read_run_predictions
from molpool_pipelines.tables import DataConfig, load_molecules

BASES = ["NCc1ccccc1", "NCCc1ccccc1", "CNCC", "NCCCC", "C1CCNCC1", "c1ccncc1", "CN1CCCC1", "CCN"]
SALTS = [f"{base}.OC(=O)C(O)C(O)C(O)=O" for base in BASES]


def test_structures_are_those_of_the_bases() -> None:
    assert structures_of(SALTS, "given") == SALTS
    assert structures_of(SALTS, "parent") == structures_of([*BASES], "parent")
    # As one text, however it is written; what is no molecule stays.
    assert structures_of(["C(C)N", "no molecule", ""], "parent") == ["CCN", "no molecule", ""]
    assert structures_of(["OC1=CC=CC=N1"], "tautomer") == structures_of(
        ["O=c1cccc[nH]1"], "tautomer"
    )


@pytest.mark.parametrize("standardize", ["none", "parent", "tautomer"])
@pytest.mark.parametrize("structure", ["given", "parent"])
def test_a_table_has_what_models_see_whatever_molecules_are_compared_by(
    standardize: str, structure: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    y = np.arange(16.0)
    pl.DataFrame({"SMILES": [*BASES, *SALTS], "y": y}).write_csv(path)
    values = {"target_columns": ["y"], "structure": structure, "standardize": standardize}
    table = load_molecules(validate_values(DataConfig, values), str(path))
    assert table.smiles == [*BASES, *SALTS]
    assert table.modelled == (
        table.smiles if structure == "given" else structures_of(table.smiles, "parent")
    )
    kept = table.take(np.array([9, 1]))
    assert kept.modelled == [table.modelled[9], table.modelled[1]]
    together = len(set(table.groups)) == len(BASES)
    assert together == (standardize != "none")


def network(structure: str) -> ChempropModel:
    config = ChempropConfig.model_validate(
        {"model": {"message_passing": {"hidden_size": 8}, "ffn": {"hidden_size": 8}}}
    )
    model = ChempropModel.from_config(config, task_names=["y"], seed=1)
    model.structure = structure  # type: ignore[assignment]
    return model


def features_model(structure: str) -> TabularModel:
    found = featurize(structures_of(BASES, structure), "morgan_count", cache=None)  # type: ignore[arg-type]
    member = build_member("neighbours", MemberSettings(found.blocks, ("regression",)))
    fit_member(member, Molecules(BASES, found.values), np.arange(8.0)[:, None], censoring=None)
    blend = Blend(("neighbours",), (member,), np.ones((1, 1)), (False,))
    return TabularModel(
        blend, ("y",), ("regression",), found.signature, cache="none",
        structure=structure,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("make", [network, features_model])
@pytest.mark.parametrize("structure", ["given", "parent"])
def test_a_saved_model_sees_new_molecules_as_it_was_trained(
    make: Any, structure: str, tmp_path: Path
) -> None:
    place = tmp_path / ("model.pt" if make is network else "model")
    make(structure).save(place)
    loaded = load_model(place)

    def predicted(smiles: Sequence[str]) -> Any:
        return loaded.predict(smiles, 4).mean

    same = np.array_equal(predicted(SALTS), predicted(BASES))
    assert same == (structure == "parent")


def test_members_of_an_ensemble_see_the_same() -> None:
    with pytest.raises(ChempropError, match=r"see the structure 'given'; member 1 sees 'parent'"):
        Ensemble([network("given"), network("parent")])
    assert Ensemble([network("parent")] * 2).structure == "parent"


@pytest.mark.parametrize("structure", ["given", "parent"])
def test_features_of_bags_are_of_what_is_seen(structure: Any) -> None:
    config = MoleculeFeaturesConfig.model_validate(
        {"descriptors_3d": [], "descriptors_2d": {"descriptors": False, "morgan_bits": 64}}
    )
    of = [
        BagData.from_smiles(smiles, features=config, structure=structure)
        for smiles in (BASES, SALTS)
    ]
    one, other = (bags.x2d for bags in of)
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other) == (structure == "parent")
    assert of[1].smiles == tuple(SALTS), "as given"


def test_bags_of_tables_have_no_structure_to_choose() -> None:
    with pytest.raises(ValueError, match="structure: expected with kind smiles, found with bags"):
        MILDataConfig(kind="bags", structure="parent")


@pytest.mark.slow
def test_a_run_on_parents_predicts_salts_as_their_bases(tmp_path: Path) -> None:
    bases = [a + "C" * n + b for a in ("N", "NC(C)", "N1CC1") for n in range(1, 11) for b in "OF"]
    smiles = [text + ".Cl" * (i % 2) for i, text in enumerate(bases)]
    path = tmp_path / "t.csv"
    pl.DataFrame({"SMILES": smiles, "y": [float(len(b)) for b in bases]}).write_csv(path)
    other = tmp_path / "other.csv"
    pl.DataFrame({"SMILES": [*bases, *(f"{b}.Cl" for b in bases)]}).write_csv(other)
    config = TrainTabularConfig.model_validate(
        {
            "data_path": str(path), "save_dir": str(tmp_path / "run"), "baselines": "none",
            "model": ["lightgbm"], "features": "morgan_count", "folds": 2,
            "data": {"target_columns": ["y"], "structure": "parent", "predict_path": str(other)},
        }
    )  # fmt: skip
    run = train_tabular(config)
    out = tmp_path / "out.parquet"
    predict_table(PredictConfig(model_dir=str(run), data_path=str(other), output=str(out)))
    found = read_run_predictions(tmp_path, out.name)["y predicted"].to_numpy()
    np.testing.assert_array_equal(found[: len(bases)], found[len(bases) :])
    unseen = pl.read_parquet(run / "predictions_other.parquet")["y"].to_numpy()
    np.testing.assert_array_equal(unseen, found)
    assert "Models see the parent" in (run / "report.html").read_text()
