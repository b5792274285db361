"""RDKit's two-dimensional descriptors."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from molpool_common import Float32Array, FloatArray, rdkit_version

from molecule_features._featurizer import MOLECULE_ERRORS, MoleculeByMolecule, defined

if TYPE_CHECKING:
    from rdkit.Chem import Mol

LEFT_OUT = ("Ipc",)
"""Grows exponentially with the molecule, past single precision at 60 atoms; AvgIpc, which is kept,
says the same."""


class Descriptors2D(MoleculeByMolecule):
    """All of RDKit's 2D descriptors but Ipc.

    NaN where a descriptor is not defined (partial charges of metals) or exceeds single precision.
    The list of RDKit grows from release to release: `names` says what it was.
    """

    milliseconds = 4.0

    def __init__(self) -> None:
        super().__init__("rdkit2d", "descriptor")

    @property
    def version(self) -> str:
        """RDKit's, and the number of descriptors."""
        return f"1-rdkit-{rdkit_version()}-{self.width}"

    @property
    def names(self) -> tuple[str, ...]:
        """RDKit's own."""
        return tuple(_functions())

    def row(self, mol: Mol) -> Float32Array:
        """Return the descriptors [F]."""
        known = _quick(mol)
        return defined(
            np.array(
                [
                    known[name] if name in known else _value(function, mol)
                    for name, function in _functions().items()
                ],
                dtype=np.float64,
            )
        )


@cache
def _functions() -> dict[str, Callable[[Any], float]]:
    from rdkit.Chem import Descriptors

    return {name: f for name, f in Descriptors.descList if name not in LEFT_OUT}


def _value(function: Callable[[Any], float], mol: Mol) -> float:
    try:
        return float(function(mol))
    except MOLECULE_ERRORS:  # no parameters for an atom
        return np.nan


def _quick(mol: Mol) -> dict[str, float]:
    """Return the descriptors that RDKit's own Python computes again and again, or slowly.

    The same numbers: `tests/test_rdkit2d.py` holds each against RDKit's. A molecule that breaks a
    shortcut is left to RDKit.
    """
    found: dict[str, float] = {}
    # qed counts on a molecule without its hydrogens; they are left to RDKit where some stay.
    hydrogens = any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms())
    try:
        found |= _estate(mol)
        found |= _surfaces(mol)
        found |= _sums(mol)
        found |= _fragments(mol)
        if mol.GetNumAtoms() > 1:
            found["BertzCT"] = _bertz(mol)
        found["AvgIpc"] = _average_ipc(mol)
        if not hydrogens:
            found["qed"] = _qed(mol)
    except MOLECULE_ERRORS:
        return found
    return found


def _estate(mol: Mol) -> dict[str, float]:
    """Return extremes of the electrotopological states of the atoms, computed once, not four times.

    Hall, Mohney and Kier, J. Chem. Inf. Comput. Sci. 31 (1991) 76-81.
    """
    from rdkit import Chem
    from rdkit.Chem.EState.EState import GetPrincipleQuantumNumber

    table = Chem.GetPeriodicTable()
    intrinsic = np.zeros(mol.GetNumAtoms())
    for i, atom in enumerate(mol.GetAtoms()):
        if atom.GetDegree():
            number = atom.GetAtomicNum()
            valence = table.GetNOuterElecs(number) - atom.GetTotalNumHs()
            shell = GetPrincipleQuantumNumber(number)  # type: ignore[no-untyped-call]
            intrinsic[i] = (4.0 / (shell * shell) * valence + 1) / atom.GetDegree()
    squared = np.square(Chem.GetDistanceMatrix(mol) + 1)
    # Between parts that are not connected RDKit's distance is 1e8.
    differences = np.where(squared < 1e12, (intrinsic[:, None] - intrinsic) / squared, 0)
    states = intrinsic + differences.sum(axis=1)
    # RDKit's own place for them, where its surface descriptors look.
    mol._eStateIndices = states
    sizes = np.abs(states)
    return {
        "MaxEStateIndex": states.max(),
        "MinEStateIndex": states.min(),
        "MaxAbsEStateIndex": sizes.max(),
        "MinAbsEStateIndex": sizes.min(),
    }


