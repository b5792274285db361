from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import mil_attn
import pytest

pytestmark = pytest.mark.core


HEAVY = "torch", "lightning", "optuna", "polars", "numpy", "rdkit", "pydantic"


def test_offers_its_names() -> None:
    assert "__version__" in mil_attn.__all__
    for name in mil_attn.__all__:
        assert getattr(mil_attn, name) is not None


def test_installs_no_command() -> None:
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("mil_attn")]


@pytest.mark.slow
def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import sys, mil_attn; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LIGHT = """
import sys
for name in ("optuna", "rdkit"):
    sys.modules[name] = None  # an import of it fails
import numpy as np, mil_attn
for name in mil_attn.__all__:
    getattr(mil_attn, name)
class Trial:  # what a study of Optuna hands over, which needs no more than these
    def suggest_float(self, name, low, high, log=False): return low
    def suggest_int(self, name, low, high): return low
    def suggest_categorical(self, name, choices): return choices[0]
params = mil_attn.search_space(Trial(), n_tasks=4)
print(mil_attn.MILConfig.preset("euos25").with_params(params).model.inst_hidden)
config = mil_attn.MILConfig.model_validate({
    "model": {"use_2d": False, "inst_hidden": 8, "proj_dim": 8, "mixer_hidden": 8},
    "training": {"epochs": 1, "accelerator": "cpu"}})
bags = mil_attn.BagData([f"b{i}" for i in range(8)], instances=np.eye(8), offsets=np.arange(9),
                        labels=np.arange(8)[:, None] % 2, task_names=["active"])
module = mil_attn.fit(config, bags).module
print(mil_attn.predict(module, bags).shape)
try:
    mil_attn.BagData.from_smiles(["C"])
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
def test_trains_and_draws_without_optuna_and_names_the_extra_for_smiles() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    hidden, shape, message = done.stdout.strip().splitlines()
    assert (hidden, shape) == ("256", "(8, 1)")
    assert message.endswith("pip install 'mil-attn[chem]'")
