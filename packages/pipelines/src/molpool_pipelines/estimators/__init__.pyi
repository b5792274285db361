from ._auto import AutoClassifier as AutoClassifier
from ._auto import AutoRegressor as AutoRegressor
from ._chemprop import ChempropClassifier as ChempropClassifier
from ._chemprop import ChempropRegressor as ChempropRegressor
from ._inputs import smiles_of as smiles_of
from ._molecules import MoleculeEstimator as MoleculeEstimator
from ._report import Report as Report
from ._runs import from_run as from_run
