"""Panels of measured retention times: the same compounds, or features, in many runs.

Every reader returns the long table that `rt_ridge` fits: run, species, species_cluster, comp_id,
the anchors' retention times as covariates, and rt in minutes. Anchors are never targets.

    python studies/retention_panels.py S9Site54 panels

writes a panel as molpool-rt reads tables, with names instead of numbers: every fifth run, drawn by
the name of the run, to panels/test.csv, the others to panels/train.csv. ``MOLPOOL_DATA`` names the
folder of the public tables, as for `molpool-data`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
from molpool_pipelines.datasets import locate

N_ANCHORS = 8
"""Anchors of a RepoRT panel, as in the published baselines."""

FEWEST = 100
"""Least compounds of a RepoRT setup: five of 70 report a handful, without any anchor."""


@dataclass(frozen=True)
class Panel:
    """Rows of one panel.

    Parameters
    ----------
    name : str
        What tables call it.
    rows : DataFrame
        Columns run, species, species_cluster, comp_id (all int64), the anchors, rt.
    anchors : tuple of str
        Names of the covariates.
    named : DataFrame
        The same rows with the names of run, species, species_cluster and compound, the anchors
        called IS_0, IS_1, ..., and rt.
    """

    name: str
    rows: pl.DataFrame
    anchors: tuple[str, ...]
    named: pl.DataFrame


def stoffel(share: float = 0.0) -> Panel:
    """Return 18 setups on one column: flow and temperature vary; species is the polarity.

    Parameters
    ----------
    share : float
        Keep the compounds in at least that share of the setups.
    """
    setups = _setups().filter(pl.col("setup").is_between(pl.lit("0187"), pl.lit("0204")))
    polarity = pl.col("name").str.split("_").list.last()
    return _report("Stoffel", setups.with_columns(species=polarity), share)


def bgc(polarity: str = "") -> Panel:
    """Return 70 setups on six columns: species is column and solvent, supercategory the column.

    Parameters
    ----------
    polarity : {"", "pos", "neg"}
        Keep the setups of one polarity only.
    """
    setups = _setups().filter(
        pl.col("setup").is_between(pl.lit("0236"), pl.lit("0259"))
        | pl.col("setup").is_between(pl.lit("0311"), pl.lit("0356")),
        pl.col("name").str.contains(f"_{polarity}"),
    )
    solvent = pl.when(pl.col("name").str.contains("_MeOH_")).then(pl.lit("MeOH"))
    species = pl.col("column_name") + " " + solvent.otherwise(pl.lit("ACN"))
    return _report(f"BGC {polarity}".strip(), setups.with_columns(species=species))


def _setups() -> pl.DataFrame:
    path = locate("repo-rt", "report_setups.tsv")
    return pl.read_csv(path, separator="\t", infer_schema_length=0)


def _report(
    name: str,
    setups: pl.DataFrame,
    share: float = 0.0,
    few: int = FEWEST,
    n_anchors: int = N_ANCHORS,
    lacking: int = 0,
) -> Panel:
    """Return a RepoRT panel; repeats of a structure in a setup are averaged.

    Parameters
    ----------
    name, setups
        Of the panel.
    share : float
        Keep the compounds in at least that share of the setups.
    few : int
        Least compounds of a setup.
    n_anchors, lacking : int
        How many anchors, and how many setups may lack one: these are left out.
    """
    path = locate("repo-rt", "report_rt_long.tsv.gz")
    times = pl.read_csv(path, separator="\t", schema_overrides={"setup": pl.String})
    mean = times.group_by(run="setup", compound="inchikey").agg(rt=pl.col("rt_min").mean())
    labels = setups.select("species", run="setup", species_cluster="column_name")
    long = mean.join(labels, on="run").filter(pl.len().over("run") >= few)
    long = long.filter(pl.len().over("compound") >= share * long["run"].n_unique())
    return _panel(name, long, _spread(long, n_anchors, lacking))


def _spread(long: pl.DataFrame, count: int, lacking: int = 0) -> list[str]:
    """Return compounds of (nearly) every run, evenly spread over their mean retention time."""
    found = long.group_by("compound").agg(pl.col("run").n_unique(), pl.col("rt").mean())
    least = long["run"].n_unique() - lacking
    always = found.filter(pl.col("run") >= least).sort("rt", "compound")
    places = np.linspace(0, always.height - 1, count).round().astype(int)
    return always["compound"].gather(places).to_list()


def peptides() -> Panel:
    """Return CPTAC study 9.1, site 54: 15 peptides in 45 runs whose drift is real; 5 anchors."""
    table = pl.read_csv(locate("peptide-msstatsqc", "msstatsqc_S9Site54.csv"))
    long = table.group_by(run="AcquiredTime", compound="Precursor").agg(
        rt=pl.col("BestRetentionTime").mean()
    )
    one = pl.lit("peptides")
    return _panel("S9Site54", long.with_columns(species=one, species_cluster=one), _spread(long, 5))


def folberth() -> Panel:
    """Return 35 reversed-phase methods on several columns, which are the species."""
    between = pl.col("setup").is_between(pl.lit("0067"), pl.lit("0101"))
    setups = _setups().filter(between).with_columns(species=pl.col("column_name"))
    packing = setups.with_columns(column_name=pl.col("column_usp_code"))
    return _report("Folberth RP", packing, few=20, n_anchors=4, lacking=2)


def kruve() -> Panel:
    """Return C18 columns at many pH values; species is column and solvent."""
    setups = _setups().filter(
        pl.col("setup").is_between(pl.lit("0266"), pl.lit("0293")),
        pl.col("column_name").str.contains("C18"),
    )
    organic = pl.when(pl.col("eluent_B_meoh").cast(pl.Float64) > 0)
    solvent = organic.then(pl.lit("MeOH")).otherwise(pl.lit("ACN"))
    species = pl.col("column_name") + " " + solvent
    return _report("Kruve C18", setups.with_columns(species=species), few=20, n_anchors=4)


def lipidr(method: str = "F1") -> Panel:
    """Return lipids of 58 serum samples, blanks and pools; 2 labelled standards are anchors."""
    table = pl.read_csv(locate("lipid-lipidr", f"lipidr_{method}_data.csv.gz"), null_values="#N/A")
    long = table.group_by(run="Replicate", compound="Peptide").agg(
        rt=pl.col("Retention Time").mean()
    )
    labelled = pl.col("compound").str.contains(r"\(?d[79]\)?")
    anchors = long.filter(labelled)["compound"].unique().sort().to_list()
    one = pl.lit("serum")
    long = long.drop_nulls("rt")
    return _panel("lipidr", long.with_columns(species=one, species_cluster=one), anchors)


def maxquant() -> Panel:
    """Return 15 runs of a peptide mixture as MaxQuant reports them; 5 anchors."""
    path = locate("peptide-maxquant", "msstatsconvert_maxquant_evidence.csv.gz")
    table = pl.read_csv(path, infer_schema_length=None, null_values="NA")
    # A peptide has several features in a run; the most intense is the peptide's own.
    long = table.group_by(run="Raw.file", compound="Modified.sequence").agg(
        rt=pl.col("Retention.time").sort_by("Intensity", nulls_last=False).last()
    )
    one = pl.lit("peptides")
    long = long.with_columns(species=one, species_cluster=one).drop_nulls("rt")
    return _panel("MaxQuant", long, _spread(long, 5))


def peptides_srm() -> Panel:
    """Return 9 peptides in 43 runs of a triple quadrupole, three of which are anchors."""
    table = pl.read_csv(locate("peptide-msstatsqc", "msstatsqc_QCloudSRM.csv"))
    long = table.group_by(run="Filename", compound="Precursor").agg(
        rt=pl.col("RetentionTime").mean()
    )
    one = pl.lit("peptides")
    return _panel("QCloud", long.with_columns(species=one, species_cluster=one), _spread(long, 3))


def peptides_dda() -> Panel:
    """Return 9 peptides in 38 runs of another laboratory, three of which are anchors."""
    table = pl.read_csv(locate("peptide-msstatsqc", "msstatsqc_QCloudDDA.csv"))
    long = table.group_by(run="File_ID", compound="Precursor").agg(
        rt=pl.col("RetentionTime").mean() / 60
    )
    one = pl.lit("peptides")
    long = long.with_columns(species=one, species_cluster=one).drop_nulls("rt")
    return _panel("QCloudDDA", long, _spread(long, 3, lacking=2))


def polar() -> Panel:
    """Return polar metabolites in sea water, standards and pools; internal standards are anchors.

    Gross errors of integration are in it.
    """
    path = locate("hilic-ingalls", "ingalls_odz_hilicpos_skyline.csv.gz")
    table = pl.read_csv(path, null_values="#N/A", infer_schema_length=None)
    table = table.filter(pl.col("Retention Time").is_not_null())
    matrix = pl.col("Replicate Name").str.split("_").list.get(1)
    long = table.select(
        matrix.alias("species"),
        run="Replicate Name",
        compound="Precursor Ion Name",
        rt=pl.col("Retention Time").cast(pl.Float64),
        standard=pl.col("Protein Name").str.starts_with("Internal"),
    ).filter(pl.col("species") != "Blk")
    long = long.with_columns(species_cluster=pl.lit("all"))
    anchors = _spread(long.filter("standard"), 4, lacking=2)
    return _panel("polar", long.drop("standard"), anchors)


SAMPLES = ("SPL", "BQC", "TQC", "LTR")
"""Samples with plasma in them; a blank's peak is noise."""


