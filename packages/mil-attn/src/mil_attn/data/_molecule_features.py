"""Conformers and descriptors of one molecule, by RDKit.

Nothing here raises for what a molecule is: results hold the reason where there is none. RDKit's
log is held back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from molpool_common import BoolArray, Float32Array, FloatArray, IntArray
from numpy.typing import NDArray

from mil_attn._config import ConformerConfig, Descriptors2DConfig, DescriptorSet
from mil_attn._errors import MILError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

RDKIT_ERRORS = (RuntimeError, ValueError, ArithmeticError, IndexError)
"""What RDKit raises for one molecule: broken invariants, failed sanitisation, unknown atoms."""

_KT = 0.0019872043 * 298.15
"""Thermal energy at 25 °C, kcal/mol."""

_MATCHES = 1000
"""Symmetries tried: rings and tert-butyls multiply; past this the best of those tried counts."""

SIZES: dict[DescriptorSet, int] = {
    "usrcat": 60,
    "shape": 11,
    "whim": 114,
    "autocorr3d": 80,
    "rdf": 210,
    "morse": 224,
    "getaway": 273,
}
"""Values of each family. USRCAT: Schreyer and Blundell, J. Cheminform. 4:27 (2012); shape: moments
and their ratios, Sauer and Schwarz, J. Chem. Inf. Comput. Sci. 43 (2003) 987–1003; the others:
Todeschini and Consonni, "Molecular Descriptors for Chemoinformatics" (2009)."""

LEFT_OUT = ("Ipc",)
"""Grows exponentially with the molecule, past single precision; AvgIpc says the same."""


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back RDKit's own log.

    Raises
    ------
    ImportError
        Without RDKit; names the extra.
    """
    require_rdkit()
    from rdkit import rdBase

    with rdBase.BlockLogs():
        yield


def require_rdkit() -> None:
    """Raise ImportError that names the extra where RDKit is missing."""
    try:
        import rdkit  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "conformers and descriptors need RDKit, which the extra `chem` installs: "
            "pip install 'mil-attn[chem]'"
        ) from error


def read_smiles(smiles: str) -> tuple[Mol | None, str]:
    """Return a molecule, or None and the reason."""
    from molpool_common import parse_smiles

    parsed = parse_smiles([smiles])
    return parsed.mols[0], f"not a SMILES: {parsed.bad[0].reason}" if parsed.bad else ""


