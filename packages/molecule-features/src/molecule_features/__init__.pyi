from ._errors import FeatureError as FeatureError
from ._errors import FeatureVersionWarning as FeatureVersionWarning
from ._errors import MissingExtraError as MissingExtraError
from ._featurize import Features as Features
from ._featurize import featurize as featurize
from ._featurizer import Block as Block
from ._featurizer import Featurizer as Featurizer
from ._featurizer import Kind as Kind
from ._registry import FeatureSet as FeatureSet
from ._registry import featurizer_names as featurizer_names
from ._registry import register as register
from ._transformer import MoleculeFeaturizer as MoleculeFeaturizer

__version__: str
