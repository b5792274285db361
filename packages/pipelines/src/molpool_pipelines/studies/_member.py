"""One training run of a retraining as a process of its own: ``python -m`` this module.

A study's models are trained one after another; a process each gives all memory back, and a Ctrl-C
leaves a run folder that the next attempt resumes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from molpool_common import INTERRUPTED, guarded, load_config


def train(kind: str, file: Path) -> None:
    """Train a model by the configuration in a file, which names its run folder.

    Parameters
    ----------
    kind : {"chemprop", "tabular", "mil"}
        Of the model.
    file : Path
        Configuration in YAML.
    """
    arguments = [f"molpool-train {kind}", "--config", str(file)]
    if kind == "chemprop":
        from molpool_pipelines.fitting import TrainChempropConfig, train_chemprop

        train_chemprop(load_config(TrainChempropConfig, file, all_keys=True), arguments=arguments)
    elif kind == "tabular":
        from molpool_pipelines.fitting import TrainTabularConfig, train_tabular

        train_tabular(load_config(TrainTabularConfig, file, all_keys=True), arguments=arguments)
    else:
        from molpool_pipelines.fitting import TrainMILConfig, train_mil

        train_mil(load_config(TrainMILConfig, file, all_keys=True), arguments=arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Train the model of the command line, KIND and FILE; returns the exit code."""
    kind, file = sys.argv[1:] if argv is None else argv

    def trained() -> int:
        try:
            train(kind, Path(file))
        except KeyboardInterrupt:
            # What started it says how all of it goes on, not this model alone.
            return INTERRUPTED
        return 0

    return guarded("molpool-hpo retrain", trained)


if __name__ == "__main__":
    # Not `main` of this module: what it imports has to be out of the way first at the exit.
    from molpool_common import end_with_parent, run_script

    end_with_parent()
    run_script("molpool_pipelines.studies._member")
