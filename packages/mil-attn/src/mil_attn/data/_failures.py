"""What could not be made a bag of, and why."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """A molecule, or a bag of a table, that has no features.

    Parameters
    ----------
    id : str
        Its name.
    row : int
        Index from 0 in what was given: of the molecule, or of the bag.
    smiles : str
        Its SMILES, "" where there was none.
    reason : str
        Why it was left out.
    """

    id: str
    row: int
    smiles: str
    reason: str
