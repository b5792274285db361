"""Which bags train, validate and test, as the ``split`` section says."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from molpool_common import InputError, Split, molecule_groups, parse_smiles

from mil_attn.data.bag_data import BagData
from mil_attn.data.source import bag_column
from mil_attn.training.folds import make_folds, stored_folds
from mil_attn.training.run_config import MILRunConfig


def split_bags(bags: BagData, config: MILRunConfig) -> Split:
    """Return the sides of bags: the fold that ``split.fold`` names.

    Parameters
    ----------
    bags : BagData
        Of the table ``data_path``, or some of them.
    config : MILRunConfig
        The split, and where stored folds and plates are.

    Raises
    ------
    InputError, MILError
        If there is no such fold, or as `bag_folds`.
    """
    folds = bag_folds(bags, config)
    fold = config.split.fold
    if fold >= len(folds):
        raise InputError("split.fold", expected=f"0 to {len(folds) - 1}", found=f"{fold}")
    return folds[fold]


def bag_folds(bags: BagData, config: MILRunConfig) -> list[Split]:
    """Return the folds of bags, each of which tests once.

    Parameters
    ----------
    bags : BagData
        Of the table ``data_path``, or some of them.
    config : MILRunConfig
        The split, and where stored folds and plates are.

    Raises
    ------
    InputError, MILError
        If a bag has no stored fold or plate, or there are too few bags.
    """
    section, data = config.split, config.data
    seed = section.split_seed if section.split_seed is not None else config.seed
    assert config.data_path is not None
    if section.split_type == "stored":
        assert section.fold_column is not None
        stored = bag_column(
            section.fold_path or config.data_path,
            section.fold_column,
            bags.ids,
            data,
            key="split.fold_column",
            where=section.fold_where,
            numbers=True,
        )
        numbers = stored.cast(pl.Float64).to_numpy()
        return stored_folds(numbers, labels=bags.labels, val_ratio=section.val_ratio, seed=seed)
    plate = section.plate_column
    plates = (
        bag_column(config.data_path, plate, bags.ids, data, key="split.plate_column").to_list()
        if plate
        else None
    )
    return make_folds(
        section.split_type,
        section.n_folds,
        groups=molecule_keys(bags),
        labels=bags.labels,
        smiles=bags.smiles,
        plates=plates,
        val_ratio=section.val_ratio,
        seed=seed,
    )


def molecule_keys(bags: BagData) -> Sequence[str]:
    """Return the key of each bag's molecule: its InChIKey block, or its own name."""
    if bags.smiles is None:
        return bags.ids
    keys: list[str] = molecule_groups(parse_smiles(bags.smiles).require_all()).tolist()
    return keys
