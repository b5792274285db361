"""The package is what its metadata says."""

from importlib.metadata import entry_points, metadata

import molpool_evaluate
import pytest

pytestmark = pytest.mark.core


def test_offers_its_version():
    assert molpool_evaluate.__all__ == ["__version__"]
    assert molpool_evaluate.__version__ == metadata("molpool-evaluate")["Version"]


def test_installs_one_command():
    scripts = entry_points(group="console_scripts")
    ours = {s.name: s.value for s in scripts if s.value.startswith("molpool_evaluate")}
    assert ours == {"molpool-evaluate": "molpool_evaluate.script:main"}