def first_line(error: Exception) -> str:
    """Return the first line of a message, of which RDKit's have many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class Conformers(NamedTuple):
    """The conformers of a molecule, lowest first.

    Parameters
    ----------
    positions : ndarray of float32 [K, A, 3]
        Å; A atoms with hydrogens, in the order of ``Chem.AddHs(Chem.MolFromSmiles(smiles))``.
    energies : ndarray of float64 [K]
        kcal/mol above the lowest; NaN where they are not relaxed.
    reason : str
        Why there is none, "" where there are some.
    """

    positions: Float32Array
    energies: FloatArray
    reason: str = ""


def no_conformers(reason: str) -> Conformers:
    """Return that there are none, and why."""
    return Conformers(np.zeros((0, 0, 3), dtype=np.float32), np.zeros(0), reason)


def embed(smiles: str, config: ConformerConfig) -> Conformers:
    """Return the conformers of a molecule; never raises for what a molecule is.

    Parameters
    ----------
    smiles : str
        The molecule.
    config : ConformerConfig
        Number, energy window, RMSD, seed. The seed alone decides, not the molecules around.

    References
    ----------
    Riniker and Landrum, J. Chem. Inf. Model. 55 (2015) 2562–2574; Wang et al., ibid. 60 (2020)
    2044–2058 (ETKDGv3); Halgren, J. Comput. Chem. 17 (1996) 490–519 (MMFF94).
    """
    with quiet():
        try:
            mol, reason = read_smiles(smiles)
            return no_conformers(reason) if mol is None else _embed(mol, config)
        except RDKIT_ERRORS as error:
            return no_conformers(f"RDKit: {first_line(error)}")


def boltzmann_weights(energies: FloatArray, offsets: IntArray) -> FloatArray:
    """Return weights of conformers by energy at 25 °C, which sum to 1 in each bag.

    Parameters
    ----------
    energies : ndarray [M]
        kcal/mol; within a bag all known or, for equal weights, none (NaN).
    offsets : ndarray of int [N + 1]
        Bounds of the bags.

    Raises
    ------
    MILError
        If a bag has some energies and lacks others.
    """
    starts, bag = offsets[:-1], np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    known = np.add.reduceat(np.isfinite(energies).astype(np.int64), starts)
    partly = (known > 0) & (known < np.diff(offsets))
    if partly.any():
        raise MILError(
            "energies: expected one for each instance of a bag, or none; found some in bag number "
            f"{int(np.argmax(partly))} from 0."
        )
    filled = np.where(np.isfinite(energies), energies, 0.0)
    factors = np.exp((np.minimum.reduceat(filled, starts)[bag] - filled) / _KT)
    return np.asarray(factors / np.add.reduceat(factors, starts)[bag])


def conformer_molecule(smiles: str, conformers: Conformers, config: ConformerConfig) -> Mol:
    """Return the molecule with hydrogens that `embed` embedded, conformers numbered from 0."""
    from rdkit import Chem

    with quiet():
        mol, reason = read_smiles(smiles)
        if mol is None:
            raise MILError(f"smiles: expected a molecule; found {smiles!r} ({reason}).")
        mol = _with_hydrogens(mol, config)
    for positions in conformers.positions:
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.Set3D(True)
        conformer.SetPositions(positions.astype(np.float64))
        mol.AddConformer(conformer, assignId=True)
    return mol


def _embed(heavy: Mol, config: ConformerConfig) -> Conformers:
    mol = _with_hydrogens(heavy, config)
    late = _place(mol, config)
    if not mol.GetNumConformers():
        limit = f" in {config.max_seconds} s" if late else ""
        return no_conformers(
            f"no conformer embeds{limit} (ETKDGv3, {config.count} asked for, seed {config.seed})"
        )
    energies = _relax(mol, config)
    positions = np.stack([c.GetPositions() for c in mol.GetConformers()]).astype(np.float32)
    usable = np.isfinite(positions).all(axis=(1, 2)) & ~np.isinf(energies)
    if not usable.any():
        return no_conformers("no conformer of finite energy")
    stay = _pruned(mol, energies, usable, config)
    # Relative to the lowest: a force field's absolute energy means nothing across molecules.
    return Conformers(positions[stay], energies[stay] - energies[stay[0]])


def _with_hydrogens(mol: Mol, config: ConformerConfig) -> Mol:
    from rdkit import Chem

    if config.largest_fragment:
        # Distances between a molecule and its counter-ion are arbitrary in an embedding.
        mol = max(Chem.GetMolFrags(mol, asMols=True), key=lambda part: part.GetNumHeavyAtoms())
    return Chem.AddHs(mol)


def _place(mol: Mol, config: ConformerConfig) -> bool:
    """Embed, from random coordinates where distance geometry fails; return whether time ran out."""
    from rdkit.Chem import rdDistGeom

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = _rdkit_seed(config.seed)
    # Molecules are spread over processes; threads within one would compete with them.
    parameters.numThreads = 1
    parameters.timeout = config.max_seconds
    began = monotonic()
    for random in (False, True):
        parameters.useRandomCoords = random
        rdDistGeom.EmbedMultipleConfs(mol, config.count, parameters)
        late = bool(config.max_seconds) and monotonic() - began >= config.max_seconds
        if late or mol.GetNumConformers():
            return late
    return False


def _rdkit_seed(seed: int) -> int:
    """Return a seed that RDKit can use, from 1 to 2**20.

    RDKit multiplies it with the number of the conformer: with 0 all conformers would be the same,
    seeds 1 and 2 would share half of theirs, and large ones would overflow.
    """
    return 1 + int(np.random.SeedSequence(seed).generate_state(1)[0]) % 2**20


def _relax(mol: Mol, config: ConformerConfig) -> FloatArray:
    """Relax in place and return energies [K], NaN where no force field knows the molecule.

    An energy that is not finite becomes infinite.
    """
    from rdkit.Chem import rdForceFieldHelpers

    if not config.mmff:
        return np.full(mol.GetNumConformers(), np.nan)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        relax: Any = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs
    # MMFF94 is the more accurate for organic molecules but lacks many elements, which UFF covers.
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        relax = rdForceFieldHelpers.UFFOptimizeMoleculeConfs
    else:
        return np.full(mol.GetNumConformers(), np.nan)
    done = relax(mol, numThreads=1, maxIters=config.mmff_iterations)
    energies = np.array([energy for _, energy in done], dtype=np.float64)
    return np.where(np.isfinite(energies), energies, np.inf)


def _pruned(
    mol: Mol, energies: FloatArray, usable: BoolArray, config: ConformerConfig
) -> list[int]:
    """Return which conformers stay, lowest first; in their order where energies are not known."""
    order = np.argsort(energies, kind="stable")
    order = order[usable[order]]
    if config.energy_window is not None:
        # Negated, so that unknown energies (NaN) stay.
        order = order[~(energies[order] > energies[order[0]] + config.energy_window)]
    if config.rmsd == 0 or len(order) < 2:
        return [int(i) for i in order]
    return _apart(_distances(mol), order.tolist(), config.rmsd)


def _apart(distances: FloatArray, order: list[int], least: float) -> list[int]:
    """Return each of an order that is at least so far from all before it that stay."""
    stay: list[int] = []
    for i in order:
        # Lowest first: of two conformers that are too close the one of lower energy represents
        # both.
        if not stay or distances[i, stay].min() >= least:
            stay.append(i)
    return stay


def _distances(mol: Mol) -> FloatArray:
    """Return the RMSD [K, K] between conformers, heavy atoms, best of all symmetries, in Å."""
    from rdkit import Chem
    from rdkit.Chem import rdMolAlign

    # Symmetries of hydrogens (methyl groups) multiply the matches and distinguish no conformers.
    heavy = Chem.RemoveHs(mol, sanitize=False)
    n = mol.GetNumConformers()
    lower = rdMolAlign.GetAllConformerBestRMS(heavy, numThreads=1, maxMatches=_MATCHES)
    distances = np.zeros((n, n))
    distances[np.tril_indices(n, -1)] = list(lower)
    return distances + distances.T


def names_3d(families: Sequence[DescriptorSet]) -> tuple[str, ...]:
    """Return the names of the columns of `describe`: ``whim_1`` to ``whim_114``, ..."""
    return tuple(f"{family}_{i + 1}" for family in families for i in range(SIZES[family]))


def describe_conformers(mol: Mol, families: Sequence[DescriptorSet]) -> Float32Array:
    """Return the descriptors [K, F] of the conformers of a molecule with hydrogens.

    NaN where a descriptor is not defined: USRCAT of two atoms, WHIM of a point.
    """
    ids = [conformer.GetId() for conformer in mol.GetConformers()]
    with quiet():
        blocks = [_family(mol, ids, family) for family in families]
    return np.concatenate([np.zeros((len(ids), 0), dtype=np.float32), *blocks], axis=1)


def _family(mol: Mol, ids: Sequence[int], family: DescriptorSet) -> Float32Array:
    values = np.full((len(ids), SIZES[family]), np.nan)
    compute = _function(family)
    for row, conformer in enumerate(ids):
        try:
            values[row] = compute(mol, confId=conformer)
        except RDKIT_ERRORS:  # too few atoms
            continue
    return defined(values)


def defined(values: FloatArray) -> Float32Array:
    """Return values in single precision; NaN where infinite or out of its range."""
    inside = np.abs(values) <= np.finfo(np.float32).max
    return np.where(inside, values, np.nan).astype(np.float32)


def _function(family: DescriptorSet) -> Callable[..., Sequence[float]]:
    from rdkit.Chem import rdMolDescriptors

    functions: dict[DescriptorSet, Callable[..., Sequence[float]]] = {
        "usrcat": rdMolDescriptors.GetUSRCAT,
        "shape": _shape,
        "whim": partial(rdMolDescriptors.CalcWHIM, thresh=0.001),
        "autocorr3d": rdMolDescriptors.CalcAUTOCORR3D,
        "rdf": rdMolDescriptors.CalcRDF,
        "morse": rdMolDescriptors.CalcMORSE,
        "getaway": rdMolDescriptors.CalcGETAWAY,
    }
    return functions[family]


def _shape(mol: Mol, confId: int) -> list[float]:  # as RDKit calls it
    """Return moments of inertia, their ratios, gyration, sphericity and planarity."""
    from rdkit.Chem import Descriptors3D

    return [function(mol, confId=confId) for _, function in Descriptors3D.descList]


class Described(NamedTuple):
    """The features of one molecule.

    Parameters
    ----------
    values : ndarray of float32 [D]
        Descriptors; NaN where not defined.
    counts : ndarray of uint16 [bits]
        Morgan counts.
    reason : str
        Why the molecule has no features, "" where it has.
    """

    values: Float32Array
    counts: NDArray[np.uint16]
    reason: str = ""


def names_2d(config: Descriptors2DConfig) -> tuple[str, ...]:
    """Return the names of the columns: RDKit's own, then ``morgan2_1``, ..."""
    require_rdkit()
    names = tuple(name for name, _ in _functions()) if config.descriptors else ()
    prefix = f"morgan{config.morgan_radius}_"
    return names + tuple(f"{prefix}{i + 1}" for i in range(config.morgan_bits))


