"""The package claims no more than it holds."""

from importlib.metadata import entry_points, metadata

import mil_attn


def test_offers_its_version_and_nothing_else():
    assert mil_attn.__all__ == ["__version__"]
    assert mil_attn.__version__ == metadata("mil-attn")["Version"]


def test_installs_no_command():
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("mil_attn")]
