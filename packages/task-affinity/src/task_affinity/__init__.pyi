from .config import TaskAffinityConfig as TaskAffinityConfig
from .errors import TaskAffinityError as TaskAffinityError
