"""Fits as later commands take them: a name and what was learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molpool_common import InputError, listed
from rt_ridge import Stage1CoeffSummaries

from molpool_pipelines.retention.folder import COEFFICIENTS
from molpool_pipelines.tables import TableFiles


@dataclass(frozen=True)
class Artefact:
    """Coefficients of one fit.

    Parameters
    ----------
    name : str
        What tables and figures call it.
    path : Path
        The file.
    summaries : Stage1CoeffSummaries
        Its content, checked.
    """

    name: str
    path: Path
    summaries: Stage1CoeffSummaries

    @classmethod
    def load(cls, given: str) -> Artefact:
        """Load from a run folder or a file; ``NAME=PATH`` names it.

        Raises
        ------
        RTRidgeError
            If there is none, or anything in it is wrong.
        """
        named, _, rest = given.partition("=")
        text = rest if rest and not Path(given).exists() else given
        path = Path(text)
        folder = path if path.is_dir() else path.parent
        file = path / COEFFICIENTS if path.is_dir() else path
        name = named if text is rest else folder.resolve().name
        return cls(name, file, Stage1CoeffSummaries.load(file))

    @property
    def group_col(self) -> str:
        """Column that its groups are read from."""
        return self.summaries.group_col

    def require(self, table: TableFiles) -> None:
        """Raise `InputError` unless a table has the columns that the fit was made with."""
        fitted = self.summaries.feature_names
        missing = [name for name in fitted if name not in table]
        if missing:
            raise InputError(
                "covariates",
                expected=f"those that {self.name} was fitted with: {listed(fitted, 30)}",
                found=f"a table without {listed(missing, 30)}; it has {listed(table.columns, 30)}",
                where=table.name,
            )
        table.require(self.group_col, "group_col")


def load_all(given: Sequence[str]) -> list[Artefact]:
    """Load fits with distinct names.

    Raises
    ------
    InputError, RTRidgeError
        If none is given, one cannot be read, or two have one name.
    """
    if not given:
        raise InputError("artefacts", expected="at least one run folder of a fit", found="none")
    artefacts = [Artefact.load(text) for text in given]
    twice = [name for name, times in Counter(a.name for a in artefacts).items() if times > 1]
    if twice:
        raise InputError(
            "artefacts",
            expected="distinct names",
            found=f"{listed([repr(n) for n in twice])} more than once",
            hint="Name them as NAME=PATH.",
        )
    return artefacts
