"""Folds and splits of bags: given, stored, stratified by labels, by scaffold, by plate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from molpool_common import (
    ClusterMethod,
    FloatArray,
    InputError,
    IntArray,
    Split,
    SplitName,
    Standardize,
    assign_rows,
    did_you_mean,
    joined_groups,
    kfold,
    listed,
    molecule_groups,
    on_two_sides,
    overlap_words,
    read_split_file,
    split,
    split_names,
    without_overlap,
)
from numpy.typing import ArrayLike

from mil_attn._config import MILRunConfig
from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.data._source import all_bag_names, bag_column

FoldMethod = Literal["stratified", "multilabel", "scaffold", "cluster", "time", "plate", "random"]
_NEEDS = {
    "stratified": "labels",
    "multilabel": "labels",
    "scaffold": "smiles",
    "cluster": "smiles",
    "time": "times",
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
    times: Sequence[object] | None = None,
    clusters: ClusterMethod = "butina",
    distance: float = 0.65,
    val_ratio: float = 0.1,
    seed: int = 0,
) -> list[Split]:
    """Divide bags into k folds, each of which tests once.

    Parameters
    ----------
    method : {"stratified", "multilabel", "scaffold", "cluster", "time", "plate", "random"}
        `stratified` deals out the combinations of labels evenly, `multilabel` the labels of each
        task (iterative stratification, for more combinations than can be dealt out). `scaffold`,
        `cluster` and `plate` keep bags of one Bemis–Murcko scaffold, cluster of fingerprints or
        plate together. `time` cuts the bags into k + 1 blocks: fold 0 tests the latest, fold 1 the
        one before, and each trains on all that is earlier.
    k : int
        Folds, at least 2.
    groups : sequence [N]
        Key of the molecule of each bag; bags of one molecule stay together. Their ids, where each
        molecule is one bag. Not looked at by `plate`, whose groups are the plates.
    labels : array_like [N, T]
        For `stratified` and `multilabel`; NaN where missing.
    smiles, plates, times : sequence [N]
        For `scaffold` and `cluster`, for `plate`, and for `time`.
    clusters, distance
        For `cluster`, as of `molpool_common.split`.
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
    by, options = _method(
        method, {"labels": labels, "smiles": smiles, "plates": plates, "times": times}, groups
    )
    if method == "cluster":
        options |= {"clusters": clusters, "distance": distance}
    try:
        folds = kfold(by, k, val_ratio=val_ratio, seed=seed, **options)
    except InputError as error:
        raise MILError(str(error)) from error
    return folds[::-1] if method == "time" else folds


def _method(
    method: str, given: Mapping[str, Any], groups: Sequence[object]
) -> tuple[str, dict[str, Any]]:
    """Return the method of `molpool_common.kfold` and `split`, and what it takes."""
    if method not in get_args(FoldMethod):
        raise MILError(
            f"method: expected a way to make folds; found {method!r}. "
            + did_you_mean(method, get_args(FoldMethod))
        )
    if method in _NEEDS and given[_NEEDS[method]] is None:
        raise MILError(f"{_NEEDS[method]}: expected for folds by {method!r}; found none.")
    options: dict[str, Any] = {"groups": groups}
    if method in ("scaffold", "cluster"):
        options["smiles"] = given["smiles"]
    elif method == "time":
        options["times"] = given["times"]
    elif method == "plate":
        # Plates are the unit of batch effects; a molecule on two plates is a different measurement.
        options["groups"] = given["plates"]
    elif method == "multilabel":
        options["targets"] = given["labels"]
    elif method == "stratified":
        # One column per combination: stratifying each task alone would not keep co-occurrence.
        options["targets"] = _combinations(given["labels"])
    return {"plate": "random", "multilabel": "stratified"}.get(method, method), options


