"""The kinds of models that a study can be of, by name."""

from __future__ import annotations

from pathlib import Path

from molpool_common import InputError

from molpool_pipelines.runs import CONFIG, load_stored
from molpool_pipelines.studies._kinds import StudyKind


def study_kind(name: str, folder: Path) -> StudyKind:
    """Return what follows a study, as its kind of model does it.

    Parameters
    ----------
    name : str
        ``chemprop``, ``tabular`` or ``mil``.
    folder : Path
        Of the study.

    Raises
    ------
    InputError
        If it is of another kind.
    """
    if name == "mil":
        from molpool_pipelines.studies.mil._config import HPOMILConfig
        from molpool_pipelines.studies.mil._problem import mil_kind

        return mil_kind(load_stored(HPOMILConfig, folder / CONFIG))
    if name == "chemprop":
        from molpool_pipelines.studies.chemprop._config import HPOChempropConfig
        from molpool_pipelines.studies.chemprop._problem import chemprop_kind

        return chemprop_kind(load_stored(HPOChempropConfig, folder / CONFIG))
    if name == "tabular":
        from molpool_pipelines.studies.tabular._config import HPOTabularConfig
        from molpool_pipelines.studies.tabular._problem import tabular_kind

        return tabular_kind(load_stored(HPOTabularConfig, folder / CONFIG))
    expected = "a study of chemprop, tabular or mil"
    raise InputError("--study-dir", expected=expected, found=repr(name))
