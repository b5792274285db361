"""Everything between a table and a report, callable without a command line."""

from importlib.metadata import version

__version__ = version("molpool-pipelines")
