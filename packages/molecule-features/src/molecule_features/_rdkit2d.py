"""RDKit's two-dimensional descriptors."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from molpool_common import Float32Array, FloatArray, rdkit_version

from molecule_features._featurizer import MOLECULE_ERRORS, MoleculeByMolecule, defined

if TYPE_CHECKING:
    from rdkit.Chem import Bond, Mol

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
    graph = _Graph.of(mol)
    try:
        found |= _estate(mol, graph)
        found |= _surfaces(mol)
        found |= _sums(graph)
        missing = _missing(graph)
        found |= _fragments(mol, missing)
        if len(graph.numbers) > 1 and graph.is_plain:
            found["BertzCT"] = _bertz(mol, graph)
        found["AvgIpc"] = _average_ipc(mol)
        found["SPS"] = _spacial(mol, graph)
        # Both are of a molecule without its hydrogens; left to RDKit where some stay.
        if 1 not in graph.numbers:
            found["qed"] = _qed(mol, missing)
            # Last: of metals there are no charges.
            found |= _burden(mol, graph)
    except MOLECULE_ERRORS:
        return found
    return found


class _Graph(NamedTuple):
    """What several descriptors ask of each atom and bond, asked once.

    Parameters
    ----------
    numbers, degrees, hydrogens, charges, radicals : list of int, length A
        Of the atoms: atomic number, neighbours, hydrogens, formal charge, unpaired electrons.
    aromatic : list of bool, length A
        Whether an atom is.
    masses : list of float, length A
        In g/mol.
    bonds : list of (int, int, float), length B
        Both ends and the order, 1.5 of an aromatic one, 0 of another kind.
    """

    numbers: list[int]
    degrees: list[int]
    hydrogens: list[int]
    charges: list[int]
    radicals: list[int]
    aromatic: list[bool]
    masses: list[float]
    bonds: list[tuple[int, int, float]]

    @property
    def is_plain(self) -> bool:
        """Whether all bonds are single, double, triple or aromatic."""
        return all(order for _, _, order in self.bonds)

    @classmethod
    def of(cls, mol: Mol) -> _Graph:
        """Ask."""
        atoms = list(mol.GetAtoms())
        bonds = [
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), _order_of().get(bond.GetBondType(), 0.0))
            for bond in mol.GetBonds()
        ]
        return cls(
            [atom.GetAtomicNum() for atom in atoms],
            [atom.GetDegree() for atom in atoms],
            [atom.GetTotalNumHs() for atom in atoms],
            [atom.GetFormalCharge() for atom in atoms],
            [atom.GetNumRadicalElectrons() for atom in atoms],
            [atom.GetIsAromatic() for atom in atoms],
            [atom.GetMass() for atom in atoms],
            bonds,
        )


@cache
def _order_of() -> dict[Any, float]:
    from rdkit.Chem import BondType as Type

    return {Type.SINGLE: 1.0, Type.DOUBLE: 2.0, Type.TRIPLE: 3.0, Type.AROMATIC: 1.5}


@cache
def _shell(number: int) -> tuple[int, int]:
    """Return outer electrons and principal quantum number of an element."""
    from rdkit import Chem
    from rdkit.Chem.EState.EState import GetPrincipleQuantumNumber

    outer = Chem.GetPeriodicTable().GetNOuterElecs(number)
    return outer, GetPrincipleQuantumNumber(number)  # type: ignore[no-untyped-call]


def _estate(mol: Mol, graph: _Graph) -> dict[str, float]:
    """Return extremes of the electrotopological states of the atoms, computed once, not four times.

    Hall, Mohney and Kier, J. Chem. Inf. Comput. Sci. 31 (1991) 76-81.
    """
    from rdkit import Chem

    intrinsic = np.zeros(len(graph.numbers))
    for i, degree in enumerate(graph.degrees):
        if degree:
            outer, shell = _shell(graph.numbers[i])
            valence = outer - graph.hydrogens[i]
            intrinsic[i] = (4.0 / (shell * shell) * valence + 1) / degree
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


def _sums(graph: _Graph) -> dict[str, float]:
    """Return what is summed over atoms or bonds.

    Chi indices: Kier and Hall, "Molecular Connectivity in Structure-Activity Analysis" (1986).
    """
    degrees = graph.degrees
    outer = sum(_shell(number)[0] for number in graph.numbers)
    return {
        "Chi0": sum(degree**-0.5 for degree in degrees if degree),
        "Chi1": sum((degrees[a] * degrees[b]) ** -0.5 for a, b, _ in graph.bonds),
        "NumValenceElectrons": outer + sum(graph.hydrogens) - sum(graph.charges),
        "NumRadicalElectrons": sum(graph.radicals),
    }


def _bertz(mol: Mol, graph: _Graph) -> float:
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
    for a, b, order in graph.bonds:
        near[a].append((classes[b], order))
        near[b].append((classes[a], order))
        if order > 1:
            pairs[_ascending(classes[a], classes[b])] += order * (order - 1) / 2
    for hinge, neighbours in zip(classes, near, strict=True):
        for (one, order), (other, other_order) in combinations(neighbours, 2):
            low, high = _ascending(one, other)
            pairs[low, hinge, high] += order * other_order
    counts = list(pairs.values()) or [1]
    elements = Counter(graph.numbers)
    total = sum(counts)
    connections = total * (_entropy(counts) + np.log2(total))
    return float(connections + len(graph.numbers) * _entropy(list(elements.values())))


def _ascending(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a <= b else (b, a)


def _entropy(counts: Sequence[float] | FloatArray) -> float:
    """Return the entropy of counts in bits."""
    p = np.asarray(counts, dtype=np.float64) / sum(counts)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def _spacial(mol: Mol, graph: _Graph) -> float:
    """Return the spacial score per heavy atom, of the stereo that RDKit looks for once.

    Krzyzanowski et al., J. Med. Chem. 66 (2023) 12739-12750.
    """
    from rdkit import Chem
    from rdkit.Chem import rdmolops

    other = Chem.Mol(mol)
    rdmolops.FindPotentialStereoBonds(other)
    centres = Chem.FindMolChiralCenters(  # type: ignore[no-untyped-call]
        other, includeUnassigned=True, includeCIP=False, useLegacyImplementation=False
    )
    stereo = {atom for atom, _ in centres}
    none, double = Chem.BondStereo.STEREONONE, Chem.BondType.DOUBLE
    for bond in other.GetBonds():
        if bond.GetBondType() == double and bond.GetStereo() != none:
            stereo |= {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}
    score = 0
    for i, atom in enumerate(other.GetAtoms()):
        ring = 2 if not graph.aromatic[i] and atom.IsInRing() else 1
        hybrid = _hybrids().get(atom.GetHybridization(), 4)
        score += hybrid * (2 if i in stereo else 1) * ring * graph.degrees[i] ** 2
    return score / other.GetNumHeavyAtoms()


@cache
def _hybrids() -> dict[Any, int]:
    from rdkit.Chem import HybridizationType as Type

    return {Type.SP: 1, Type.SP2: 2, Type.SP3: 3}


def _burden(mol: Mol, graph: _Graph) -> dict[str, float]:
    """Return extremes of partial charges, and of eigenvalues of Burden matrices.

    These are symmetric, which RDKit's solver makes no use of (Pearlman and Smith, Perspect. Drug
    Discov. Des. 9-11 (1998) 339-353).
    """
    from rdkit.Chem import rdMolDescriptors, rdPartialCharges

    rdPartialCharges.ComputeGasteigerCharges(mol, throwOnParamFailure=True)
    charges = np.array([atom.GetDoubleProp("_GasteigerCharge") for atom in mol.GetAtoms()])
    crippen = rdMolDescriptors._CalcCrippenContribs(mol)
    n = len(charges)
    matrix = np.full((n, n), 0.001)
    for a, b, order in graph.bonds:
        matrix[a, b] = matrix[b, a] = order**-0.5
    stack = np.repeat(matrix[None], 4, axis=0)
    own = [graph.masses, charges, *zip(*crippen, strict=True)]
    stack[:, np.arange(n), np.arange(n)] = own
    values = np.linalg.eigvalsh(stack)
    found = {
        f"BCUT2D_{name}": value for name, value in zip(_BCUT, values[:, [-1, 0]].flat, strict=True)
    }
    sizes = np.abs([charges.min(), charges.max()])
    return found | {
        "MinPartialCharge": charges.min(),
        "MaxPartialCharge": charges.max(),
        "MinAbsPartialCharge": sizes.min(),
        "MaxAbsPartialCharge": sizes.max(),
    }


_BCUT = ("MWHI", "MWLOW", "CHGHI", "CHGLO", "LOGPHI", "LOGPLOW", "MRHI", "MRLOW")


def _average_ipc(mol: Mol) -> float:
    from rdkit import Chem
    from rdkit.Chem.Graphs import CharacteristicPolynomial

    # Floats: with RDKit's own matrix of bool each of its products first converts it.
    bonded = (Chem.GetDistanceMatrix(mol) == 1).astype(np.float64)
    polynomial = CharacteristicPolynomial(mol, bonded)  # type: ignore[no-untyped-call]
    return _entropy(np.abs(polynomial))


def _qed(mol: Mol, missing: frozenset[int]) -> float:
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
        ALERTS=sum(
            mol.HasSubstructMatch(p.query)
            for p in _patterns().alerts
            if missing.isdisjoint(p.needs)
        ),
    )
    return float(QED.qed(mol, qedProperties=found))  # type: ignore[no-untyped-call]


def _fragments(mol: Mol, missing: frozenset[int]) -> dict[str, float]:
    """Return RDKit's counts of functional groups; those that cannot match are not tried."""
    found: dict[str, float] = {pattern.name: 0 for pattern in _patterns().groups}
    for pattern in _patterns().groups:
        if missing.isdisjoint(pattern.needs):
            found[pattern.name] = len(mol.GetSubstructMatches(pattern.query))
    return found


