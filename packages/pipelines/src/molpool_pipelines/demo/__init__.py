"""A synthetic multi-task table that needs no download: nothing in it was measured.

Examples
--------
>>> from molpool_pipelines.demo import DEMO_TASKS, build_demo
>>> table = build_demo(n=200, seed=0)
>>> table.columns[:2], DEMO_TASKS[0]
(['Molecule Name', 'SMILES'], 'LogP')
"""

try:
    from molpool_pipelines.demo._table import (
        DEMO_NOTICE,
        DEMO_TASKS,
        build_demo,
        label_counts,
        write_demo,
    )
except ModuleNotFoundError as error:
    if error.name != "rdkit":
        raise
    raise ImportError("the demo needs RDKit: install molpool-common[chem]") from error

__all__ = ["DEMO_NOTICE", "DEMO_TASKS", "build_demo", "label_counts", "write_demo"]
