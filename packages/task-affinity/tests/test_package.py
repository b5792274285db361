from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points, metadata

import pytest
import task_affinity

pytestmark = pytest.mark.core


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
    for name in names:
        found = getattr(task_affinity, name)
        assert getattr(found, "__name__", name) == name
    assert task_affinity.__version__ == metadata("task-affinity")["Version"]


def test_errors_are_those_of_wrong_input() -> None:
    assert issubclass(task_affinity.TaskAffinityError, ValueError)
    assert task_affinity.TaskAffinityError.exit_code == 2


def test_installs_no_command() -> None:
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("task_affinity")]


LIGHT = """
import sys
for name in ("chemprop", "rdkit", "lightning"):
    sys.modules[name] = None  # an import of it fails
import pandas as pd, torch
from task_affinity import TaskAffinityComputer, TaskAffinityConfig, TaskGrouper
config = TaskAffinityConfig(device="cpu", n_groups=1)
model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(3, 4), "head": torch.nn.Linear(4, 2)})
def losses(model, x):
    return model["head"](model["encoder"](x)).square().mean(0), torch.tensor([True, True])
computer = TaskAffinityComputer(config)
result = computer.compute(model, [torch.randn(8, 3)], losses)
print(TaskGrouper(1).cluster(result.matrix, result.task_names))
table = pd.DataFrame({"smiles": ["C"], "y": [1.0]})
try:
    computer.compute_from_dataframe(table, "smiles", ["y"])
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
def test_measures_without_chemprop_and_names_the_extra_for_smiles() -> None:
    title, *_, groups, message = run(LIGHT).splitlines()
    assert title == "Task affinity matrix computed:"
    assert groups == "[['task_0', 'task_1']]"
    assert message.endswith("pip install 'task-affinity[chemprop]'")