Kinds = frozenset[int]
"""Atoms by what they are: atomic numbers, of aromatic atoms + 1000."""

Need = frozenset[Any]
"""Of these a molecule must have one: kinds of atom, (kind, order of a bond at it) or (kind, kind,
order) in ascending order of the kinds."""

_ORDERS = (1.0, 1.5, 2.0, 3.0)


class _Pattern(NamedTuple):
    """A substructure, and what a molecule must have for it to match.

    Parameters
    ----------
    name : str
        Of the descriptor, "" for an alert of QED.
    query : Mol
        The substructure.
    needs : frozenset of int
        Numbers of its needs among those of all patterns.
    """

    name: str
    query: Mol
    needs: frozenset[int]


class _Patterns(NamedTuple):
    """The functional groups, the alerts of QED, and all that any of them needs, once each."""

    groups: tuple[_Pattern, ...]
    alerts: tuple[_Pattern, ...]
    needs: tuple[Need, ...]


@cache
def _patterns() -> _Patterns:
    from rdkit.Chem import QED, Fragments

    numbers: dict[Need, int] = {}

    def of(query: Mol, name: str = "") -> _Pattern:
        own = (numbers.setdefault(need, len(numbers)) for need in _needs(query))
        return _Pattern(name, query, frozenset(own))

    # Each function has its pattern as a default.
    groups = tuple(of(function.__defaults__[1], name) for name, function in Fragments.fns)
    alerts = tuple(of(query) for query in QED.StructuralAlerts)
    return _Patterns(groups, alerts, tuple(numbers))


