"""Keys that the guide names exist, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

import molpool_pipelines.retention as rt
import pytest
from molpool_common import flag_names
from molpool_rt.cli import PROGRAM

GUIDE = Path(__file__).parents[3] / "docs" / "retention.md"


@pytest.mark.skipif(not GUIDE.is_file(), reason="the guide lies in the workspace")
def test_flags_that_the_guide_names_exist():
    flags = set(re.findall(r"`(--[a-z.-]+)", GUIDE.read_text(encoding="utf-8")))
    known = {f for command in PROGRAM.commands.values() for f in flag_names(command.model())}
    assert flags <= known


@pytest.mark.skipif(not GUIDE.is_file(), reason="the guide lies in the workspace")
def test_the_guide_names_the_keys_of_fit():
    text = GUIDE.read_text(encoding="utf-8")
    for key in rt.FitConfig.model_fields:
        shared = {"location_mean", "location_sd", "sigma_fixed", "priors", "sampling", "overwrite"}
        if key not in shared | {"data", "seed", "save_dir"}:
            assert f"`{key}`" in text, key
