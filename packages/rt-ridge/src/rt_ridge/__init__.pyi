from .errors import RTRidgeError as RTRidgeError
from .statistics import GroupParents as GroupParents
from .statistics import SufficientStatistics as SufficientStatistics

__version__: str
