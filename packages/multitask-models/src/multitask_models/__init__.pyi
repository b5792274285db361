from ._baselines import TanimotoNeighbours as TanimotoNeighbours
from ._baselines import TaskMean as TaskMean
from ._errors import MissingLabelWarning as MissingLabelWarning
from ._errors import MissingPackageError as MissingPackageError
from ._errors import ModelError as ModelError
from ._gp import MultitaskGP as MultitaskGP
from ._labels import Labels as Labels
from ._labels import TaskKind as TaskKind
from ._limits import AssayLimits as AssayLimits
from ._limits import find_limits as find_limits
from ._mlp import MultitaskMLP as MultitaskMLP
from ._optional import MultitaskBoosting as MultitaskBoosting
from ._optional import MultitaskTabICL as MultitaskTabICL
from ._protocol import Latent as Latent
from ._protocol import MultitaskModel as MultitaskModel
from ._protocol import RowSampler as RowSampler
from ._trees import MultitaskForest as MultitaskForest
from ._trees import MultitaskLightGBM as MultitaskLightGBM

__version__: str
