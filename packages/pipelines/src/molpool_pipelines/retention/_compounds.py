"""What is known of compounds besides their measurements: descriptors and classes.

Descriptors are columns of a table, or computed from its SMILES.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import polars as pl
from molpool_common import (
    InputError,
    ReadConfig,
    listed,
    number_column,
    read_table,
    smiles_column_of,
)
from rt_ridge import CompoundClasses, CompoundDescriptors, check_ids

from molpool_pipelines.retention._identifiers import COMPOUND, PreparedNames
from molpool_pipelines.tables import TableFiles

DEFAULT = "descriptor_*"

OF_STRUCTURES = (
    *("MolLogP", "MolMR", "TPSA", "LabuteASA", "MolWt", "HeavyAtomCount", "BertzCT", "qed"),
    *("NumHDonors", "NumHAcceptors", "NHOHCount", "NOCount", "NumHeteroatoms"),
    *("NumRotatableBonds", "FractionCSP3", "RingCount", "NumAromaticRings", "NumAliphaticRings"),
    *("HallKierAlpha", "Kappa2", "Kappa3", "Chi1v", "BCUT2D_LOGPHI", "BCUT2D_LOGPLOW"),
    *("MaxPartialCharge", "MinPartialCharge", "fr_COO", "fr_NH2", "fr_halogen", "fr_amide"),
)
"""RDKit's descriptors that retention depends on: lipophilicity, size, polarity, charge, shape."""

FEWEST_DIFFERENT = 3
"""Compounds that differ from most others in a descriptor, without which it is left out."""


def read_descriptors(
    path: str,
    compound: str,
    names: Sequence[str] | None = None,
    *,
    read: ReadConfig | None = None,
    prepared: PreparedNames | None = None,
) -> CompoundDescriptors:
    """Read the descriptors of compounds; compounds that lack one are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet, one row per compound.
    compound : str
        Column of the compound's id, or of its name.
    names : sequence of str or None
        Columns, or patterns; None: ``descriptor_*``. Those of `OF_STRUCTURES` are computed where
        the table has SMILES instead.
    read : ReadConfig, optional
        What is known of the file.
    prepared : PreparedNames, optional
        Names of the ids of the rows, by which the table may call compounds.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, holds text, or a compound has several rows.
    """
    table, frame = _compounds(path, "descriptors", compound, read, prepared)
    frame, columns = _with_columns(table, frame, names)
    repeated, counts = np.unique(frame[compound], return_counts=True)
    if (counts > 1).any():
        raise InputError(
            "descriptors",
            expected="one row per compound",
            found=f"several of {listed(repeated[counts > 1].tolist())}",
            where=table.name,
        )
    numbers = [number_column(frame, c, where=table.name).alias(c) for c in columns]
    # A compound without a full set of descriptors has the prior mean instead, as unknown compounds
    # have.
    complete = pl.DataFrame([frame[compound], *numbers]).drop_nulls()
    return CompoundDescriptors.from_frame(complete, compound=compound, columns=columns)


def _with_columns(
    table: TableFiles, frame: pl.DataFrame, names: Sequence[str] | None
) -> tuple[pl.DataFrame, list[str]]:
    """Return a table with the columns of descriptors, and their names."""
    smiles = smiles_column_of(table.columns, "SMILES", given=False)
    there = any(fnmatchcase(c, pattern) for c in table.columns for pattern in names or [DEFAULT])
    computed = set(names or ()) <= set(OF_STRUCTURES)
    if there or smiles not in table or not computed:
        return frame, table.matching(names or [DEFAULT], "descriptor_cols")
    from molecule_features import featurize

    found = featurize(frame[smiles].cast(pl.String).to_list(), "rdkit2d")
    place = {name: j for j, name in enumerate(found.names)}
    values = np.asarray(found.values, dtype=np.float64)[:, [place[n] for n in OF_STRUCTURES]]
    # A structure that cannot be read has none, as a compound that lacks one.
    values[[bool(reason) for reason in found.reasons]] = np.nan
    numbers = pl.DataFrame(values, schema=list(OF_STRUCTURES)).fill_nan(None)
    kept = list(names or (n for n in OF_STRUCTURES if _varies(numbers[n])))
    return pl.concat([frame.drop(OF_STRUCTURES, strict=False), numbers], how="horizontal"), kept


def _varies(values: pl.Series) -> bool:
    """Whether enough compounds differ from what most have."""
    counts = np.unique(values.drop_nulls().to_numpy(), return_counts=True)[1]
    return bool(counts.sum() - counts.max(initial=0) >= FEWEST_DIFFERENT)


def read_classes(
    path: str,
    compound: str,
    column: str,
    *,
    read: ReadConfig | None = None,
    prepared: PreparedNames | None = None,
) -> CompoundClasses:
    """Read the class of each compound; compounds without one are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet, one row per compound.
    compound, column : str
        Columns of the compound's id, or of its name, and of its class: ids or names.
    read : ReadConfig, optional
        What is known of the file.
    prepared : PreparedNames, optional
        As `read_descriptors` takes them.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, an id is invalid, or a compound has several rows.
    """
    table, frame = _compounds(path, "classes", compound, read, prepared)
    table.require(column, "class_col")
    # dict.fromkeys: the class may be the compound itself.
    complete = frame.select(list(dict.fromkeys([compound, column]))).drop_nulls()
    return CompoundClasses.from_frame(complete, compound=compound, column=column)


def _compounds(
    path: str, key: str, compound: str, read: ReadConfig | None, prepared: PreparedNames | None
) -> tuple[TableFiles, pl.DataFrame]:
    """Return a table of compounds, its ids checked; names become the ids of the preparation."""
    table = TableFiles.find([path], key, read=read)
    frame = read_table(table.files[0], read, key=key)
    ids = {} if prepared is None else prepared.ids(COMPOUND)
    named = _named(frame, compound, ids)
    if named is not None:
        # Those that the preparation does not know are of no row.
        of = frame[named].cast(pl.String).str.strip_chars().str.normalize("NFC")
        found = of.replace_strict(ids, default=None, return_dtype=pl.Int64).alias(compound)
        return table, frame.with_columns(found).drop_nulls(compound)
    table.require(compound, "compound_col")
    numbers = number_column(frame, compound, where=table.name)
    checked = check_ids(numbers.to_numpy(), f"column {compound!r} ({table.name})")
    return table, frame.with_columns(pl.Series(compound, checked))


def _named(frame: pl.DataFrame, compound: str, ids: Mapping[str, int]) -> str | None:
    """Return the column that holds most names of compounds, None where ids stand in the table."""
    columns = [compound] if compound in frame.columns else frame.columns
    texts = [name for name in columns if frame[name].dtype == pl.String]
    known = {n: frame[n].str.strip_chars().str.normalize("NFC").is_in(ids).sum() for n in texts}
    best = max(known, key=known.__getitem__, default=None)
    return best if best is not None and known[best] else None


def with_descriptors(
    frame: pl.DataFrame, compound: str, descriptors: CompoundDescriptors
) -> pl.DataFrame:
    """Return rows with the descriptors of their compounds, NaN where there are none."""
    table = pl.DataFrame(descriptors.values, schema=list(descriptors.names))
    table = table.with_columns(pl.Series(compound, descriptors.ids))
    joined = frame.join(table, on=compound, how="left", maintain_order="left")
    return joined.with_columns(pl.col(descriptors.names).fill_null(float("nan")))
