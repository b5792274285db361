"""Embeddings and predictions of Chemprop networks: ADMET-AI's ten, or any checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
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

_CLASSES = (
    "AMES BBB_Martins Bioavailability_Ma CYP1A2_Veith CYP2C19_Veith "
    "CYP2C9_Substrate_CarbonMangels CYP2C9_Veith CYP2D6_Substrate_CarbonMangels CYP2D6_Veith "
    "CYP3A4_Substrate_CarbonMangels CYP3A4_Veith Carcinogens_Lagunin ClinTox DILI HIA_Hou "
    "NR-AR-LBD NR-AR NR-AhR NR-Aromatase NR-ER-LBD NR-ER NR-PPAR-gamma PAMPA_NCATS "
    "Pgp_Broccatelli SR-ARE SR-ATAD5 SR-HSE SR-MMP SR-p53 Skin_Reaction hERG"
)
_VALUES = (
    "Caco2_Wang Clearance_Hepatocyte_AZ Clearance_Microsome_AZ Half_Life_Obach "
    "HydrationFreeEnergy_FreeSolv LD50_Zhu Lipophilicity_AstraZeneca PPBR_AZ "
    "Solubility_AqSolDB VDss_Lombardo"
)
_ADMET_TASKS = {
    "admet_classification": _CLASSES.split(),
    "admet_regression": _VALUES.split(),
}
"""End points of the Therapeutics Data Commons that ADMET-AI's networks were trained on, in the
order of their outputs; the folders of its networks are named so."""

_N_NETWORKS, _HIDDEN = 5, 300
"""Networks in each of the two folders, and the width of their message passing."""


class _Networks(OwnFeaturizer):
    """Some Chemprop networks that read the same graphs."""

    milliseconds = 10.0
    # Torch's threads share one copy of the weights, and its import takes longer than most tables.
    in_processes = False

    @property
    def _paths(self) -> tuple[Path, ...]:
        raise NotImplementedError

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, F] of canonical SMILES."""
        networks = [_load(path) for path in self._paths]
        parts = [np.empty((0, self.width), dtype=np.float32)]
        if networks and smiles:
            import torch
            from chemprop.data import BatchMolGraph

            with torch.inference_mode():
                for start in range(0, len(smiles), _BATCH):
                    # Featurised once, not once a network.
                    some = smiles[start : start + _BATCH]
                    graphs = _Graphs(BatchMolGraph([networks[0].graph(text) for text in some]))
                    parts.append(self._numbers(networks, graphs))
        return np.concatenate(parts)

    def _numbers(self, networks: Sequence[_Network], graphs: _Graphs) -> Float32Array:
        """Return the numbers [N, F] of a batch of graphs: embeddings side by side."""
        found = [network.embedding(graphs).numpy() for network in networks]
        return np.concatenate(found, axis=1).astype(np.float32)


class AdmetFingerprint(_Networks):
    """Ten embeddings of 300, of the networks of ADMET-AI.

    References
    ----------
    Swanson et al., "ADMET-AI: a machine learning ADMET platform for evaluation of large-scale
    chemical libraries", Bioinformatics 40 (2024) btae416; weights under the MIT licence.
    """

    trained_on = tuple(task for tasks in _ADMET_TASKS.values() for task in tasks)

    def __init__(self, name: str = "admet_fingerprint") -> None:
        super().__init__(name, "embedding")

    @property
    def version(self) -> str:
        """Of admet-ai, Chemprop and RDKit."""
        return _version("admet-ai", _installed("admet-ai", self.name))

    @property
    def names(self) -> tuple[str, ...]:
        """The folder of the network, its number, and the column."""
        return tuple(
            f"{folder}_{k}_{i}"
            for folder in _ADMET_TASKS
            for k in range(_N_NETWORKS)
            for i in range(_HIDDEN)
        )

    @property
    def _paths(self) -> tuple[Path, ...]:
        # Looked up rather than imported, which would read tables of drugs.
        spec = find_spec("admet_ai")
        if spec is None or spec.origin is None:
            raise missing_extra(self.name, "admet-ai", "admet")
        models = Path(spec.origin).parent / "resources" / "models"
        return tuple(
            models / folder / f"model_{k}.pt" for folder in _ADMET_TASKS for k in range(_N_NETWORKS)
        )