def stored_folds(
    test_fold: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    groups: Sequence[object] | None = None,
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
    groups : sequence [N], optional
        Key of the molecule of each bag, of which none trains and validates; by default each bag is
        one.
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
        train, val = _hold_out(rest, patterns, val_ratio, seed + fold, groups)
        folds.append(Split(train, val, np.flatnonzero(number == tested)))
    return folds


def _hold_out(
    rest: IntArray,
    patterns: FloatArray | None,
    val_ratio: float,
    seed: int,
    groups: Sequence[object] | None = None,
) -> tuple[IntArray, IntArray]:
    if val_ratio == 0:
        return rest, rest[:0]
    try:
        parts = split(
            "random" if patterns is None else "stratified",
            (1 - val_ratio, val_ratio, 0),
            groups=rest.tolist() if groups is None else [groups[row] for row in rest.tolist()],
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
    """Return the split of bags: the given one, or the fold that ``split.fold`` names.

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
    section = config.split
    if section.split_column is not None or section.split_file is not None:
        return _given(bags, config)
    folds = bag_folds(bags, config)
    if section.fold >= len(folds):
        raise InputError("split.fold", expected=f"0 to {len(folds) - 1}", found=f"{section.fold}")
    return folds[section.fold]


def split_notes(bags: BagData, split: Split, config: MILRunConfig) -> list[str]:
    """Return what the user should know of a split: bags left out, molecules on two sides.

    Parameters
    ----------
    bags : BagData
        All bags.
    split : Split
        Of `split_bags`.
    config : MILRunConfig
        What split them.
    """
    notes = []
    left = len(bags) - sum(len(part) for part in split)
    if left:
        notes.append(
            f"{left} bags left out: the given split does not name them, or has their molecules on "
            "a later side too (--split.split-overlap)."
        )
    keys = split_keys(bags, config)
    train, val = on_two_sides(split, keys)
    if len(train) + len(val):
        n = len({keys[row] for row in (*train.tolist(), *val.tolist())})
        words = overlap_words(n, len(train), len(val)).replace("the given split", "this split")
        notes.append(f"{words}: scores are too good by as much.")
    return notes


def _given(bags: BagData, config: MILRunConfig) -> Split:
    """Return the split that a column or a file says."""
    section = config.split
    names = _names_of_file(bags, config) if section.split_file else _names_of_column(bags, config)
    parts = ("train", "val", "test")
    of = np.array([name or "" for name in names])
    split = Split(*(np.flatnonzero(of == part) for part in parts))
    keys = split_keys(bags, config)
    if section.split_overlap == "drop":
        split = without_overlap(split, keys)
    elif section.split_overlap == "error" and any(map(len, found := on_two_sides(split, keys))):
        n = len({keys[row] for row in (*found[0].tolist(), *found[1].tolist())})
        raise InputError(
            "split.split_overlap",
            expected="each molecule in one split",
            found=overlap_words(n, len(found[0]), len(found[1])),
        )
    if len(split.val) or section.val_ratio == 0 or not len(split.train):
        return split
    seed = _seed(config)
    labels = None if bags.labels is None else _combinations(bags.labels)
    train, val = _hold_out(split.train, labels, section.val_ratio, seed, keys)
    return Split(train, val, split.test)


def _names_of_column(bags: BagData, config: MILRunConfig) -> list[SplitName | None]:
    column = config.split.split_column
    assert column is not None
    assert config.data_path is not None
    values = bag_column(
        config.data_path,
        column,
        bags.ids,
        config.data,
        key="split.split_column",
        optional=True,
        read=config.read,
    )
    return split_names(values.to_list(), parameter=f"column {column!r}")


def _names_of_file(bags: BagData, config: MILRunConfig) -> list[SplitName | None]:
    section = config.split
    assert section.split_file is not None
    assert config.data_path is not None
    entries = read_split_file(section.split_file)
    if section.split_index >= len(entries):
        raise InputError(
            "split.split_index",
            expected=f"0 to {len(entries) - 1}",
            found=str(section.split_index),
            where=section.split_file,
        )
    # Of the table, so that bags without features count as they do for whoever wrote the file.
    every = all_bag_names(config.data_path, config.data, config.read)
    names = assign_rows(entries[section.split_index], len(every), every, where=section.split_file)
    by_id = dict(zip(every, names, strict=True))
    return [by_id.get(bag) for bag in bags.ids]


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
    seed = _seed(config)
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
        return stored_folds(
            numbers,
            labels=bags.labels,
            groups=split_keys(bags, config),
            val_ratio=section.val_ratio,
            seed=seed,
        )
    return make_folds(
        section.split_type,
        section.n_folds,
        groups=split_keys(bags, config),
        **_what_splits(bags, config),
        clusters=section.cluster_method,
        distance=section.cluster_distance,
        val_ratio=section.val_ratio,
        seed=seed,
    )


def hold_out(bags: BagData, config: MILRunConfig) -> Split:
    """Divide bags, none of which test, into training and validation by the method of the split.

    Parameters
    ----------
    bags : BagData
        Of the table ``data_path``.
    config : MILRunConfig
        The split; stored folds, which say what tests, divide nothing here.

    Raises
    ------
    InputError, MILError
        As `bag_folds`.
    """
    section = config.split
    every = np.arange(len(bags))
    if section.val_ratio == 0:
        return Split(every, every[:0], every[:0])
    if section.split_type == "stored":
        raise InputError(
            "split.split_type",
            expected="another than stored with data.test_path, whose bags are the ones that test",
            found="'stored'",
        )
    by, options = _method(section.split_type, _what_splits(bags, config), split_keys(bags, config))
    if by == "cluster":
        options |= {"clusters": section.cluster_method, "distance": section.cluster_distance}
    ratios = (1 - section.val_ratio, section.val_ratio, 0)
    try:
        return split(by, ratios, seed=_seed(config), **options)
    except InputError as error:
        raise MILError(str(error)) from error


def _seed(config: MILRunConfig) -> int:
    own = config.split.split_seed
    return config.seed if own is None else own


def _what_splits(bags: BagData, config: MILRunConfig) -> dict[str, Any]:
    """Return labels, SMILES, plates and times of bags, those that the split asks for."""
    section = config.split

    def column(name: str | None, key: str) -> list[Any] | None:
        if name is None:
            return None
        assert config.data_path is not None
        return bag_column(
            config.data_path, name, bags.ids, config.data, key=key, read=config.read
        ).to_list()

    by_structure = section.split_type in ("scaffold", "cluster")
    timed = section.split_type == "time"
    return {
        "labels": bags.labels,
        "smiles": _compared(bags, section.standardize) if by_structure else None,
        "plates": column(section.plate_column, "split.plate_column"),
        "times": column(section.time_column, "split.time_column") if timed else None,
    }


def split_keys(bags: BagData, config: MILRunConfig) -> Sequence[str]:
    """Return the key of what stays on one side with each bag: its molecule, and its series."""
    keys, series = keys_and_series(bags, config)
    return keys if series is None else joined_groups(keys, series)


def keys_and_series(
    bags: BagData, config: MILRunConfig
) -> tuple[Sequence[str], Sequence[object] | None]:
    """Return the key of each bag's molecule, and its series; None where none is named."""
    keys = molecule_keys(bags, config.split.standardize)
    column = config.split.group_column
    if column is None:
        return keys, None
    assert config.data_path is not None
    values = bag_column(
        config.data_path,
        column,
        bags.ids,
        config.data,
        key="split.group_column",
        optional=True,
        read=config.read,
    )
    return keys, values.to_list()


def molecule_keys(bags: BagData, how: Standardize = "parent") -> Sequence[str]:
    """Return the key of each bag's molecule: the InChIKey block of its parent, or its own name."""
    if bags.smiles is None:
        return bags.ids
    from molpool_common import parse_smiles, standardize  # need the extra `chem`

    mols = parse_smiles(bags.smiles).require_all()
    keys: list[str] = molecule_groups(standardize(mols, how).mols).tolist()
    return keys


def _compared(bags: BagData, how: Standardize) -> Sequence[str] | None:
    """Return SMILES of the structures that are compared."""
    if bags.smiles is None or how == "none":
        return bags.smiles
    from molpool_common import parse_smiles, standardize  # need the extra `chem`
    from rdkit.Chem import MolToSmiles

    mols = standardize(parse_smiles(bags.smiles).require_all(), how).mols
    return [MolToSmiles(mol) for mol in mols]
