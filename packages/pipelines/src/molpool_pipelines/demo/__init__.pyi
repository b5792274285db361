from ._table import DEMO_NOTICE as DEMO_NOTICE
from ._table import DEMO_TASKS as DEMO_TASKS
from ._table import build_demo as build_demo
from ._table import label_counts as label_counts
from ._table import write_demo as write_demo
