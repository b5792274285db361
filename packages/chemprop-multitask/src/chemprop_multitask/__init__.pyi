from .batches import BatchLoader as BatchLoader
from .callbacks import EpochRecord as EpochRecord
from .censoring import censoring_from_signs as censoring_from_signs
from .config import AggregationName as AggregationName
from .config import ChempropConfig as ChempropConfig
from .config import EnsembleConfig as EnsembleConfig
from .config import FFNConfig as FFNConfig
from .config import MessagePassingConfig as MessagePassingConfig
from .config import ModelConfig as ModelConfig
from .config import TrainingConfig as TrainingConfig
from .data import MoleculeData as MoleculeData
from .ensemble import Ensemble as Ensemble
from .ensemble import Member as Member
from .ensemble import plan_members as plan_members
from .errors import ChempropError as ChempropError
from .errors import NonFiniteLossError as NonFiniteLossError
from .graphs import GraphStore as GraphStore
from .losses import MultiTaskLoss as MultiTaskLoss
from .message_passing import FastBondMessagePassing as FastBondMessagePassing
from .model import ChempropModel as ChempropModel
from .predictor import GroupedPredictor as GroupedPredictor
from .tasks import TaskType as TaskType
from .taskwise import TaskwiseModel as TaskwiseModel

__all__ = [
    "AggregationName",
    "BatchLoader",
    "ChempropConfig",
    "ChempropError",
    "ChempropModel",
    "Ensemble",
    "EnsembleConfig",
    "EpochRecord",
    "FFNConfig",
    "FastBondMessagePassing",
    "GraphStore",
    "GroupedPredictor",
    "Member",
    "MessagePassingConfig",
    "ModelConfig",
    "MoleculeData",
    "MultiTaskLoss",
    "NonFiniteLossError",
    "TaskType",
    "TaskwiseModel",
    "TrainingConfig",
    "censoring_from_signs",
    "plan_members",
]