def lipids_499() -> Panel:
    """Return lipids and their labelled standards, the anchors, in 499 runs: a negative control."""
    path = locate("lipid-midar", "midar_mrmkit_longit_499runs.tsv.gz")
    table = pl.read_csv(path, separator="\t", infer_schema_length=None)
    long = table.select(
        run="raw_data_filename", compound="feature_name", species="sample_type", rt="rt_apex"
    )
    return _lipids("midar 499", long, sorted(set(table["internal_standard"].drop_nulls())))


def lipids_153() -> Panel:
    """Return lipids and 16 labelled standards, the anchors, in 153 runs: a negative control."""
    path = locate("lipid-midar", "midar_mhquant_plasma_153runs_long.tsv.gz")
    table = pl.read_csv(path, separator="\t", infer_schema_length=None)
    long = table.select("run", compound="feature", species="sample_type", rt="rt_min")
    standards = table.filter(pl.col("is_istd") == 1)["feature"].unique().sort()
    return _lipids("midar 153", long, standards.to_list())


def _lipids(name: str, long: pl.DataFrame, anchors: list[str]) -> Panel:
    long = long.filter(pl.col("species").is_in(SAMPLES)).drop_nulls("rt")
    matrix = pl.when(pl.col("species") == "SPL").then(pl.lit("study")).otherwise(pl.lit("quality"))
    return _panel(name, long.with_columns(species_cluster=matrix), anchors)


