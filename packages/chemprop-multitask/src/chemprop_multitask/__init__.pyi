from .batches import BatchLoader as BatchLoader
from .callbacks import EpochRecord as EpochRecord
from .censoring import censoring_from_signs as censoring_from_signs
from .config import AggregationName as AggregationName
from .config import ChempropConfig as ChempropConfig
from .config import EnsembleConfig as EnsembleConfig
from .config import EnsembleSection as EnsembleSection
from .config import FFNConfig as FFNConfig
from .config import MessagePassingConfig as MessagePassingConfig
from .config import ModelConfig as ModelConfig
from .config import SharedChempropConfig as SharedChempropConfig
from .config import Sharing as Sharing
from .config import TrainingConfig as TrainingConfig
from .data import MoleculeData as MoleculeData
from .ensemble import Ensemble as Ensemble
from .ensemble import Member as Member
from .ensemble import plan_members as plan_members
from .errors import ChempropError as ChempropError
from .errors import NonFiniteLossError as NonFiniteLossError
from .graphs import GraphStore as GraphStore
from .group_file import with_listed_groups as with_listed_groups
from .losses import MultiTaskLoss as MultiTaskLoss
from .measurable import cell_losses as cell_losses
from .measurable import shuffled_batches as shuffled_batches
from .message_passing import FastBondMessagePassing as FastBondMessagePassing
from .model import ChempropModel as ChempropModel
from .predictor import GroupedPredictor as GroupedPredictor
from .separate import TaskGroup as TaskGroup
from .separate import build_model as build_model
from .separate import separate_groups as separate_groups
from .tasks import TaskType as TaskType
from .taskwise import TaskwiseModel as TaskwiseModel
from .validation import ValidationPredictions as ValidationPredictions

__all__ = [
    "AggregationName",
    "BatchLoader",
    "ChempropConfig",
    "ChempropError",
    "ChempropModel",
    "Ensemble",
    "EnsembleConfig",
    "EnsembleSection",
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
    "SharedChempropConfig",
    "Sharing",
    "TaskGroup",
    "TaskType",
    "TaskwiseModel",
    "TrainingConfig",
    "ValidationPredictions",
    "build_model",
    "cell_losses",
    "censoring_from_signs",
    "plan_members",
    "separate_groups",
    "shuffled_batches",
    "with_listed_groups",
]
