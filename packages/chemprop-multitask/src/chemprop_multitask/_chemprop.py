"""The names of Chemprop that this package uses, imported without what only Chemprop's own need."""

from molpool_common import put_off

with put_off(
    *("torch._dynamo", "scipy.signal", "sklearn.preprocessing", "sklearn.isotonic", "pandas"),
    *("astartes", "astartes.molecules", "descriptastorus.descriptors", "scipy.optimize"),
    # Half a second of SciPy's statistics, for descriptors of theirs.
    *("cuik_molmaker.utils.descriptor_normalization", "cuik_molmaker.utils.fit_distribution"),
):
    from chemprop import nn as nn
    from chemprop.data import BatchMolGraph as BatchMolGraph
    from chemprop.data.collate import TrainingBatch as TrainingBatch
    from chemprop.data.datasets import Datum as Datum
    from chemprop.data.molgraph import MolGraph as MolGraph
    from chemprop.featurizers import (
        SimpleMoleculeMolGraphFeaturizer as SimpleMoleculeMolGraphFeaturizer,
    )
    from chemprop.models import MPNN as MPNN
    from chemprop.nn import BondMessagePassing as BondMessagePassing
    from chemprop.nn import UnscaleTransform as UnscaleTransform
    from chemprop.nn.ffn import MLP as MLP
    from chemprop.nn.metrics import MSE as MSE
    from chemprop.nn.metrics import ChempropMetric as ChempropMetric
    from chemprop.nn.predictors import Predictor as Predictor
    from lightning import pytorch as pytorch
