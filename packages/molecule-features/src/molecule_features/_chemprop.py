"""Embeddings of Chemprop networks: any checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import Float32Array, UnsafeFileError, load_torch_file, rdkit_version

from molecule_features._errors import FeatureError, MissingExtraError, missing_extra
from molecule_features._featurizer import OwnFeaturizer, first_line, read

PREFIX = "chemprop:"
"""Before the path of a checkpoint, as the name of a featuriser."""

_FORMAT = 1
_BATCH = 64
"""Molecules of one call of the networks."""


class ChempropEmbedding(OwnFeaturizer):
    """The embedding of a Chemprop checkpoint, or of CheMeleon's message passing.

    Message passing and aggregation, without the molecule's extra descriptors.

    Parameters
    ----------
    path : str
        A file that Chemprop saved (``.pt`` or ``.ckpt``), or CheMeleon's.
    """

    milliseconds = 10.0
    # Torch's threads share one copy of the weights, and its import takes longer than most tables.
    in_processes = False

    def __init__(self, path: str) -> None:
        super().__init__(f"{PREFIX}{path}", "embedding")
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise FeatureError(
                f"features {self.name!r}: expected the file of a Chemprop network; found none there"
            )

    @cached_property
    def _digest(self) -> str:
        return blake2b(self.path.read_bytes(), digest_size=8).hexdigest()

    @property
    def version(self) -> str:
        """Of the file's content, Chemprop and RDKit."""
        return chemprop_version("file", self._digest)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The stem of the file and the number of the column."""
        width = _load(self.path).width
        return tuple(f"{self.path.stem}_{i}" for i in range(width))

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, F] of canonical SMILES."""
        network = _load(self.path)
        parts = [np.empty((0, network.width), dtype=np.float32)]
        if smiles:
            import torch
            from chemprop.data import BatchMolGraph

            with torch.inference_mode():
                for start in range(0, len(smiles), _BATCH):
                    some = smiles[start : start + _BATCH]
                    graphs = BatchMolGraph([network.graph(text) for text in some])
                    found = network.model.fingerprint(graphs).numpy()
                    parts.append(found.astype(np.float32))
        return np.concatenate(parts)


def installed(package: str, featurizer: str) -> str:
    """Return the version of a package that the extra `admet` brings."""
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise missing_extra(featurizer, package, "admet") from error


def chemprop_version(source: str, detail: str) -> str:
    """Return what decides the numbers of networks from a source: that, Chemprop and RDKit."""
    try:
        chemprop = version("chemprop")
    except PackageNotFoundError as error:
        raise MissingExtraError(
            "features of Chemprop networks: expected the package 'chemprop'; found it not "
            "installed. It comes with: pip install 'molecule-features[chemprop]'"
        ) from error
    return f"{_FORMAT}-{source}-{detail}-chemprop-{chemprop}-rdkit-{rdkit_version()}"


class _Network:
    """A network, and the featuriser of graphs that it was trained with.

    Parameters
    ----------
    model : chemprop.models.MPNN
        In evaluation mode, or what has the same parts.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self.model = model
        self._featurizer = _graph_featurizer(model.message_passing, path)

    @property
    def width(self) -> int:
        """Columns of the embedding."""
        return int(self.model.message_passing.output_dim)

    def graph(self, smiles: str) -> Any:
        """Return Chemprop's graph of a molecule."""
        return self._featurizer(read(smiles))


@cache
def _load(path: Path) -> _Network:
    """Return the network of a file.

    Raises
    ------
    FeatureError
        If the file holds no network that reads single molecules.
    """
    from chemprop.models import MPNN
    from chemprop.models.utils import load_model

    try:
        content = load_torch_file(path)
    except UnsafeFileError as error:
        raise FeatureError(f"file {str(path)!r}: {error}") from None
    except Exception as error:
        raise FeatureError(
            f"file {str(path)!r}: expected a Chemprop network; found what torch cannot read "
            f"({first_line(error)})"
        ) from error
    weights = content.get("state_dict", {}) if isinstance(content, dict) else {}
    if "W_i.weight" in weights:
        model: Any = _message_passing(content)
    elif "message_passing.W_i.weight" in weights and "pytorch-lightning_version" in content:
        model = MPNN.load_from_checkpoint(path, map_location="cpu")
    elif "message_passing.W_i.weight" in weights:
        model = load_model(path)
    else:
        raise FeatureError(
            f"file {str(path)!r}: expected message passing of Chemprop on single molecules; "
            f"found weights {', '.join(list(weights)[:3]) or 'of none'}"
        )
    return _Network(model.eval(), path)


def _message_passing(content: dict[str, Any]) -> Any:
    """Return CheMeleon's message passing as a network: its embedding is the mean over atoms."""
    from chemprop.models import MPNN
    from chemprop.nn import BondMessagePassing, MeanAggregation, RegressionFFN

    parameters = {k: v for k, v in content["hyper_parameters"].items() if k != "cls"}
    passing = BondMessagePassing(**parameters)
    passing.load_state_dict(content["state_dict"])
    return MPNN(passing, MeanAggregation(), RegressionFFN(input_dim=passing.output_dim))


def _graph_featurizer(passing: Any, path: Path) -> Any:
    """Return Chemprop's featuriser of graphs whose widths fit the network."""
    from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
    from chemprop.featurizers.atom import AtomFeatureMode, get_multi_hot_atom_featurizer
    from chemprop.featurizers.bond import MultiHotBondFeaturizer, RIGRBondFeaturizer

    width = passing.W_i.in_features
    for mode in (AtomFeatureMode.V2, *AtomFeatureMode):
        rigr = mode is AtomFeatureMode.RIGR
        featurizer = SimpleMoleculeMolGraphFeaturizer(
            atom_featurizer=get_multi_hot_atom_featurizer(mode),
            bond_featurizer=RIGRBondFeaturizer() if rigr else MultiHotBondFeaturizer(),
        )
        if sum(featurizer.shape) == width:
            return featurizer
    raise FeatureError(
        f"file {str(path)!r}: expected a network on Chemprop's own features of atoms and bonds; "
        f"found one on {width}, which no set of these has"
    )
