from molpool_common import InputError as InputError
from molpool_pipelines.affinity import AffinityCommandConfig as AffinityCommandConfig
from molpool_pipelines.affinity import measure_table as measure_table
from molpool_pipelines.datasets import locate as locate
from molpool_pipelines.demo import build_demo as build_demo
from molpool_pipelines.evaluation import compare as compare
from molpool_pipelines.evaluation import score_predictions as score_predictions
from molpool_pipelines.fitting import TrainChempropConfig as TrainChempropConfig
from molpool_pipelines.fitting import TrainMILConfig as TrainMILConfig
from molpool_pipelines.fitting import train_chemprop as train_chemprop
from molpool_pipelines.fitting import train_mil as train_mil
from molpool_pipelines.models import PredictConfig as PredictConfig
from molpool_pipelines.models import load_model as load_model
from molpool_pipelines.models import predict_table as predict_table
from molpool_pipelines.scores import CompareConfig as CompareConfig
from molpool_pipelines.scores import ScoreConfig as ScoreConfig
from molpool_pipelines.tables import load_molecules as load_molecules
from rt_ridge import PartialPoolingRidge as PartialPoolingRidge
from sampling_core import CurriculumState as CurriculumState
from sampling_core import JointSampler as JointSampler

__version__: str
