"""Model files that hold more than a model, on every way into the workspace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chemprop_multitask import ChempropConfig, ChempropModel, Ensemble, MoleculeData
from mil_attn import MILModule
from molecule_features import featurize
from molpool_common import validate_values

SMILES = ["C" * n + "O" for n in range(1, 9)]
TINY = {
    "model": {
        "message_passing": {"hidden_size": 8, "depth": 2},
        "ffn": {"hidden_size": 8, "num_layers": 1},
    },
    "training": {"epochs": 1, "batch_size": 4},
}


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.makedirs, (self.folder, 0o777, True)


def model(**changes: Any) -> ChempropModel:
    config = validate_values(ChempropConfig, {**TINY, **changes})
    return ChempropModel.from_config(config, task_names=["y"], seed=0)


def data() -> MoleculeData:
    return MoleculeData(SMILES, np.arange(8.0)[:, None], task_names=["y"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, a training checkpoint, and a model of bags."""
    folder = tmp_path_factory.mktemp("files")
    trained = model()
    trained.fit(data(), val=data(), checkpoint_dir=folder)
    trained.save(folder / "model.pt")
    torch.save({"mil_attn": {}, "state_dict": {}}, folder / "bags.pt")
    return folder


def resume(path: Path) -> None:
    model(training={"epochs": 2, "batch_size": 4}).fit(data(), resume_from=path)


def foundation(path: Path) -> None:
    changed = {**TINY["model"], "from_foundation": str(path)}
    model(model=changed).fit(data())


WAYS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "load": ("model.pt", ChempropModel.load),
    "ensemble": ("model.pt", Ensemble.load),
    "resume": ("last.ckpt", resume),
    "foundation": ("model.pt", foundation),
    "foundation of a checkpoint": ("best.ckpt", foundation),
    "features": ("model.pt", lambda path: featurize(["CCO"], f"chemprop:{path}")),
    "bags": ("bags.pt", MILModule.load),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_runs_no_code(way: str, files: Path, tmp_path: Path) -> None:
    name, use = WAYS[way]
    content = torch.load(files / name, weights_only=False)
    content["extra"] = Payload(tmp_path / "ran")
    torch.save(content, tmp_path / name)
    with pytest.raises(ValueError, match=r"makedirs|Weights only"):
        use(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_file_runs_code_only_where_that_is_asked_for(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from molpool_evaluate.cli import main

    content = torch.load(files / "model.pt", weights_only=False)
    content["extra"] = Payload(tmp_path / "ran")
    torch.save(content, tmp_path / "foreign.pt")
    (tmp_path / "t.csv").write_text("SMILES\nCCO\nCCN\n")
    command = ["predict", "--model-dir", str(tmp_path / "foreign.pt"), "--overwrite"]
    command += ["--data-path", str(tmp_path / "t.csv"), "--output", str(tmp_path / "out.csv")]
    assert main(command) == 2
    assert "--trust-checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    assert main([*command, "--trust-checkpoint"]) == 0
    (tmp_path / "ran").rmdir()
    # It is asked for each time.
    assert main(command) == 2
    assert not (tmp_path / "ran").exists()
