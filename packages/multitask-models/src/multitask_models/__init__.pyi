from ._errors import ModelError as ModelError

__version__: str
