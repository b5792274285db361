"""Descriptors of compounds: columns of a table, or computed from its SMILES."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.retention import (
    EvaluateConfig,
    FitConfig,
    PredictConfig,
    PrepareConfig,
    evaluate,
    fit,
    predict,
    prepare,
)
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


def test_compounds_are_called_by_their_names_where_the_rows_were_prepared(table, tmp_path):
    """A laboratory has names: ids are what preparation made of them, new ones batch by batch."""
    smiles = pl.read_csv(table / "compounds.csv")
    rows = pl.read_csv(table / "rows.csv").with_columns(
        compound=pl.format("compound {}", pl.col("comp_id"))
    )
    structures = smiles.select(SMILES="SMILES", Compound=pl.format(" compound {} ", "comp_id"))
    structures.write_csv(tmp_path / "structures.csv")
    late = pl.col("comp_id").is_in([2, 12])
    rows.filter(~late).drop("comp_id").write_csv(tmp_path / "raw.csv")
    rows.drop("comp_id").write_csv(tmp_path / "later.csv")
    raw = {"species_raw": "species", "cluster_raw": "species_cluster", "compound_col": "compound"}
    for name, like in (("raw", None), ("later", "raw")):
        config = PrepareConfig(
            data=[str(tmp_path / f"{name}.csv")], like=like and str(tmp_path / like), **raw
        )
        prepare(config).write(config.open_folder(tmp_path / name))
    train, new = (str(tmp_path / name / "rows.parquet") for name in ("raw", "later"))
    compounds = str(tmp_path / "structures.csv")
    config = FitConfig(data=[train], descriptors=compounds, structure="fixed", flag_threshold=None)
    fit(config).write(config.open_folder(tmp_path / "fit"))
    ids = pl.read_csv(tmp_path / "later" / "compounds.csv").rename({"compound_raw": "Compound"})
    by_id = ids.join(structures.with_columns(pl.col("Compound").str.strip_chars()), on="Compound")
    by_id.select("comp_id", "SMILES").write_csv(tmp_path / "by_id.csv")

    def predicted(descriptors):
        path = str(tmp_path / f"{Path(descriptors or 'none').stem}.parquet")
        done = predict(PredictConfig(artefact=str(tmp_path / "fit"), data=[new], output=path,
                                     descriptors=descriptors))  # fmt: skip
        return pl.read_parquet(path), [n for n in done.notes if "without descriptors" in n]

    found, said = predicted(compounds)
    assert found.equals(predicted(str(tmp_path / "by_id.csv"))[0])
    assert not said
    known = found.filter(compound_raw="compound 12")
    # Carboxylic acids elute before the alcohols of as many carbons, which only structures tell.
    assert (known["rt"] < found.filter(compound_raw="compound 5")["rt"].max()).all()
    blind, said = predicted(None)
    assert "2 compounds that the training lacks: compound 12, compound 2" in said[0]
    # What is not known of a compound is as far off as compounds are from one another.
    spread = found.group_by("comp_id").agg(pl.col("rt").mean())["rt"].to_numpy().std()
    assert blind.filter(level="global")["rt_sd"].min() > 0.9 * spread
    # Those that are left out are found by their names, too.
    scores = evaluate(EvaluateConfig(
        artefacts=[str(tmp_path / "fit")], split_type="compound", cv={"folds": 2},
    ))  # fmt: skip
    assert scores.scored[0].common["rmse"][-1] < 0.5 * spread
