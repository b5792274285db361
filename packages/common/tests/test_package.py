from __future__ import annotations

import subprocess
import sys

import molpool_common
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["", "InputError", "load_config", "parse_config", "run_script", "RunFolder", "cache_folder"],
)
def test_import_is_light(name: str) -> None:
    heavy = "{'torch', 'sklearn', 'scipy', 'rdkit', 'mlflow', 'matplotlib', 'polars'}"
    imported = f"from molpool_common import {name}" if name else "import molpool_common"
    code = f"import sys; {imported}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_the_package_itself_imports_no_module_of_its_own() -> None:
    code = (
        "import sys, molpool_common;"
        "print([m for m in sys.modules if m.startswith(('molpool_common.', 'polars'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    names = vars(molpool_common)["__all__"]
    assert {"InputError", "load_config", "RunFolder", "split", "__version__"} <= set(names)
    assert len(names) == len(set(names))
    assert all(hasattr(molpool_common, name) for name in names)
    assert set(names) - {"__version__"} <= set(dir(molpool_common))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = molpool_common.no_such_name  # type: ignore[attr-defined]
