from __future__ import annotations

import subprocess
import sys

import molpool_common
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["", ".errors", ".config", ".cli", ".data_config", ".tracking", ".runfolder"]
)
def test_import_is_light(module: str) -> None:
    heavy = "{'torch', 'sklearn', 'scipy', 'rdkit', 'mlflow', 'matplotlib', 'polars'}"
    code = f"import sys, molpool_common{module}; print({heavy} & set(sys.modules))"
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
    assert {"InputError", "load_config", "RunFolder", "load_molecules", "split"} <= set(names)
    assert names == sorted(set(names))
    for name in names:
        assert getattr(molpool_common, name).__name__ == name
    assert set(names) <= set(dir(molpool_common))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = molpool_common.no_such_name  # type: ignore[attr-defined]
