"""The package claims no more than it holds."""

from importlib.metadata import entry_points, metadata

import molpool_rt


def test_offers_its_version_and_nothing_else():
    assert molpool_rt.__all__ == ["__version__"]
    assert molpool_rt.__version__ == metadata("molpool-rt")["Version"]


def test_installs_no_command():
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("molpool_rt")]
