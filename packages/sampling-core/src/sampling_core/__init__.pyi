from ._callback import CurriculumCallback as CurriculumCallback
from ._cells import WeightStatistics as WeightStatistics
from ._config import JointSamplingConfig as JointSamplingConfig
from ._config import TaskOversamplingConfig as TaskOversamplingConfig
from ._curriculum import DEFAULT_QUALITIES as DEFAULT_QUALITIES
from ._curriculum import PHASES as PHASES
from ._curriculum import CurriculumConfig as CurriculumConfig
from ._curriculum import CurriculumState as CurriculumState
from ._curriculum import foreseen_end as foreseen_end
from ._curriculum import resolve_phase_weights as resolve_phase_weights
from ._errors import SamplingError as SamplingError
from ._from_config import Sampling as Sampling
from ._from_config import sampler_from_config as sampler_from_config
from ._from_config import sampling_from_config as sampling_from_config
from ._joint import JointSampler as JointSampler
from ._legacy import map_legacy as map_legacy
from ._legacy import migrate_legacy as migrate_legacy
from ._legacy import without_legacy as without_legacy
from ._quality import QualityWeights as QualityWeights
from ._samplers import DynamicCurriculumSampler as DynamicCurriculumSampler
from ._samplers import RarePositiveSampler as RarePositiveSampler
from ._samplers import TaskAwareSampler as TaskAwareSampler
from ._stream import Cell as Cell
from ._targets import LabelMask as LabelMask

__version__: str
