"""Descriptors of compounds: columns of a table, or computed from its SMILES."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.retention import EvaluateConfig, FitConfig, PredictConfig, evaluate, fit
from molpool_pipelines.retention._compounds import OF_STRUCTURES, read_descriptors
from molpool_pipelines.retention._predict import predict_frames
from rdkit.Chem import MolFromSmiles
from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors, CalcTPSA

ALCOHOLS = ["C" * n + "O" for n in range(1, 11)]
ACIDS = ["C" * n + "C(=O)O" for n in range(1, 7)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Sixteen compounds in twelve runs, their times given by lipophilicity."""
    folder = tmp_path_factory.mktemp("structures")
    smiles = [*ALCOHOLS, *ACIDS]
    log_p = np.array([CalcCrippenDescriptors(MolFromSmiles(s))[0] for s in smiles])
    names = pl.DataFrame({"comp_id": range(len(smiles)), "SMILES": smiles})
    names.write_csv(folder / "compounds.csv")
    rng = np.random.default_rng(0)
    run, compound = np.repeat(np.arange(12), len(smiles)), np.tile(np.arange(len(smiles)), 12)
    drift = rng.normal(size=12)[run]
    pl.DataFrame(
        {
            "species": 0,
            "species_cluster": 0,
            "comp_id": compound,
            "run": [f"r{i:02d}" for i in run],
            "IS_1": drift,
            "rt": 8 + 2 * log_p[compound] + 0.3 * drift + 0.05 * rng.normal(size=len(run)),
        }
    ).write_csv(folder / "rows.csv")
    return folder


def test_descriptors_of_smiles_are_those_of_rdkit(table):
    found = read_descriptors(str(table / "compounds.csv"), "comp_id")
    assert set(found.names) < set(OF_STRUCTURES)
    assert "fr_halogen" not in found.names, "no compound has any"
    mol = MolFromSmiles(ALCOHOLS[3])
    expected = {"MolLogP": CalcCrippenDescriptors(mol)[0], "TPSA": CalcTPSA(mol)}
    row = dict(zip(found.names, found.values[3], strict=True))
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    # Those that a fit has, in its order, whatever varies in the table.
    some = read_descriptors(str(table / "compounds.csv"), "comp_id", ["TPSA", "fr_halogen"])
    assert some.names == ("TPSA", "fr_halogen")


def test_compounds_whose_structure_cannot_be_read_have_none(table, tmp_path):
    text = (table / "compounds.csv").read_text().replace(f"4,{ALCOHOLS[4]}\n", "4,C1CC\n")
    (tmp_path / "compounds.csv").write_text(text)
    assert 4 not in read_descriptors(str(tmp_path / "compounds.csv"), "comp_id").ids
    (tmp_path / "none.csv").write_text("comp_id,name\n1,a\n2,b\n")
    with pytest.raises(InputError, match="descriptor_cols"):
        read_descriptors(str(tmp_path / "none.csv"), "comp_id")


def test_compounds_never_measured_are_predicted_from_their_structures(table, tmp_path):
    rows = pl.read_csv(table / "rows.csv")
    unseen = [7, 12]
    rows.filter(~pl.col("comp_id").is_in(unseen)).write_csv(tmp_path / "train.csv")
    rows.filter(pl.col("comp_id").is_in(unseen)).write_csv(tmp_path / "new.csv")
    config = FitConfig(data=[str(tmp_path / "train.csv")], flag_threshold=None,
                       lambda_slopes="estimate", slope_head_mode="global",
                       descriptors=str(table / "compounds.csv"))  # fmt: skip
    fit(config).write(config.open_folder(tmp_path / "fit"))
    (found,) = predict_frames(PredictConfig(
        artefact=str(tmp_path / "fit"), data=[str(tmp_path / "new.csv")], level=[0.95],
        keep_cols=["rt"], descriptors=str(table / "compounds.csv"),
    ))  # fmt: skip
    columns = ("rt", "rt_measured", "rt_lower", "rt_upper")
    rt, measured, lower, upper = (found[c].cast(pl.Float64).to_numpy() for c in columns)
    spread = rows["rt"].to_numpy().std()
    assert np.abs(rt - measured).mean() < 0.25 * spread
    assert ((lower <= measured) & (measured <= upper)).mean() > 0.9
    scores = evaluate(EvaluateConfig(
        artefacts=[str(tmp_path / "fit")], split_type="compound", cv={"folds": 2},
    ))  # fmt: skip
    # The structures of the fit are those of the compounds held out, too.
    assert scores.scored[0].common["rmse"][-1] < 0.5 * spread
