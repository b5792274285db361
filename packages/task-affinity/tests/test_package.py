from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points, metadata

import pytest
import task_affinity


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import task_affinity",
        "from task_affinity._config import TaskAffinityConfig",
        "from task_affinity import TaskAffinityConfig, TaskAffinityError",
    ],
)
def test_configuration_loads_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'sklearn', 'pandas', 'polars', 'matplotlib', 'chemprop', 'scipy'}"
    assert run(f"import sys; {statement}; print({heavy} & set(sys.modules))") == "set()"


def test_every_public_name_resolves() -> None:
    names = set(vars(task_affinity)["__all__"])
    assert names <= set(dir(task_affinity)) | {"__version__"}
    for name in names - {"__version__"}:
        assert getattr(task_affinity, name).__name__ == name
    assert task_affinity.__version__ == metadata("task-affinity")["Version"]


def test_errors_are_those_of_wrong_input() -> None:
    assert issubclass(task_affinity.TaskAffinityError, ValueError)
    assert task_affinity.TaskAffinityError.exit_code == 2


def test_installs_no_command() -> None:
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("task_affinity")]
