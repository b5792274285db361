from .backoff import BackoffLevel as BackoffLevel
from .backoff import CoefficientPredictor as CoefficientPredictor
from .backoff import CompoundEffect as CompoundEffect
from .collapsed import collapsed_log_likelihood as collapsed_log_likelihood
from .descriptors import DescriptorEffect as DescriptorEffect
from .errors import RTRidgeError as RTRidgeError
from .features import FeatureMap as FeatureMap
from .parents import GroupParents as GroupParents
from .statistics import SufficientStatistics as SufficientStatistics
from .summaries import NoiseVariance as NoiseVariance
from .summaries import Prediction as Prediction
from .summaries import Stage1CoeffSummaries as Stage1CoeffSummaries

__version__: str
