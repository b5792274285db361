from .predicting import predict_table as predict_table
from .saved import run_section as run_section
