from .callback import CurriculumCallback as CurriculumCallback
from .cell_sampler import Cell as Cell
from .config import CurriculumConfig as CurriculumConfig
from .config import JointSamplingConfig as JointSamplingConfig
from .config import TaskOversamplingConfig as TaskOversamplingConfig
from .curriculum import CurriculumState as CurriculumState
from .dynamic_curriculum import DynamicCurriculumSampler as DynamicCurriculumSampler
from .errors import SamplingError as SamplingError
from .factory import sampler_from_config as sampler_from_config
from .joint import JointSampler as JointSampler
from .legacy import map_legacy as map_legacy
from .legacy import migrate_legacy as migrate_legacy
from .legacy import without_legacy as without_legacy
from .phases import DEFAULT_QUALITIES as DEFAULT_QUALITIES
from .phases import PHASES as PHASES
from .phases import resolve_phase_weights as resolve_phase_weights
from .quality import QualityWeights as QualityWeights
from .rare_positive import RarePositiveSampler as RarePositiveSampler
from .sampling import Sampling as Sampling
from .sampling import sampling_from_config as sampling_from_config
from .statistics import WeightStatistics as WeightStatistics
from .task_aware import TaskAwareSampler as TaskAwareSampler

__version__: str
