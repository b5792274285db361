"""Folds and splits of bags: stored, stratified by one or many labels, by scaffold, by plate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from molpool_common import (
    FloatArray,
    InputError,
    IntArray,
    Split,
    did_you_mean,
    kfold,
    listed,
    molecule_groups,
    split,
)
from numpy.typing import ArrayLike

from mil_attn._config import MILRunConfig
from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.data._source import bag_column

FoldMethod = Literal["stratified", "multilabel", "scaffold", "plate", "random"]
_NEEDS = {
    "stratified": "labels",
    "multilabel": "labels",
    "scaffold": "smiles",
    "plate": "plates",
}


def make_folds(
    method: str,
    k: int,
    *,
    groups: Sequence[object],
    labels: ArrayLike | None = None,
    smiles: Sequence[str] | None = None,
    plates: Sequence[object] | None = None,
    val_ratio: float = 0.1,
    seed: int = 0,
) -> list[Split]:
    """Divide bags into k folds, each of which tests once.

    Parameters
    ----------
    method : {"stratified", "multilabel", "scaffold", "plate", "random"}
        `stratified` deals out the combinations of labels evenly, `multilabel` the labels of each
        task (iterative stratification, for more combinations than can be dealt out). `scaffold`
        and `plate` keep bags of one Bemis–Murcko scaffold, or plate, together.
    k : int
        Folds, at least 2.
    groups : sequence [N]
        Key of the molecule of each bag; bags of one molecule stay together. Their ids, where each
        molecule is one bag. Not looked at by `plate`, whose groups are the plates.
    labels : array_like [N, T]
        For `stratified` and `multilabel`; NaN where missing.
    smiles, plates : sequence [N]
        For `scaffold` and `plate`.
    val_ratio : float
        Share of the bags not tested that validate, chosen by the same method.
    seed : int
        Of the shuffles.

    Returns
    -------
    list of Split

    Raises
    ------
    MILError
        If the method is unknown, what it needs is missing, or there are too few bags.
    """
    given: dict[str, Any] = {"labels": labels, "smiles": smiles, "plates": plates}
    if method not in get_args(FoldMethod):
        raise MILError(
            f"method: expected a way to make folds; found {method!r}. "
            + did_you_mean(method, get_args(FoldMethod))
        )
    if method in _NEEDS and given[_NEEDS[method]] is None:
        raise MILError(f"{_NEEDS[method]}: expected for folds by {method!r}; found none.")
    options: dict[str, Any] = {"groups": groups}
    if method == "scaffold":
        options["smiles"] = smiles
    elif method == "plate":
        # Plates are the unit of batch effects; a molecule on two plates is a different measurement.
        options["groups"] = plates
    elif method == "multilabel":
        options["targets"] = labels
    elif method == "stratified":
        # One column per combination: stratifying each task alone would not keep co-occurrence.
        options["targets"] = _combinations(labels)
    by = {"plate": "random", "multilabel": "stratified"}.get(method, method)
    try:
        return kfold(by, k, val_ratio=val_ratio, seed=seed, **options)
    except InputError as error:
        raise MILError(str(error)) from error


def stored_folds(
    test_fold: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    val_ratio: float = 0.1,
    seed: int = 0,
) -> list[Split]:
    """Return folds whose test bags are given; validation is drawn from the rest of each.

    Parameters
    ----------
    test_fold : array_like of int [N]
        The fold that tests each bag.
    labels : array_like [N, T], optional
        Stratifies validation by combination of labels.
    val_ratio : float
        Share of the bags not tested that validate; 0 for none.
    seed : int
        Of the choice of validation bags.

    Returns
    -------
    list of Split
        In the order of the fold numbers.

    Raises
    ------
    MILError
        If a bag has no fold, or there is a single fold.
    """
    number = np.asarray(test_fold)
    if number.ndim != 1 or not np.issubdtype(number.dtype, np.number):
        raise MILError("test_fold: expected a fold number for each bag; found no such column.")
    missing = np.flatnonzero(np.isnan(number.astype(np.float64)))
    if missing.size:
        raise MILError(
            "test_fold: expected a fold number for each bag; "
            f"found none in rows {listed((missing + 1).tolist())}."
        )
    numbers = np.unique(number)
    if len(numbers) < 2:
        raise MILError(f"test_fold: expected at least 2 folds; found {len(numbers)}.")
    patterns = None if labels is None else _combinations(labels)
    folds = []
    for fold, tested in enumerate(numbers):
        rest = np.flatnonzero(number != tested)
        # A seed per fold, else validation sets of all folds would overlap more than by chance.
        train, val = _hold_out(rest, patterns, val_ratio, seed + fold)
        folds.append(Split(train, val, np.flatnonzero(number == tested)))
    return folds


def _hold_out(
    rest: IntArray, patterns: FloatArray | None, val_ratio: float, seed: int
) -> tuple[IntArray, IntArray]:
    if val_ratio == 0:
        return rest, rest[:0]
    try:
        parts = split(
            "random" if patterns is None else "stratified",
            (1 - val_ratio, val_ratio, 0),
            groups=rest.tolist(),
            targets=None if patterns is None else patterns[rest],
            seed=seed,
        )
    except InputError as error:
        raise MILError(str(error)) from error
    return rest[parts.train], rest[parts.val]


def _combinations(labels: ArrayLike | None) -> FloatArray:
    """Return a column of 0 and 1 for each distinct row of labels [N, P]; missing is a label."""
    table = np.asarray(labels, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    # Classes are 0 and 1; of values only whether they are there.
    classes = np.isnan(table) | np.isin(table, (0.0, 1.0))
    coded = np.where(np.isnan(table), -1.0, np.where(classes.all(axis=0), table, 0.0))
    patterns, which = np.unique(coded, axis=0, return_inverse=True)
    return np.asarray(np.eye(len(patterns))[which.reshape(-1)])


def split_bags(bags: BagData, config: MILRunConfig) -> Split:
    """Return the split of bags: the fold that ``split.fold`` names.

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
            read=config.read,
        )
        numbers = stored.cast(pl.Float64).to_numpy()
        return stored_folds(numbers, labels=bags.labels, val_ratio=section.val_ratio, seed=seed)
    plate = section.plate_column
    plates = (
        bag_column(
            config.data_path,
            plate,
            bags.ids,
            data,
            key="split.plate_column",
            read=config.read,
        ).to_list()
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
    from molpool_common import parse_smiles  # needs the extra `chem`

    keys: list[str] = molecule_groups(parse_smiles(bags.smiles).require_all()).tolist()
    return keys
