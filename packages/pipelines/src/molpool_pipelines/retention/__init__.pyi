from .config import FitConfig as FitConfig
from .config import RunConfig as RunConfig