def describe_molecule(smiles: str, config: Descriptors2DConfig) -> Described:
    """Return the features of a molecule; never raises for what a molecule is.

    References
    ----------
    Rogers and Hahn, J. Chem. Inf. Model. 50 (2010) 742–754 (Morgan counts).
    """
    with quiet():
        mol, reason = read_smiles(smiles)
        if mol is None:
            return nothing_described(config, reason)
        try:
            counts = _counts(mol, config)
        except RDKIT_ERRORS as error:
            return nothing_described(config, f"RDKit: {first_line(error)}")
        functions = _functions() if config.descriptors else ()
        values = np.array([_value(function, mol) for _, function in functions], dtype=np.float64)
    return Described(defined(values), counts)


def _value(function: Callable[[Any], float], mol: Mol) -> float:
    try:
        return float(function(mol))
    except RDKIT_ERRORS:  # no parameters for an atom: partial charges of metals
        return np.nan


def _counts(mol: Mol, config: Descriptors2DConfig) -> NDArray[np.uint16]:
    if not config.morgan_bits:
        return np.zeros(0, dtype=np.uint16)
    found = _morgan(config).GetCountFingerprintAsNumPy(mol)
    # Saturate: a cast alone would wrap around.
    counts: NDArray[np.uint16] = np.minimum(found, np.iinfo(np.uint16).max).astype(np.uint16)
    return counts


def nothing_described(config: Descriptors2DConfig, reason: str) -> Described:
    """Return that a molecule has no features, and why."""
    n = len(_functions()) if config.descriptors else 0
    values = np.full(n, np.nan, dtype=np.float32)
    return Described(values, np.zeros(config.morgan_bits, dtype=np.uint16), reason)


@cache
def _functions() -> tuple[tuple[str, Callable[[Any], float]], ...]:
    from rdkit.Chem import Descriptors

    return tuple((n, f) for n, f in Descriptors.descList if n not in LEFT_OUT)


def _morgan(config: Descriptors2DConfig) -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(
        radius=config.morgan_radius, fpSize=config.morgan_bits
    )
