from ._app import build_app as build_app
from ._config import ServeConfig as ServeConfig
from ._serve import serve as serve
from ._service import PredictionService as PredictionService
from ._service import TooBusyError as TooBusyError
