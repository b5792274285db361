"""A data set of bags in NumPy arrays, made of SMILES, tables or arrays and checked then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from molpool_common import Float32Array, FloatArray, IntArray, ReadConfig, Structure, listed
from numpy.typing import ArrayLike

from mil_attn._bags import Bags, check_bounds
from mil_attn._config import MoleculeFeaturesConfig, TaskKind
from mil_attn._errors import MILError
from mil_attn.data._checks import (
    as_array,
    check_classes,
    check_distinct,
    check_features,
    check_shape,
    check_targets,
    check_weights,
    numbered,
    positions,
    take_rows,
    tensor,
    tensor_or_none,
)
from mil_attn.data._failures import Failure
from mil_attn.data._molecule_features import require_rdkit
from mil_attn.data._smiles import (
    Describe2D,
    SmilesFeatures,
    StageProgress,
    check_request,
    seen_of,
)
from mil_attn.data._tables import Table, bag_table_fields, joined_fields


@dataclass(frozen=True, eq=False)
class BagData:
    """N bags with M instances in all: molecules with their conformers, or any other bags.

    Make one with `from_smiles`, `from_bag_table` or `from_features`, or from arrays.

    Parameters
    ----------
    ids : sequence of str [N]
        Distinct names of the bags.
    instances : ndarray of float32 [M, F3] or None
        Float32Array of the instances, bag after bag; None for bags that have 2D features alone.
    offsets : ndarray of int64 [N + 1] or None
        Bag b holds the rows ``offsets[b]:offsets[b + 1]`` of `instances`.
    x2d : ndarray of float32 [N, F2] or None
        Float32Array of the bags.
    labels : ndarray of float64 [N, T] or None
        NaN where a label is missing; else 0 or 1 for classification. None for prediction.
    task_names : sequence of str [T]
        Names of the tasks.
    task_kind : {"classification", "regression"}
        Kind of all tasks.
    weights : ndarray of float64 [N, T] or None
        Weights of the labels, 1 where None.
    aux, aux_weights : dict of str to ndarray of float64 [N, A]
        Auxiliary targets by group, NaN where missing, and their weights (1 where left out).
    aux_names : dict of str to sequence of str [A]
        Names of the auxiliary targets.
    instance_ids : sequence of str [M] or None
        Names of the instances: conformers.
    energies : ndarray of float64 [M] or None
        Energy of each conformer above the lowest of its molecule, kcal/mol; NaN where not known.
    feature_names_3d, feature_names_2d : sequence of str [F3], [F2]
        Names of the features; by default ``f1``, ``f2``, ...
    smiles : sequence of str [N] or None
        SMILES of the molecules.
    undefined_ok : bool
        Whether a feature may be NaN, as a descriptor that is not defined for a molecule: such data
        must be scaled before use, which puts the training mean there. Infinity never passes.
    failures : sequence of Failure
        Molecules or bags that were left out.
    notes : sequence of str
        What was read in a way that the user should know.

    Raises
    ------
    MILError
        If shapes disagree, an id comes twice, offsets do not ascend or a bag is empty (named), a
        feature is not finite (row and column), or a label is not 0, 1 or NaN (bag and task).
    """

    ids: Sequence[str]
    instances: Float32Array | None = None
    offsets: IntArray | None = None
    x2d: Float32Array | None = None
    labels: FloatArray | None = None
    task_names: Sequence[str] = ()
    task_kind: TaskKind = "classification"
    weights: FloatArray | None = None
    aux: Mapping[str, FloatArray] = field(default_factory=dict)
    aux_weights: Mapping[str, FloatArray] = field(default_factory=dict)
    aux_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    instance_ids: Sequence[str] | None = None
    energies: FloatArray | None = None
    feature_names_3d: Sequence[str] = ()
    feature_names_2d: Sequence[str] = ()
    smiles: Sequence[str] | None = None
    undefined_ok: bool = False
    failures: Sequence[Failure] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._convert()
        check_data(self)

    def _convert(self) -> None:
        """Turn what was given into arrays of the right type and tuples."""

        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in (
            "ids",
            "task_names",
            "feature_names_3d",
            "feature_names_2d",
            "failures",
            "notes",
        ):
            put(name, tuple(getattr(self, name)))
        for name in ("instance_ids", "smiles"):
            put(name, None if getattr(self, name) is None else tuple(getattr(self, name)))
        for name in ("instances", "x2d"):
            put(name, as_array(name, getattr(self, name), np.float32, 2))
        for name in ("labels", "weights"):
            put(name, as_array(name, getattr(self, name), np.float64, 2))
        put("energies", as_array("energies", self.energies, np.float64, 1))
        put("offsets", self._bounds())
        for name in ("aux", "aux_weights"):
            groups = getattr(self, name).items()
            put(name, {k: as_array(f"{name}[{k!r}]", v, np.float64, 2) for k, v in groups})
        put(
            "aux_names",
            {k: tuple(self.aux_names.get(k, numbered(v, k))) for k, v in self.aux.items()},
        )
        for name, values in (("feature_names_3d", self.instances), ("feature_names_2d", self.x2d)):
            put(name, getattr(self, name) or numbered(values, "f"))

    def _bounds(self) -> IntArray:
        if self.instances is None:
            return np.zeros(len(self.ids) + 1, dtype=np.int64)
        if self.offsets is None:
            raise MILError("offsets: expected bounds of the bags of instances; found none.")
        return np.asarray(self.offsets).astype(np.int64, casting="same_kind")

    @classmethod
    def from_smiles(
        cls,
        smiles: Sequence[str | None],
        *,
        ids: Sequence[str] | None = None,
        labels: FloatArray | None = None,
        task_names: Sequence[str] = (),
        task_kind: TaskKind = "classification",
        weights: FloatArray | None = None,
        aux: Mapping[str, FloatArray] | None = None,
        aux_weights: Mapping[str, FloatArray] | None = None,
        aux_names: Mapping[str, Sequence[str]] | None = None,
        features: MoleculeFeaturesConfig | None = None,
        cache: str | Path | None = None,
        workers: int = 1,
        progress: StageProgress | None = None,
        structure: Structure = "given",
        describe_2d: Describe2D | None = None,
    ) -> Self:
        """Return the molecules of SMILES with conformers, their descriptors and 2D features.

        Conformers are embedded with ETKDGv3, relaxed with MMFF94 and pruned; they are a molecule's
        instances, lowest first. A molecule of which none embeds, or that is no molecule, is left
        out and listed in ``failures``. Descriptors that are not defined for a molecule are NaN:
        scale the data before use.

        Parameters
        ----------
        smiles : sequence of str or None [N]
            Each different text is computed once.
        ids : sequence of str [N], optional
            Distinct names; by default 1, 2, ...
        labels, task_names, task_kind, weights, aux, aux_weights, aux_names
            As of `BagData`, one row per SMILES.
        features : MoleculeFeaturesConfig, optional
            What to compute; without `descriptors_3d` there are no conformers.
        cache : str or Path, optional
            Folder in which several processes may cache what they compute. A run that is killed
            loses at most some dozen molecules.
        workers : int
            Processes. More than 1 are spawned: a script needs ``if __name__ == "__main__":``.
        progress : callable, optional
            Called with what is computed and how many molecules of how many are done.
        structure : {"given", "parent", "tautomer"}
            Of which structure features are computed (`molpool_common.structures_of`).
        describe_2d : callable, optional
            Computes the 2D features that ``features.descriptors_2d.featurizers`` names: called with
            SMILES and these names, it returns values, names of the columns and reasons.

        Raises
        ------
        MILError
            If no molecule is left, ids or labels are wrong, or nothing is to be computed.
        ImportError
            Without RDKit.
        """
        require_rdkit()
        config = features or MoleculeFeaturesConfig()
        check_request(config, workers, describe_2d)
        names = [str(i + 1) for i in range(len(smiles))] if ids is None else [str(i) for i in ids]
        texts = tuple(text or "" for text in smiles)
        frame = cls(  # the labels are checked before minutes of work
            names,
            x2d=np.zeros((len(names), 0), dtype=np.float32),
            labels=labels,
            task_names=task_names,
            task_kind=task_kind,
            weights=weights,
            aux=aux or {},
            aux_weights=aux_weights or {},
            aux_names=aux_names or {},
            smiles=texts,
        )
        seen = seen_of(texts, structure)
        computed = SmilesFeatures(seen, config, cache, workers, progress, describe_2d)
        failures = tuple(f._replace(smiles=texts[f.row]) for f in computed.failures(names, seen))
        failed = {failure.row for failure in failures}
        remaining = [row for row in range(len(frame)) if row not in failed]
        if not remaining:
            reasons = [f"{f.smiles!r} in row {f.row + 1}: {f.reason}" for f in failures]
            raise MILError(
                f"smiles: expected at least one molecule that can be computed; found none of "
                f"{len(frame)}{f' ({listed(reasons, 3)})' if reasons else ''}."
            )
        data = frame.take(remaining)
        return data.replace(
            failures=failures,
            undefined_ok=True,
            **computed.fields(data.ids, [seen[row] for row in remaining]),
        )

    @classmethod
    def from_bag_table(
        cls,
        table: Table,
        *,
        id_column: str = "bag_id",
        label_columns: Sequence[str] = ("label",),
        feature_columns: Sequence[str] | None = None,
        instance_column: str | None = None,
        task_kind: TaskKind = "classification",
        undefined_ok: bool = False,
        read: ReadConfig | None = None,
        not_features: Sequence[str] = (),
        leave_out: bool = False,
    ) -> Self:
        """Return the bags of a table with one row per instance, as MUSK's is written.

        Parameters
        ----------
        table : str, Path or polars.DataFrame
            CSV, TSV or Parquet. Rows of a bag may stand anywhere; bags keep the order of first
            rows.
        id_column, instance_column : str
            Names of bags and, if given, of instances.
        label_columns : sequence of str [T]
            Labels, equal in all rows of a bag; none for prediction.
        feature_columns : sequence of str, optional
            By default ``f1``, ``f2``, ... or, without such columns, all others.
        task_kind : {"classification", "regression"}
            Kind of the tasks.
        undefined_ok : bool
            Whether features may be missing.
        read : ReadConfig, optional
            What is known of the file.
        not_features : sequence of str
            Columns that are no features even where none are named: other targets, folds, plates.
        leave_out : bool
            Whether bags without features are left out, and listed in ``failures``, instead of
            being an error.

        Raises
        ------
        InputError, MILError
            For a file that is no table, a column that is not there, a missing name, features that
            are not finite (row and column), labels that differ within a bag (named).
        """
        fields = bag_table_fields(
            table,
            id_column=id_column,
            label_columns=label_columns,
            feature_columns=feature_columns,
            instance_column=instance_column,
            undefined_ok=undefined_ok,
            read=read,
            not_features=not_features,
            leave_out=leave_out,
        )
        return cls(**fields, task_kind=task_kind, undefined_ok=undefined_ok)

    @classmethod
    def from_features(
        cls,
        molecules: Table,
        *,
        features_3d: Table | None = None,
        features_2d: Table | None = None,
        id_column: str = "id",
        label_columns: Sequence[str] = (),
        aux_columns: Mapping[str, Sequence[str]] | None = None,
        smiles_column: str | None = None,
        conformer_column: str | None = None,
        energy_column: str | None = None,
        columns_3d: Sequence[str] | None = None,
        columns_2d: Sequence[str] | None = None,
        task_kind: TaskKind = "classification",
        undefined_ok: bool = False,
        read: ReadConfig | None = None,
        not_features: Sequence[str] = (),
        leave_out: bool = False,
    ) -> Self:
        """Return the molecules of a table with features that were computed before.

        Parameters
        ----------
        molecules : str, Path or polars.DataFrame
            One row per molecule: its name, labels, auxiliary targets.
        features_3d, features_2d : str, Path or polars.DataFrame, optional
            One row per conformer, and one per molecule, named in `id_column`. Other molecules may
            be there.
        id_column, smiles_column : str
            Names of the molecules in all tables; SMILES, if given.
        label_columns : sequence of str [T]
            Labels; none for prediction.
        aux_columns : mapping of str to sequence of str
            Columns of auxiliary targets by group.
        conformer_column, energy_column : str, optional
            Names and energies (kcal/mol) of conformers in the 3D table.
        columns_3d, columns_2d : sequence of str, optional
            Features; by default ``f1``, ``f2``, ... or, without such columns, all others.
        task_kind : {"classification", "regression"}
            Kind of the tasks.
        undefined_ok : bool
            Whether features may be missing.
        read : ReadConfig, optional
            What is known of the files.
        not_features : sequence of str
            Columns that are no features even where none are named: other targets, folds, plates.
        leave_out : bool
            Whether bags without features are left out, and listed in ``failures``, instead of
            being an error.

        Raises
        ------
        InputError, MILError
            If a table of features lacks a molecule (named) or has one twice where it may stand
            once; else as `from_bag_table`.
        """
        fields = joined_fields(
            molecules,
            features_3d=features_3d,
            features_2d=features_2d,
            id_column=id_column,
            label_columns=label_columns,
            aux_columns=aux_columns,
            smiles_column=smiles_column,
            conformer_column=conformer_column,
            energy_column=energy_column,
            columns_3d=columns_3d,
            columns_2d=columns_2d,
            undefined_ok=undefined_ok,
            read=read,
            not_features=not_features,
            leave_out=leave_out,
        )
        return cls(**fields, task_kind=task_kind, undefined_ok=undefined_ok)

    @property
    def bounds(self) -> IntArray:
        """`offsets` as an array; zeros where there are no instances."""
        assert self.offsets is not None  # set when made
        return self.offsets

    @property
    def sizes(self) -> IntArray:
        """Number of instances of each bag [N]; zeros where there are none."""
        return np.diff(self.bounds)

    @property
    def n_instances(self) -> int:
        """Number of instances M."""
        return 0 if self.instances is None else len(self.instances)

    def __len__(self) -> int:
        return len(self.ids)

    def bag_of(self, instance: int) -> int:
        """Return the bag that an instance, a row of `instances`, belongs to."""
        return int(np.searchsorted(self.bounds, instance, side="right")) - 1

    def replace(self, **changes: Any) -> Self:
        """Return the same data with some attributes changed, checked again."""
        return replace(self, **changes)

    def take(self, rows: ArrayLike) -> Self:
        """Return the bags at these positions, in this order, each at most once.

        Parameters
        ----------
        rows : array_like of int [R] or of bool [N]
            Positions, or which bags.

        Raises
        ------
        MILError
            If a bag is asked for twice: ids are distinct. `batch` may repeat bags.
        """
        picked = positions(rows, len(self))
        if len(np.unique(picked)) != len(picked):
            raise MILError("rows: expected distinct bags; found one twice.")
        at, offsets = self._instances_of(picked)
        changes: dict[str, Any] = {
            "ids": tuple(self.ids[i] for i in picked),
            "offsets": offsets,
            "failures": (),
        }
        for name in ("x2d", "labels", "weights"):
            changes[name] = take_rows(getattr(self, name), picked)
        for name in ("aux", "aux_weights"):
            changes[name] = {k: v[picked] for k, v in getattr(self, name).items()}
        for name in ("instances", "energies"):
            changes[name] = take_rows(getattr(self, name), at)
        for name, where in (("smiles", picked), ("instance_ids", at)):
            values = getattr(self, name)
            changes[name] = None if values is None else tuple(values[i] for i in where)
        return self._unchecked(changes)

    def batch(self, rows: ArrayLike) -> Bags:
        """Return some of the bags, in this order, as tensors of single precision.

        Parameters
        ----------
        rows : array_like of int [B] or of bool [N]
            Positions, which may repeat, or which bags.

        Raises
        ------
        MILError
            If a feature of these bags is undefined (NaN): the data have to be scaled first.
        """
        picked = positions(rows, len(self))
        at, offsets = self._instances_of(picked)
        instances, x2d = take_rows(self.instances, at), take_rows(self.x2d, picked)
        if self.undefined_ok:
            for name, values in (("instances", instances), ("x2d", x2d)):
                if values is not None and not np.isfinite(values).all():
                    raise MILError(
                        f"{name}: expected scaled features in a batch; found undefined ones (NaN)."
                    )
        return Bags(
            instances=tensor_or_none(instances),
            offsets=torch.from_numpy(offsets),
            x2d=tensor_or_none(x2d),
            labels=tensor_or_none(take_rows(self.labels, picked)),
            weights=tensor_or_none(take_rows(self.weights, picked)),
            aux={k: tensor(v[picked]) for k, v in self.aux.items()},
            aux_weights={k: tensor(v[picked]) for k, v in self.aux_weights.items()},
            ids=tuple(self.ids[i] for i in picked),
        )

    def _instances_of(self, picked: IntArray) -> tuple[IntArray, IntArray]:
        """Return the rows of the instances of some bags, and their new bounds."""
        sizes = self.sizes[picked]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        shift = np.repeat(self.bounds[picked] - offsets[:-1], sizes)
        return np.arange(offsets[-1], dtype=np.int64) + shift, offsets

    def _unchecked(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with changes that are known to be right."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, **changes)
        return twin


def check_data(data: BagData) -> None:
    """Raise MILError at the first thing of a data set that is wrong; see `BagData`."""
    check_distinct("ids", data.ids)
    _check_features(data)
    _check_targets(data)


def _check_features(data: BagData) -> None:
    n = len(data.ids)
    if data.instances is None and data.x2d is None:
        raise MILError("features: expected instances, x2d or both; found neither.")
    if data.smiles is not None and len(data.smiles) != n:
        raise MILError(f"smiles: expected one per bag, {n}; found {len(data.smiles)}.")
    if data.x2d is not None:
        check_shape("x2d", data.x2d, n, len(data.feature_names_2d))
        check_features(
            "x2d",
            data.x2d,
            data.feature_names_2d,
            lambda r: f"bag {data.ids[r]!r}, row {r + 1}",
            undefined_ok=data.undefined_ok,
        )
    if data.instances is not None:
        _check_instances(data, data.instances)


def _check_instances(data: BagData, instances: Float32Array) -> None:
    m = len(instances)
    check_shape("instances", instances, m, len(data.feature_names_3d))
    if data.bounds.shape != (len(data.ids) + 1,):
        raise MILError(
            f"offsets: expected shape [{len(data.ids) + 1}], one more than the bags; "
            f"found {list(data.bounds.shape)}."
        )
    check_bounds(data.bounds, m, data.ids)
    for name in ("instance_ids", "energies"):
        value = getattr(data, name)
        if value is not None and len(value) != m:
            raise MILError(f"{name}: expected one per instance, {m}; found {len(value)}.")
    check_features(
        "instances",
        instances,
        data.feature_names_3d,
        lambda r: f"row {r + 1}, of bag {data.ids[data.bag_of(r)]!r}",
        undefined_ok=data.undefined_ok,
    )


def _check_targets(data: BagData) -> None:
    n, t = len(data.ids), len(data.task_names)
    check_distinct("task_names", data.task_names)
    if data.labels is not None:
        check_shape("labels", data.labels, n, t)
        if data.task_kind == "classification":
            check_classes(data.labels, data.task_names, data.ids)
        check_targets("labels of task", data.labels, data.task_names, data.ids)
    if data.weights is not None:
        check_shape("weights", data.weights, n, t)
        check_weights("weights", data.weights, data.ids)
    for group, values in data.aux.items():
        names = data.aux_names[group]
        check_shape(f"aux[{group!r}]", values, n, len(names))
        check_targets("auxiliary target", values, names, data.ids)
    for group, weights in data.aux_weights.items():
        if group not in data.aux:
            raise MILError(
                f"aux_weights: expected groups of aux, {list(data.aux)}; found {group!r}."
            )
        check_shape(f"aux_weights[{group!r}]", weights, n, data.aux[group].shape[1])
        check_weights(f"aux_weights[{group!r}]", weights, data.ids)
