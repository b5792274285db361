from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import rt_ridge

pytestmark = pytest.mark.core


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'polars', 'pandas', 'scipy', 'sklearn', 'pymc', 'arviz', 'matplotlib', 'torch'}"
    code = f"import sys; import rt_ridge; rt_ridge.RTRidgeError; print({heavy} & set(sys.modules))"
    assert run(code) == "set()"


def test_every_public_name_resolves() -> None:
    names = set(vars(rt_ridge)["__all__"]) - {"__version__"}
    assert "SufficientStatistics" in names
    for name in names:
        public = getattr(rt_ridge, name)
        if inspect.isclass(public) or inspect.isfunction(public):
            assert public.__name__ == name
    assert names <= set(dir(rt_ridge))
    assert rt_ridge.__version__.count(".") == 2


def test_errors_are_those_of_wrong_input() -> None:
    assert issubclass(rt_ridge.RTRidgeError, ValueError)
    assert rt_ridge.RTRidgeError.exit_code == 2


def test_readme_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in readme.split("```python\n")[1:]]
    exec("\n".join(blocks), {})
    sizes, prediction = capsys.readouterr().out.splitlines()
    assert sizes == "SufficientStatistics(G=120, P=1, n_rows=600)"
    assert f"# {prediction.removesuffix(' min')}" in readme
