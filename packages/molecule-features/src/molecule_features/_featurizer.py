"""What a featuriser is: a name, a version, named columns, and numbers for canonical SMILES."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from molpool_common import Float32Array, FloatArray

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Kind = Literal["count", "bit", "descriptor", "embedding"]
"""What the numbers of a block are, by which models scale them.

`count`: non-negative integers; `bit`: 0 or 1; `descriptor`: columns of different units;
`embedding`: columns of a network, of one unit.
"""

KINDS: tuple[Kind, ...] = ("count", "bit", "descriptor", "embedding")

MOLECULE_ERRORS = (ValueError, RuntimeError, ArithmeticError, IndexError, KeyError)
"""What a featuriser raises for a molecule that it cannot describe: RDKit's broken invariants,
elements that a network does not know."""


@runtime_checkable
class Featurizer(Protocol):
    """Turns molecules into rows of numbers.

    A package offers its own through the entry point group ``molecule_features.featurizers``: a
    class or a function without arguments that returns one, under the name of the featuriser.

    Attributes
    ----------
    name : str
        As in `featurize(smiles, "NAME+OTHER")`.
    version : str
        Of all that decides the numbers (library, weights). Numbers of another version are never
        taken from the cache.
    kind : {'count', 'bit', 'descriptor', 'embedding'}
        What the numbers are.
    names : tuple of str [F]
        Of the columns.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def names(self) -> tuple[str, ...]: ...

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, F] of canonical SMILES that RDKit reads.

        A row must depend on its own molecule alone. NaN stands for what is not defined. What a
        molecule cannot have at all is raised as a `ValueError` or `RuntimeError`, whose message is
        the reason: the other molecules of the group are then tried one by one.
        """
        ...


class Block(NamedTuple):
    """Neighbouring columns that one featuriser computes.

    Parameters
    ----------
    name : str
        Of the featuriser.
    start, stop : int
        The columns ``start:stop``.
    kind : {'count', 'bit', 'descriptor', 'embedding'}
        What the numbers are.
    version : str
        Of the featuriser.
    trained_on : tuple of str
        Public end points whose labels the featuriser's network has seen: as features of the same
        end point they look better than they will be.
    """

    name: str
    start: int
    stop: int
    kind: Kind
    version: str = ""
    trained_on: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.stop - self.start

    @property
    def columns(self) -> slice:
        """The columns as a slice."""
        return slice(self.start, self.stop)


class OwnFeaturizer(ABC):
    """A featuriser of this package.

    Parameters
    ----------
    name : str
        As in `featurize`.
    kind : {'count', 'bit', 'descriptor', 'embedding'}
        What the numbers are.
    """

    max_heavy_atoms: ClassVar[int] = 500
    """Larger molecules are refused with a reason: some descriptors grow with the cube of the atoms,
    and none was made for them."""

    milliseconds: ClassVar[float] = 1.0
    """Roughly, a molecule on one core: below a second in all, no process is started."""

    in_processes: ClassVar[bool] = True
    """Whether several processes are faster than the one process's own threads."""

    trained_on: tuple[str, ...] = ()

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind: Kind = kind

    @property
    @abstractmethod
    def version(self) -> str:
        """Of all that decides the numbers."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the columns."""

    @property
    def width(self) -> int:
        """Number of columns F."""
        return len(self.names)

    @property
    def dtype(self) -> type[np.float32]:
        """Of what `transform` returns."""
        return np.float32

    @abstractmethod
    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, F] of canonical SMILES."""


class MoleculeByMolecule(OwnFeaturizer):
    """A featuriser that computes one molecule at a time, from RDKit's own."""

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, F] of canonical SMILES."""
        values = np.empty((len(smiles), self.width), dtype=np.float32)
        for row, text in enumerate(smiles):
            values[row] = self.row(read(text))
        return values

    @abstractmethod
    def row(self, mol: Mol) -> Float32Array:
        """Return the numbers [F] of one molecule."""


def read(smiles: str) -> Mol:
    """Return the molecule of a canonical SMILES.

    Raises
    ------
    ValueError
        If RDKit does not read its own SMILES, as happens for some metal complexes.
    """
    from rdkit import Chem

    mol: Mol | None = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError("RDKit does not read its own canonical SMILES")
    return mol


def defined(values: FloatArray) -> Float32Array:
    """Return values in single precision; NaN where infinite or out of its range."""
    inside = np.abs(values) <= np.finfo(np.float32).max
    return np.where(inside, values, np.nan).astype(np.float32)


def first_line(error: BaseException) -> str:
    """Return the first line of a message, of which RDKit's have many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
