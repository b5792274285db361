"""The package claims no more than it holds."""

from importlib.metadata import entry_points, metadata

import rt_ridge


def test_offers_its_version_and_nothing_else():
    assert rt_ridge.__all__ == ["__version__"]
    assert rt_ridge.__version__ == metadata("rt-ridge")["Version"]


def test_installs_no_command():
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("rt_ridge")]
