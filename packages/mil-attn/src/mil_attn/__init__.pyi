from .attention_page import export_attention_page as export_attention_page
from .bags import Bags as Bags
from .bags import pack_bags as pack_bags
from .bags import pad_bags as pad_bags
from .callbacks.records import EpochRecord as EpochRecord
from .config import MILConfig as MILConfig
from .config import MILModelConfig as MILModelConfig
from .data.bag_data import BagData as BagData
from .data.bag_data import Failure as Failure
from .data.computed import conformers_of as conformers_of
from .data.config import ConformerConfig as ConformerConfig
from .data.config import Descriptors2DConfig as Descriptors2DConfig
from .data.config import MoleculeFeaturesConfig as MoleculeFeaturesConfig
from .data.conformers import conformer_molecule as conformer_molecule
from .data.scaling import FeatureScaler as FeatureScaler
from .data.source import read_bags as read_bags
from .data.source_config import MILDataConfig as MILDataConfig
from .errors import MILError as MILError
from .explain import leave_one_out as leave_one_out
from .export import attention_frame as attention_frame
from .export import export_attention as export_attention
from .export import export_attention_sdf as export_attention_sdf
from .fitting import FitResult as FitResult
from .fitting import fit as fit
from .fitting import predict as predict
from .losses.focal import MultiTaskFocal as MultiTaskFocal
from .losses.lambdas import normalize_lambdas as normalize_lambdas
from .losses.regression import reg_loss_weighted as reg_loss_weighted
from .models.embedder import MLPEmbedderV3Like as MLPEmbedderV3Like
from .models.embedder import make_residual_mlp_embedder_v3 as make_residual_mlp_embedder_v3
from .models.model import MILOutput as MILOutput
from .models.model import MILTaskAttnMixerWithAux as MILTaskAttnMixerWithAux
from .models.pool import TaskAttentionPool as TaskAttentionPool
from .training.folds import make_folds as make_folds
from .training.folds import stored_folds as stored_folds
from .training.module import MILModule as MILModule
from .training.run_config import MILRunConfig as MILRunConfig
from .training.run_config import MILSplitConfig as MILSplitConfig
from .training.score import fold_score as fold_score
from .training.search_space import search_space as search_space
from .training.sides import bag_folds as bag_folds
from .training.sides import split_bags as split_bags
from .training.thresholds import decision_thresholds as decision_thresholds

__all__ = [
    "BagData",
    "Bags",
    "ConformerConfig",
    "Descriptors2DConfig",
    "EpochRecord",
    "Failure",
    "FeatureScaler",
    "FitResult",
    "MILConfig",
    "MILDataConfig",
    "MILError",
    "MILModelConfig",
    "MILModule",
    "MILOutput",
    "MILRunConfig",
    "MILSplitConfig",
    "MILTaskAttnMixerWithAux",
    "MLPEmbedderV3Like",
    "MoleculeFeaturesConfig",
    "MultiTaskFocal",
    "TaskAttentionPool",
    "attention_frame",
    "bag_folds",
    "conformer_molecule",
    "conformers_of",
    "decision_thresholds",
    "export_attention",
    "export_attention_page",
    "export_attention_sdf",
    "fit",
    "fold_score",
    "leave_one_out",
    "make_folds",
    "make_residual_mlp_embedder_v3",
    "normalize_lambdas",
    "pack_bags",
    "pad_bags",
    "predict",
    "read_bags",
    "reg_loss_weighted",
    "search_space",
    "split_bags",
    "stored_folds",
]
__version__: str
