from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from molpool_common import UnsafeFileError, load_torch_file


class Payload:
    """Calls a function when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call = (call, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("place", ["state_dict", "hyper_parameters", "loops", "whole"])
@pytest.mark.parametrize("zipped", [True, False])
def test_no_payload_runs(place: str, zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    payload = Payload(os.mkdir, str(mark))
    content: Any = {"state_dict": {"w": torch.ones(2)}, "hyper_parameters": {}, "loops": {}}
    if place == "whole":
        content = payload
    else:
        content[place]["x"] = payload
    torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    # Torch stopped writing the earlier format before Chemprop 2 was.
    error, said = (UnsafeFileError, "mkdir, which could") if zipped else (ValueError, "Expected")
    with pytest.raises(error, match=said):
        load_torch_file(tmp_path / "m.pt")
    assert not mark.exists()


@pytest.mark.parametrize(
    "call", [eval, exec, getattr, torch.load, torch.hub.load, torch.nn.init.normal_]
)
def test_functions_are_no_part_of_a_model(call: Any, tmp_path: Path) -> None:
    torch.save({"x": Payload(call, "1")}, tmp_path / "m.pt")
    with pytest.raises(UnsafeFileError, match="could run code"):
        load_torch_file(tmp_path / "m.pt")


def test_layers_and_settings_load(tmp_path: Path) -> None:
    from lightning.fabric.utilities.data import AttributeDict

    content = {"hyper_parameters": AttributeDict(activation=torch.nn.ReLU(), depth=3)}
    torch.save(content, tmp_path / "m.pt")
    found = load_torch_file(tmp_path / "m.pt")["hyper_parameters"]
    assert found["depth"] == 3
    assert isinstance(found["activation"], torch.nn.ReLU)
