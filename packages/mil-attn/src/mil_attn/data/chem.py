"""RDKit, quiet, and what it raises for a molecule that it cannot handle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdkit.Chem import Mol

RDKIT_ERRORS = (RuntimeError, ValueError, ArithmeticError, IndexError)
"""What RDKit raises for one molecule: broken invariants, failed sanitisation, unknown atoms."""


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
