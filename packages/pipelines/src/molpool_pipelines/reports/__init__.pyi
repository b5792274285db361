from ._comparison_figures import summary_figure as summary_figure
from ._comparison_page import comparison_page as comparison_page
from ._config import ReportConfig as ReportConfig
from ._run_page import run_page as run_page
from ._score_figures import score_figures as score_figures
from ._score_page import score_page as score_page
from ._study_page import study_page as study_page
