"""The graphs of a run's molecules, from the cache or featurised with progress shown."""

from __future__ import annotations

from dataclasses import replace

from chemprop_multitask import GraphStore
from molpool_common import cache_folder
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from molpool_pipelines.fitting.config import TrainChempropConfig
from molpool_pipelines.fitting.inputs import Inputs


def with_graphs(console: Console, config: TrainChempropConfig, inputs: Inputs) -> Inputs:
    """Return the inputs with the graphs of all their molecules.

    Parameters
    ----------
    console : Console
        Told what was in the cache.
    config : TrainChempropConfig
        ``data.cache_dir``.
    inputs : Inputs
        Molecules of the table and, where there are such, of the table to predict.
    """
    store = GraphStore(cache_folder(config.data.cache_dir))
    smiles = inputs.table.smiles + (inputs.unseen.smiles if inputs.unseen is not None else [])
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("molecules"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with progress:
        bar = progress.add_task("Featurising", total=None)
        store.graphs(smiles, lambda n, total: progress.update(bar, completed=n, total=total))
    console.print(
        f"Graphs: {store.hits} from the cache, {store.misses} featurised.", highlight=False
    )
    return replace(inputs, graphs=store)