def _needs(query: Mol) -> Iterator[Need]:
    """Yield what RDKit says that the atoms of a query and its bonds match."""
    kinds = [_kinds(atom.DescribeQuery().splitlines()) for atom in query.GetAtoms()]
    # Carbon and aromatic carbon are in nearly all molecules: asking for them takes time.
    yield from (own for own in kinds if own and not own & {6, 1006})
    for bond in query.GetBonds():
        orders = _orders(bond)
        one, other = kinds[bond.GetBeginAtomIdx()], kinds[bond.GetEndAtomIdx()]
        if one and other:
            pairs = product(one, other, orders)
            yield frozenset((*_ascending(a, b), order) for a, b, order in pairs)
        elif one or other:
            yield frozenset(product(one or other, orders))


def _orders(bond: Bond) -> tuple[float, ...]:
    """Return the orders that a bond of a query can match."""
    words = bond.DescribeQuery().split()
    if words[0] == "BondOrder" and words[2:] == ["=", "val"]:
        return (_ORDER_OF.get(int(words[1]), float(words[1])),)
    return (1.0, 1.5) if words[0] == "SingleOrAromaticBond" else _ORDERS


_ORDER_OF = {12: 1.5}
"""Orders of RDKit's numbers of bond types."""


def _missing(graph: _Graph) -> frozenset[int]:
    """Return the needs of all patterns that a molecule does not meet."""
    kinds = [n + 1000 * a for n, a in zip(graph.numbers, graph.aromatic, strict=True)]
    present: set[Any] = set(kinds)
    # An order that no pattern names leaves all of them possible.
    if not graph.is_plain:
        return frozenset()
    for a, b, order in {(*_ascending(kinds[a], kinds[b]), order) for a, b, order in graph.bonds}:
        present |= {(a, b, order), (a, order), (b, order)}
    needs = _patterns().needs
    return frozenset(i for i, need in enumerate(needs) if need.isdisjoint(present))


def _kinds(lines: Sequence[str]) -> Kinds:
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