def _surfaces(mol: Mol) -> dict[str, float]:
    """Return the surface areas by charge, refractivity and logP: 3 calls, where RDKit makes 36.

    Labute, J. Mol. Graph. Model. 18 (2000) 464-477.
    """
    from rdkit.Chem import rdMolDescriptors

    families = (
        ("PEOE_VSA", rdMolDescriptors.PEOE_VSA_),
        ("SMR_VSA", rdMolDescriptors.SMR_VSA_),
        ("SlogP_VSA", rdMolDescriptors.SlogP_VSA_),
    )
    return {
        f"{name}{i}": float(area)
        for name, areas in families
        for i, area in enumerate(areas(mol), start=1)
    }


def _sums(mol: Mol) -> dict[str, float]:
    """Return what is summed over atoms or bonds.

    Chi indices: Kier and Hall, "Molecular Connectivity in Structure-Activity Analysis" (1986).
    """
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    degrees, valence, radicals = [], 0, 0
    for atom in mol.GetAtoms():
        degrees.append(atom.GetDegree())
        valence += table.GetNOuterElecs(atom.GetAtomicNum())
        valence += atom.GetTotalNumHs() - atom.GetFormalCharge()
        radicals += atom.GetNumRadicalElectrons()
    ends = [degrees[b.GetBeginAtomIdx()] * degrees[b.GetEndAtomIdx()] for b in mol.GetBonds()]
    return {
        "Chi0": sum(degree**-0.5 for degree in degrees if degree),
        "Chi1": sum(product**-0.5 for product in ends),
        "NumValenceElectrons": valence,
        "NumRadicalElectrons": radicals,
    }


def _bertz(mol: Mol) -> float:
    """Return Bertz's index of complexity: entropies of pairs of bonds and of elements.

    Bertz, J. Am. Chem. Soc. 103 (1981) 3599-3601.
    """
    from rdkit import Chem

    distances = Chem.GetDistanceMatrix(mol, useBO=True, force=True, prefix="Balaban")
    # Atoms count as the same where their sorted distances agree to four digits.
    rounded = np.round(np.sort(distances, axis=1)[:, :100] * 1e4)
    numbers: dict[bytes, int] = {}
    classes = [numbers.setdefault(row.tobytes(), len(numbers)) for row in rounded]
    pairs: defaultdict[tuple[int, ...], float] = defaultdict(float)
    near: list[list[tuple[int, float]]] = [[] for _ in classes]
    for bond in mol.GetBonds():
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order = 1.5 if bond.GetIsAromatic() else float(bond.GetBondType())
        near[a].append((classes[b], order))
        near[b].append((classes[a], order))
        if order > 1:
            pairs[_ascending(classes[a], classes[b])] += order * (order - 1) / 2
    for hinge, neighbours in zip(classes, near, strict=True):
        for (one, order), (other, other_order) in combinations(neighbours, 2):
            low, high = _ascending(one, other)
            pairs[low, hinge, high] += order * other_order
    counts = list(pairs.values()) or [1]
    elements = Counter(atom.GetAtomicNum() for atom in mol.GetAtoms())
    total = sum(counts)
    connections = total * (_entropy(counts) + np.log2(total))
    return float(connections + mol.GetNumAtoms() * _entropy(list(elements.values())))


