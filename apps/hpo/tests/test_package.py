"""The package claims no more than it holds."""

from importlib.metadata import entry_points, metadata

import molpool_hpo


def test_offers_its_version_and_nothing_else():
    assert molpool_hpo.__all__ == ["__version__"]
    assert molpool_hpo.__version__ == metadata("molpool-hpo")["Version"]


def test_installs_no_command():
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("molpool_hpo")]