class AdmetPrediction(AdmetFingerprint):
    """The 41 predictions of ADMET-AI: probabilities, or values in the units of its end points.

    Each is the mean of five networks that were trained on the whole public data of its end point.
    As features of that same end point they have seen the answers: `Block.trained_on` says which.
    """

    def __init__(self) -> None:
        super().__init__("admet_prediction")
        self.kind = "descriptor"

    @property
    def names(self) -> tuple[str, ...]:
        """The end points."""
        return tuple(f"admet_{task}" for task in self.trained_on)

    def _numbers(self, networks: Sequence[_Network], graphs: _Graphs) -> Float32Array:
        found = [n.model.predictor(n.embedding(graphs)).numpy() for n in networks]
        folders = (found[:_N_NETWORKS], found[_N_NETWORKS:])
        means = [np.mean(folder, axis=0) for folder in folders]
        return np.concatenate(means, axis=1).astype(np.float32)


class ChempropEmbedding(_Networks):
    """The embedding of a Chemprop checkpoint, or of CheMeleon's message passing.

    Message passing and aggregation, without the molecule's extra descriptors.

    Parameters
    ----------
    path : str
        A file that Chemprop saved (``.pt`` or ``.ckpt``), or CheMeleon's.
    """

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
        return _version("file", self._digest)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The stem of the file and the number of the column."""
        width = _load(self.path).width
        return tuple(f"{self.path.stem}_{i}" for i in range(width))

    @property
    def _paths(self) -> tuple[Path, ...]:
        return (self.path,)


def _installed(package: str, featurizer: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise missing_extra(featurizer, package, "admet") from error


def _version(source: str, detail: str) -> str:
    try:
        chemprop = version("chemprop")
    except PackageNotFoundError as error:
        raise MissingExtraError(
            "features of Chemprop networks: expected the package 'chemprop'; found it not "
            "installed. It comes with: pip install 'molecule-features[chemprop]'"
        ) from error
    return f"{_FORMAT}-{source}-{detail}-chemprop-{chemprop}-rdkit-{rdkit_version()}"


class _Graphs:
    """A batch of graphs with the order of its sums, which several networks share.

    Chemprop scatters with an index as large as what it sums: most of its time on few molecules.

    Parameters
    ----------
    batch : chemprop.data.BatchMolGraph
        A molecules, whose atoms stand molecule after molecule.
    """

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self._source, target = batch.edge_index
        self._entering = target.argsort(stable=True)
        self._at_atom = target.bincount(minlength=len(batch.V)).cumsum(0)
        self._sizes = batch.batch.bincount()

    def atoms(self, passing: Any) -> Any:
        """Return the hidden states of the atoms after Chemprop's message passing over bonds."""
        batch = passing.graph_transform(self.batch)
        start = passing.initialize(batch)
        hidden = passing.tau(start)
        for _ in range(1, passing.depth):
            messages = self._into_atoms(hidden)[self._source] - hidden[batch.rev_edge_index]
            hidden = passing.update(messages, start)
        return passing.finalize(self._into_atoms(hidden), batch.V, None)

    def molecules(self, atoms: Any, mean: bool) -> Any:
        """Return sum or mean over the atoms of each molecule."""
        import torch

        sums = _sums(atoms, torch.arange(len(atoms)), self._sizes.cumsum(0))
        return sums / self._sizes.unsqueeze(1) if mean else sums

    def _into_atoms(self, bonds: Any) -> Any:
        return _sums(bonds, self._entering, self._at_atom)


def _sums(rows: Any, order: Any, ends: Any) -> Any:
    """Return sums over groups of rows, which stand group after group in an order."""
    from torch.nn.functional import embedding_bag, pad

    if not len(rows):
        return rows.new_zeros((len(ends), rows.shape[1]))
    return embedding_bag(order, rows, pad(ends, (1, 0)), mode="sum", include_last_offset=True)


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

    def embedding(self, graphs: _Graphs) -> Any:
        """Return the embedding [N, width] of a batch of graphs."""
        from chemprop.nn import BondMessagePassing, MeanAggregation, NormAggregation

        passing, over = self.model.message_passing, self.model.agg
        if type(passing) is not BondMessagePassing or passing.undirected:
            return self.model.fingerprint(graphs.batch)
        atoms = graphs.atoms(passing)
        if type(over) not in (MeanAggregation, NormAggregation):
            return self.model.bn(over(atoms, graphs.batch.batch))
        found = graphs.molecules(atoms, type(over) is MeanAggregation)
        return self.model.bn(found / over.norm if type(over) is NormAggregation else found)


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
