"""Features beside Chemprop's own, by name and from files, to prediction."""

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, flag_names
from molpool_pipelines.fitting import TrainChempropConfig, train_chemprop
from molpool_pipelines.models import (
    Descriptors,
    FeatureFiles,
    PredictConfig,
    predict_table,
    read_descriptors,
)
from molpool_pipelines.studies import HPOChempropConfig
from pydantic import ValidationError
from rdkit import Chem

SMALL = {
    "page": False,
    "baselines": "none",
    "model": {"message_passing": {"hidden_size": 8}, "ffn": {"hidden_size": 8}},
    "training": {"epochs": 1, "accelerator": "cpu"},
    "data": {
        "target_columns": ["LogP", "QED"],
        "cache_dir": "none",
        "split_ratios": [0.4, 0.4, 0.2],
    },
}


def trained(demo_csv, folder, **changes):
    values = {**SMALL, "data_path": str(demo_csv), "save_dir": str(folder), **changes}
    return train_chemprop(TrainChempropConfig.model_validate(values))


def assert_predicted_again(run, table, output, **options):
    predict_table(
        PredictConfig(model_dir=str(run), data_path=str(table), output=str(output), **options)
    )
    again = pl.read_parquet(output)
    found = pl.read_parquet(run / "predictions.parquet")
    same = again[found["row"].cast(pl.Int64) - 1]
    np.testing.assert_allclose(same["LogP"], found["LogP"], rtol=1e-5)


@pytest.mark.slow
def test_descriptors_by_name_are_computed_again(demo_csv, tmp_path):
    run = trained(demo_csv, tmp_path / "run", features="maccs")
    assert_predicted_again(run, demo_csv, tmp_path / "out.parquet")


@pytest.mark.slow
def test_features_of_files_are_asked_for_again(demo_csv, tmp_path):
    rng, mols = np.random.default_rng(0), pl.read_csv(demo_csv)["SMILES"].to_list()
    mols = [Chem.MolFromSmiles(text) for text in mols]
    arrays = {
        "descriptors": [rng.normal(size=(len(mols), 3))],
        "atom_features": [rng.normal(size=(mol.GetNumAtoms(), 2)) for mol in mols],
        "bond_features": [rng.normal(size=(mol.GetNumBonds(), 1)) for mol in mols],
    }
    files = {f"{name}_path": str(tmp_path / f"{name}.npz") for name in arrays}
    for path, values in zip(files.values(), arrays.values(), strict=True):
        np.savez(path, *values)
    run = trained(
        demo_csv, tmp_path / "run", groups=[["LogP"], ["QED"]], sharing="separate", **files
    )
    output = tmp_path / "out.parquet"
    assert_predicted_again(run, demo_csv, output, **files)
    without = PredictConfig(
        model_dir=str(run), data_path=str(demo_csv), output=str(output), overwrite=True
    )
    with pytest.raises(InputError, match=r"expected 3 descriptors.* found none"):
        predict_table(without)
    some = {key: path for key, path in files.items() if key != "bond_features_path"}
    with pytest.raises(InputError, match=r"expected 1 features of each bond.* found none"):
        predict_table(without.model_copy(update=some))
    np.savez(files["descriptors_path"], np.zeros((2, 3)))
    with pytest.raises(InputError, match="a row for each row of the table"):
        predict_table(without.model_copy(update=files))


def test_every_command_that_trains_chemprop_takes_them():
    for config in (TrainChempropConfig, HPOChempropConfig):
        flags = {"--features", "--molecule-featurizers", "--descriptors-path"}
        flags |= {"--atom-features-path", "--bond-features-path"}
        assert flags <= set(flag_names(config))


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(ValidationError, match="expected none beside features"):
        TrainChempropConfig(features="maccs", descriptors_path="x.npz")
    with pytest.raises(ValidationError, match="expected none beside data"):
        TrainChempropConfig(bond_features_path="x.npz", data={"structure": "parent"})
    with pytest.raises(InputError, match="descriptors_path"):
        read_descriptors(str(tmp_path / "none.npz"))
    np.save(tmp_path / "flat.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        read_descriptors(str(tmp_path / "flat.npy"))
    np.savez(tmp_path / "atoms.npz", np.zeros((2, 3)), np.zeros(3))
    wrong = TrainChempropConfig(atom_features_path=str(tmp_path / "atoms.npz"))
    with pytest.raises(InputError, match=r"atom_features_path.* shape \(3,\) of row 2"):
        FeatureFiles.read(wrong)
    assert Descriptors(files=FeatureFiles(np.zeros((1, 2), dtype=np.float32))).signature is None
