from __future__ import annotations

import subprocess
import sys

import molpool_common
import pytest

pytestmark = pytest.mark.core


LIGHT = """
import sys
import molpool_common

heavy = {"torch", "sklearn", "scipy", "rdkit", "mlflow", "matplotlib", "polars"}
own = [m for m in sys.modules if m.startswith("molpool_common.")]
assert not own, own
assert not heavy & set(sys.modules)
for name in (
    *("InputError", "load_config", "parse_config", "run_script", "RunFolder", "cache_folder"),
    *("metrics", "splits"),  # --help of every command goes through these
):
    __import__("molpool_common", fromlist=[name])
    getattr(molpool_common, name)
    found = (heavy | {"pandas"}) & set(sys.modules)
    assert not found, (name, found)
"""


@pytest.mark.slow
def test_the_package_imports_no_module_of_its_own_and_its_names_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_resolves() -> None:
    names = vars(molpool_common)["__all__"]
    assert {"InputError", "load_config", "RunFolder", "split", "__version__"} <= set(names)
    assert len(names) == len(set(names))
    assert all(hasattr(molpool_common, name) for name in names)
    assert set(names) - {"__version__"} <= set(dir(molpool_common))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = molpool_common.no_such_name  # type: ignore[attr-defined]
