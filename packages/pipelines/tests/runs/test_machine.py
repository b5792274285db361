from __future__ import annotations

import pytest
from molpool_common import InputError
from molpool_pipelines.runs import check_accelerator


def without(monkeypatch: pytest.MonkeyPatch, *, cuda: bool = False, mps: bool = False) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_a_gpu_that_is_not_there(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch)
    with pytest.raises(InputError, match=r"training\.accelerator: expected a GPU .* auto takes"):
        check_accelerator(accelerator)


@pytest.mark.parametrize(
    ("accelerator", "cuda", "mps"),
    [
        ("auto", False, False),
        ("cpu", False, False),
        ("gpu", True, False),
        ("gpu", False, True),
        ("cuda", True, False),
        ("mps", False, True),
    ],
)
def test_what_is_there(
    accelerator: str, cuda: bool, mps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, cuda=cuda, mps=mps)
    check_accelerator(accelerator)


@pytest.mark.parametrize("other", ["cuda", "mps"])
def test_a_gpu_of_another_kind(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, cuda=other == "mps", mps=other == "cuda")
    with pytest.raises(InputError):
        check_accelerator(other)
