"""A public table in each format that laboratories use: models are equal to the bit."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from molpool_common import InputError

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.mark.realdata
@pytest.mark.slow
def test_models_do_not_depend_on_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(STUDIES))
    study = importlib.import_module("table_formats")
    try:
        found = study.compare(study.SOURCES["ExpansionRx"], 60, tmp_path)
    except InputError as error:
        pytest.skip(str(error))
    assert len(found) == 6
    for said in found.values():
        assert said == dict.fromkeys(study.KINDS, "equal (60 rows)")