def _panel(name: str, long: pl.DataFrame, anchors: list[str]) -> Panel:
    """Return a panel with labels numbered and the anchors of a run beside its other rows."""
    wide = (
        long.filter(pl.col("compound").is_in(anchors))
        .pivot(on="compound", index="run", values="rt", aggregate_function="mean")
        .rename({compound: f"anchor_{j}" for j, compound in enumerate(anchors)})
        .drop_nulls()
    )
    labels = ("run", "species", "species_cluster", "compound")
    names = tuple(f"anchor_{j}" for j in range(len(anchors)))
    rows = long.filter(~pl.col("compound").is_in(anchors)).join(wide, on="run")
    rows = rows.sort("run", "compound").select(*labels, *names, "rt")
    numbered = rows.with_columns(pl.col(c).rank("dense").cast(pl.Int64) - 1 for c in labels)
    named = rows.rename({anchor: f"IS_{j}" for j, anchor in enumerate(names)})
    return Panel(name, numbered.rename({"compound": "comp_id"}), names, named)


PANELS: dict[str, Callable[[], Panel]] = {
    "Stoffel": stoffel,
    "Stoffel-95": lambda: stoffel(share=0.94),
    "BGC": bgc,
    "BGC-pos": lambda: bgc("pos"),
    "S9Site54": peptides,
    "MaxQuant": maxquant,
    "QCloud": peptides_srm,
    "QCloudDDA": peptides_dda,
    "lipidr": lipidr,
    "lipidr-A1": lambda: lipidr("A1"),
    "lipidr-F2": lambda: lipidr("F2"),
    "polar": polar,
    "Folberth": folberth,
    "Kruve": kruve,
    "midar-499": lipids_499,
    "midar-153": lipids_153,
}


def write(panel: Panel, folder: Path, parts: int = 5) -> None:
    """Write train.csv and test.csv: of the latter, one run in `parts`."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = panel.named["run"].unique()
    order = sorted(runs.to_list(), key=lambda run: blake2b(str(run).encode()).digest())
    held_out = pl.col("run").is_in(order[::parts])
    panel.named.filter(~held_out).write_csv(folder / "train.csv")
    panel.named.filter(held_out).write_csv(folder / "test.csv")


def main() -> None:
    """Read the command line and write a panel."""
    parser = argparse.ArgumentParser(description="Measured retention times as tables")
    parser.add_argument("panel", choices=PANELS)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    write(PANELS[given.panel](), given.folder)


if __name__ == "__main__":
    main()
