"""A table of measured values as a test set: predicted by saved models, compared with training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from molpool_common import (
    ReadConfig,
    TaskType,
    cache_folder,
    open_table,
    require_columns,
    smiles_column_of,
)

from molpool_pipelines.models import (
    ApplicabilityConfig,
    PredictConfig,
    data_as_run,
    predict_table,
    run_section,
)
from molpool_pipelines.runs import ColumnsConfig, rejected_rows
from molpool_pipelines.scores import (
    Predictions,
    read_predictions,
    training_molecules,
)
from molpool_pipelines.tables import (
    DataConfig,
    OnBadSmiles,
    exact_labels,
    identify,
    load_molecules,
    refuse_bad_smiles,
)


def predict_test_data(
    model: Path,
    test_data: str | Path,
    *,
    columns: ColumnsConfig,
    task_types: Mapping[str, TaskType],
    id_column: str | None = None,
    smiles_column: str | None = None,
    on_bad_smiles: OnBadSmiles = "error",
    read: ReadConfig | None = None,
) -> Predictions:
    """Predict a test table with one model.

    Parameters
    ----------
    model : Path
        Saved model.
    test_data : str or Path
        Table with SMILES and the truth.
    columns : ColumnsConfig
        How columns are called.
    task_types : mapping of str to {"regression", "classification"}
        Kind of single tasks.
    id_column, smiles_column : str, optional
        Of the table; by default those of the run.
    on_bad_smiles : {"error", "drop", "keep"}
        What becomes of rows whose SMILES do not parse, or that the model cannot predict.
    read : ReadConfig, optional
        What is known of the file.

    Returns
    -------
    Predictions
        By the table's ids, or by row numbers where it has none; rows without a prediction are
        listed apart.

    Raises
    ------
    InputError, ChempropError, MILError
        If model or table are wrong, or a molecule with a label has no prediction.
    """
    # By way of files: the predictor reads tables in chunks, and is the same that the user's command
    # runs.
    with tempfile.TemporaryDirectory(prefix="molpool-") as folder:
        predicted, truth = Path(folder) / "predictions.parquet", Path(folder) / "test.parquet"
        test = _Truth.read(
            model, Path(test_data), columns.tasks, id_column, smiles_column, on_bad_smiles, read
        )
        test.frame.write_parquet(truth)
        done = predict_table(
            PredictConfig(
                model_dir=str(model),
                data_path=str(truth),
                output=str(predicted),
                smiles_column=smiles_column,
                id_column="id",
                # Not asked for here, and a search of all training molecules.
                applicability=ApplicabilityConfig(enabled=False),
            )
        )
        rejected = test.rejected
        if on_bad_smiles != "error" and done.rejected:
            failed = pl.concat(done.rejected).with_columns(
                pl.lit(Path(test_data).name).alias("source")
            )
            rejected = pl.concat([rejected, failed])
            test.frame.filter(~pl.col("id").is_in(failed["id"].implode())).write_parquet(truth)
        found = read_predictions(
            predicted,
            columns=columns.model_copy(update={"id": "id"}),
            truth=truth,
            task_types=task_types,
            model_types=dict(zip(done.task_names, done.task_types, strict=True)),
            # Both were read from one table a moment ago, which gave them their ids.
            join="id",
        )
        # What is said of the file in between is said of the table.
        said = (n for n in found.notes if not n.startswith(f"{truth.name}: "))
        notes = (n.replace(truth.name, Path(test_data).name) for n in said)
        return replace(found, notes=(*test.notes, *notes), rejected=rejected)


@dataclass(frozen=True)
class _Truth:
    """A test table with ids in a column ``id`` and the truth in the run's units.

    Parameters
    ----------
    frame : DataFrame
        Its rows that can be predicted.
    rows : Series
        Their numbers in the table.
    rejected : DataFrame
        The others.
    notes : tuple of str
        How the table was read.
    """

    frame: pl.DataFrame
    rows: pl.Series
    rejected: pl.DataFrame
    notes: tuple[str, ...] = ()

    def located(self, failed: pl.DataFrame, source: str) -> pl.DataFrame:
        """Return rejected rows of `frame` as rows of the table that it was read from."""
        rows = self.rows.gather(failed["row"] - 1)
        return failed.with_columns(rows.alias("row"), pl.lit(source).alias("source"))

    @classmethod
    def read(
        cls,
        model: Path,
        path: Path,
        tasks: Sequence[str],
        id_column: str | None,
        smiles_column: str | None,
        on_bad_smiles: OnBadSmiles,
        read: ReadConfig | None,
    ) -> _Truth:
        """Read a table as the run of the model read its own."""
        table, reading = open_table(path, read, key="test_data")
        section = run_section(model, "data")
        name = id_column or section.get("id_column")
        if id_column is not None:
            require_columns(table, [id_column], key="--id-column", where=path.name)
        # The run's conversions apply to the test table too: predictions are in the units of
        # training.
        targets = section.get("target_columns")
        if targets:
            there = [t for t in tasks or targets if t in table.columns]
            # None at all is refused by the name of the first.
            wanted = list(tasks) or there or targets[:1]
            named = name if name in table.columns else None
            data = data_as_run(section, wanted, named, smiles_column)
            return cls(*_as_trained(data, path, on_bad_smiles, read))
        if name in table.columns:
            table = table.drop("id", strict=False).with_columns(
                pl.col(name).cast(pl.String).alias("id")
            )
        elif "id" not in table.columns:
            ids = pl.Series(range(1, table.height + 1)).cast(pl.String)
            table = table.with_columns(ids.alias("id"))
        known = smiles_column is not None
        column = smiles_column_of(table.columns, smiles_column or "SMILES", given=known)
        if on_bad_smiles == "error" and column in table.columns:
            refuse_bad_smiles(path, column, read)
        rows = pl.Series(range(1, table.height + 1))
        return cls(table, rows, rejected_rows([]), tuple(reading.sentences()))


def _as_trained(
    data: DataConfig, path: Path, on_bad_smiles: OnBadSmiles, read_as: ReadConfig | None
) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame, tuple[str, ...]]:
    """Return the truth as the run read its own, without bounds, its rows, the others, and notes."""
    read = load_molecules(data, str(path), on_bad_smiles=on_bad_smiles, min_labels=0, read=read_as)
    exact = exact_labels(read.targets, read.censoring)
    ids = read.origin["id" if data.id_column is not None else "row"].cast(pl.String)
    truth = pl.DataFrame(exact, schema=list(read.task_names)).fill_nan(None)
    truth = truth.with_columns(ids.alias("id"), pl.Series(data.smiles_column, read.smiles))
    return truth, read.origin["row"], read.dropped, read.notes


def overlap_notes(
    models: Sequence[Path], tested: Sequence[Predictions], names: Sequence[str]
) -> list[str]:
    """Say which models were trained on molecules that they are tested on.

    Parameters
    ----------
    models : sequence of Path
        Saved models; a run folder names its training molecules, others do not.
    tested : sequence of Predictions
        Of each, with SMILES.
    names : sequence of str
        What they are called.

    Returns
    -------
    list of str
        A note per model; stereoisomers count as one molecule, as in splits.
    """
    notes = []
    for path, found, name in zip(models, tested, names, strict=True):
        known = training_molecules(path) if path.is_dir() else None
        if known is None or found.smiles is None:
            continue
        cache = cache_folder(run_section(path, "data").get("cache_dir"))
        # By connectivity, as for splits: the SMILES of two tables need not be written alike.
        trained = set(identify(known.smiles, cache).blocks.tolist()) - {""}
        n = sum(b in trained for b in identify(found.smiles.tolist(), cache).blocks.tolist())
        if n:
            notes.append(
                f"{name} was trained on {n} of the {len(found)} test molecules: it looks better "
                "than it is."
            )
    return notes
