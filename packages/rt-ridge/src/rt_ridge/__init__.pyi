from .backoff import BackoffLevel as BackoffLevel
from .backoff import CoefficientPredictor as CoefficientPredictor
from .backoff import CompoundEffect as CompoundEffect
from .baselines import GroupwiseLasso as GroupwiseLasso
from .baselines import GroupwiseRidge as GroupwiseRidge
from .cap import cap_pairs as cap_pairs
from .collapsed import collapsed_log_likelihood as collapsed_log_likelihood
from .descriptors import DescriptorEffect as DescriptorEffect
from .errors import RTRidgeError as RTRidgeError
from .features import FeatureMap as FeatureMap
from .impute import Imputer as Imputer
from .impute import refuse_gaps as refuse_gaps
from .mapping import MappingColumns as MappingColumns
from .mapping import map_species as map_species
from .parents import GroupParents as GroupParents
from .simulate import Simulated as Simulated
from .simulate import simulate as simulate
from .simulate_config import SimulateConfig as SimulateConfig
from .statistics import SufficientStatistics as SufficientStatistics
from .summaries import NoiseVariance as NoiseVariance
from .summaries import Prediction as Prediction
from .summaries import Stage1CoeffSummaries as Stage1CoeffSummaries
from .support import SupportMetrics as SupportMetrics

__version__: str
