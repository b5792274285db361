from ._errors import FeatureError as FeatureError

__version__: str
