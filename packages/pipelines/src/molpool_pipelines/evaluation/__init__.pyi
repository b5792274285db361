from ._compare import compare as compare
from ._compare import write_comparison as write_comparison
from ._report import report as report
from ._score import score_predictions as score_predictions
from ._test_data import overlap_notes as overlap_notes
from ._test_data import predict_test_data as predict_test_data