def _ascending(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a <= b else (b, a)


def _entropy(counts: Sequence[float] | FloatArray) -> float:
    """Return the entropy of counts in bits."""
    p = np.asarray(counts, dtype=np.float64) / sum(counts)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def _average_ipc(mol: Mol) -> float:
    from rdkit import Chem
    from rdkit.Chem.Graphs import CharacteristicPolynomial

    # Floats: with RDKit's own matrix of bool each of its products first converts it.
    bonded = (Chem.GetDistanceMatrix(mol) == 1).astype(np.float64)
    polynomial = CharacteristicPolynomial(mol, bonded)  # type: ignore[no-untyped-call]
    return _entropy(np.abs(polynomial))


def _qed(mol: Mol) -> float:
    """Return the quantitative estimate of drug-likeness.

    On the molecule itself, where RDKit's partial results (Crippen's contributions) are cached.
    """
    from rdkit import Chem
    from rdkit.Chem import QED, Crippen, rdMolDescriptors

    strict = rdMolDescriptors.NumRotatableBondsOptions.Strict
    rings = Chem.DeleteSubstructs(Chem.Mol(mol), QED.AliphaticRings)
    found = QED.QEDproperties(  # type: ignore[no-untyped-call]
        MW=rdMolDescriptors._CalcMolWt(mol),
        ALOGP=Crippen.MolLogP(mol),  # type: ignore[attr-defined]
        HBA=sum(len(mol.GetSubstructMatches(pattern)) for pattern in QED.Acceptors),
        HBD=rdMolDescriptors.CalcNumHBD(mol),
        PSA=rdMolDescriptors.CalcTPSA(mol),
        ROTB=rdMolDescriptors.CalcNumRotatableBonds(mol, strict),
        AROM=len(Chem.GetSSSR(rings)),
        ALERTS=sum(mol.HasSubstructMatch(p.query) for p in _possible(_alerts(), mol)),
    )
    return float(QED.qed(mol, qedProperties=found))  # type: ignore[no-untyped-call]


def _fragments(mol: Mol) -> dict[str, float]:
    """Return RDKit's counts of functional groups; those that cannot match are not tried."""
    found: dict[str, float] = {pattern.name: 0 for pattern in _groups()}
    for pattern in _possible(_groups(), mol):
        found[pattern.name] = len(mol.GetSubstructMatches(pattern.query))
    return found


class _Pattern(NamedTuple):
    """A substructure, and the kinds of atom without one of which it cannot match.

    Parameters
    ----------
    name : str
        Of the descriptor, "" for an alert of QED.
    query : Mol
        The substructure.
    needs : tuple of frozenset of int
        For atoms of the query, the kinds that they can match: atomic numbers, aromatic ones + 1000.
    """

    name: str
    query: Mol
    needs: tuple[frozenset[int], ...]

    @classmethod
    def of(cls, query: Mol, name: str = "") -> _Pattern:
        """Return the pattern of a query, with what RDKit says that its atoms match."""
        found = {_kinds(atom.DescribeQuery().splitlines()) for atom in query.GetAtoms()}
        needs = sorted((kinds for kinds in found if kinds), key=len)
        # Carbon and aromatic carbon are in nearly all molecules: asking for them takes time.
        return cls(name, query, tuple(kinds for kinds in needs if not kinds & {6, 1006}))


def _possible(patterns: Sequence[_Pattern], mol: Mol) -> list[_Pattern]:
    """Return the patterns of whose atoms the molecule has each kind."""
    present = {atom.GetAtomicNum() + 1000 * atom.GetIsAromatic() for atom in mol.GetAtoms()}
    return [p for p in patterns if not any(present.isdisjoint(kinds) for kinds in p.needs)]


def _kinds(lines: Sequence[str]) -> frozenset[int]:
    """Return the kinds of atom that a query can match, empty where it tells none.

    Parameters
    ----------
    lines : sequence of str
        A query as RDKit describes it: a line each, parts of "and" and "or" indented.
    """
    label, *rest = lines[0].split()
    if label in ("AtomType", "AtomAtomicNum") and rest[1:] == ["=", "val"]:
        number = int(rest[0])
        return frozenset((number, number + 1000) if label == "AtomAtomicNum" else (number,))
    # One step of indentation is two spaces.
    starts = [i for i, line in enumerate(lines) if i and line[:2] == "  " and line[2] != " "]
    ends = [*starts[1:], len(lines)]
    parts = [_kinds([x[2:] for x in lines[i:j]]) for i, j in zip(starts, ends, strict=False)]
    if label == "AtomAnd":
        return min((kinds for kinds in parts if kinds), key=len, default=frozenset())
    if label == "AtomOr" and all(parts):
        return frozenset().union(*parts)
    return frozenset()


@cache
def _alerts() -> tuple[_Pattern, ...]:
    from rdkit.Chem import QED

    return tuple(_Pattern.of(query) for query in QED.StructuralAlerts)


@cache
def _groups() -> tuple[_Pattern, ...]:
    from rdkit.Chem import Fragments

    # Each function has its pattern as a default.
    return tuple(_Pattern.of(function.__defaults__[1], name) for name, function in Fragments.fns)
