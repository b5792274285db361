"""A data set of bags, in NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mil_attn.bags import Bags
from mil_attn.data.validation import check_data
from mil_attn.errors import MILError

TaskKind = Literal["classification", "regression"]
Floats = NDArray[np.float64]
Features = NDArray[np.float32]


class Failure(NamedTuple):
    """A molecule of which no bag could be made.

    Parameters
    ----------
    id : str
        Its name.
    row : int
        Index from 0 in what was given.
    smiles : str
        Its SMILES, "" where there was none.
    reason : str
        Why it was left out.
    """

    id: str
    row: int
    smiles: str
    reason: str


@dataclass(frozen=True, eq=False)
class BagData:
    """N bags with M instances in all: molecules with their conformers, or any other bags.

    Make one with `from_smiles`, `from_bag_table` or `from_features`, or from arrays.

    Parameters
    ----------
    ids : sequence of str [N]
        Distinct names of the bags.
    instances : ndarray of float32 [M, F3] or None
        Features of the instances, bag after bag; None for bags that have 2D features alone.
    offsets : ndarray of int64 [N + 1] or None
        Bag b holds the rows ``offsets[b]:offsets[b + 1]`` of `instances`.
    x2d : ndarray of float32 [N, F2] or None
        Features of the bags.
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
        Molecules that were left out.

    Raises
    ------
    MILError
        If shapes disagree, an id comes twice, offsets do not ascend or a bag is empty (named), a
        feature is not finite (row and column), or a label is not 0, 1 or NaN (bag and task).
    """

    ids: Sequence[str]
    instances: Features | None = None
    offsets: NDArray[np.int64] | None = None
    x2d: Features | None = None
    labels: Floats | None = None
    task_names: Sequence[str] = ()
    task_kind: TaskKind = "classification"
    weights: Floats | None = None
    aux: Mapping[str, Floats] = field(default_factory=dict)
    aux_weights: Mapping[str, Floats] = field(default_factory=dict)
    aux_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    instance_ids: Sequence[str] | None = None
    energies: Floats | None = None
    feature_names_3d: Sequence[str] = ()
    feature_names_2d: Sequence[str] = ()
    smiles: Sequence[str] | None = None
    undefined_ok: bool = False
    failures: Sequence[Failure] = ()

    def __post_init__(self) -> None:
        self._convert()
        check_data(self)

    def _convert(self) -> None:
        """Turn what was given into arrays of the right type and tuples."""

        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in ("ids", "task_names", "feature_names_3d", "feature_names_2d", "failures"):
            put(name, tuple(getattr(self, name)))
        for name in ("instance_ids", "smiles"):
            put(name, None if getattr(self, name) is None else tuple(getattr(self, name)))
        for name in ("instances", "x2d"):
            put(name, _array(name, getattr(self, name), np.float32, 2))
        for name in ("labels", "weights"):
            put(name, _array(name, getattr(self, name), np.float64, 2))
        put("energies", _array("energies", self.energies, np.float64, 1))
        put("offsets", self._bounds())
        for name in ("aux", "aux_weights"):
            groups = getattr(self, name).items()
            put(name, {k: _array(f"{name}[{k!r}]", v, np.float64, 2) for k, v in groups})
        put(
            "aux_names",
            {k: tuple(self.aux_names.get(k, _numbered(v, k))) for k, v in self.aux.items()},
        )
        for name, values in (("feature_names_3d", self.instances), ("feature_names_2d", self.x2d)):
            put(name, getattr(self, name) or _numbered(values, "f"))

    def _bounds(self) -> NDArray[np.int64]:
        if self.instances is None:
            return np.zeros(len(self.ids) + 1, dtype=np.int64)
        if self.offsets is None:
            raise MILError("offsets: expected bounds of the bags of instances; found none.")
        return np.asarray(self.offsets).astype(np.int64, casting="same_kind")

    @property
    def bounds(self) -> NDArray[np.int64]:
        """`offsets` as an array; zeros where there are no instances."""
        assert self.offsets is not None  # set when made
        return self.offsets

    @property
    def sizes(self) -> NDArray[np.int64]:
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
        picked = self._positions(rows)
        if len(np.unique(picked)) != len(picked):
            raise MILError("rows: expected distinct bags; found one twice.")
        at, offsets = self._instances_of(picked)
        changes: dict[str, Any] = {
            "ids": tuple(self.ids[i] for i in picked),
            "offsets": offsets,
            "failures": (),
        }
        for name in ("x2d", "labels", "weights"):
            changes[name] = _rows(getattr(self, name), picked)
        for name in ("aux", "aux_weights"):
            changes[name] = {k: v[picked] for k, v in getattr(self, name).items()}
        for name in ("instances", "energies"):
            changes[name] = _rows(getattr(self, name), at)
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
        picked = self._positions(rows)
        at, offsets = self._instances_of(picked)
        instances, x2d = _rows(self.instances, at), _rows(self.x2d, picked)
        if self.undefined_ok:
            for name, values in (("instances", instances), ("x2d", x2d)):
                if values is not None and not np.isfinite(values).all():
                    raise MILError(
                        f"{name}: expected scaled features in a batch; found undefined ones (NaN)."
                    )
        return Bags(
            instances=_tensor(instances),
            offsets=torch.from_numpy(offsets),
            x2d=_tensor(x2d),
            labels=_tensor(_rows(self.labels, picked)),
            weights=_tensor(_rows(self.weights, picked)),
            aux={k: _required(v[picked]) for k, v in self.aux.items()},
            aux_weights={k: _required(v[picked]) for k, v in self.aux_weights.items()},
            ids=tuple(self.ids[i] for i in picked),
        )

    def _positions(self, rows: ArrayLike) -> NDArray[np.int64]:
        given = np.asarray(rows)
        if given.dtype == np.bool_:
            if given.shape != (len(self),):
                raise MILError(
                    f"rows: expected a mask of shape [{len(self)}]; found {list(given.shape)}."
                )
            given = np.flatnonzero(given)
        if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
            raise MILError(
                f"rows: expected positions [R]; found {given.dtype}, {list(given.shape)}."
            )
        picked = given.astype(np.int64)
        if picked.size and not (picked.min() >= 0 and picked.max() < len(self)):
            raise MILError(
                f"rows: expected positions from 0 to {len(self) - 1}; "
                f"found {picked.min()} to {picked.max()}."
            )
        return picked

    def _instances_of(
        self, picked: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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


def _array(name: str, value: Any, dtype: type, dim: int) -> Any:
    if value is None:
        return None
    array: NDArray[Any] = np.asarray(value, dtype=dtype)
    if array.ndim != dim:
        raise MILError(f"{name}: expected {dim} dimensions; found shape {list(array.shape)}.")
    return array


def _numbered(values: NDArray[Any] | None, prefix: str) -> tuple[str, ...]:
    return () if values is None else tuple(f"{prefix}{i + 1}" for i in range(values.shape[1]))


def _rows(values: Any, rows: NDArray[np.int64]) -> Any:
    return None if values is None else values[rows]


def _tensor(values: NDArray[Any] | None) -> torch.Tensor | None:
    return None if values is None else _required(values)


def _required(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32, copy=False))
