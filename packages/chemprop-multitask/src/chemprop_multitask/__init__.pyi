from .config import AggregationName as AggregationName
from .config import ChempropConfig as ChempropConfig
from .config import FFNConfig as FFNConfig
from .config import MessagePassingConfig as MessagePassingConfig
from .config import ModelConfig as ModelConfig
from .config import TrainingConfig as TrainingConfig
from .data import MoleculeData as MoleculeData
from .errors import ChempropError as ChempropError
from .model import ChempropModel as ChempropModel
from .training import EpochRecord as EpochRecord

__all__ = [
    "AggregationName",
    "ChempropConfig",
    "ChempropError",
    "ChempropModel",
    "EpochRecord",
    "FFNConfig",
    "MessagePassingConfig",
    "ModelConfig",
    "MoleculeData",
    "TrainingConfig",
]
