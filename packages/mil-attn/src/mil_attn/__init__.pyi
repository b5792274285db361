from .bags import Bags as Bags
from .bags import pack_bags as pack_bags
from .bags import pad_bags as pad_bags
from .errors import MILError as MILError

__all__ = [
    "Bags",
    "MILError",
    "pack_bags",
    "pad_bags",
]
__version__: str
