"""MLflow behind one switch: a local sqlite store by default, or any tracking address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from molpool_common import ConfigModel
from pydantic import Field


class TrackingConfig(ConfigModel):
    """Where a run is logged to, if anywhere."""

    enabled: bool = Field(False, description="log parameters, metrics and files to MLflow")
    uri: str | None = Field(
        None, description="MLflow tracking address; by default mlflow.db beside the run folder"
    )
    experiment: str = Field("molpool", description="MLflow experiment")


class Tracker(Protocol):
    """What a pipeline logs to."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, at a step or for the run as a whole."""

    def file(self, path: Path) -> None:
        """Attach a file."""

    def nested(
        self, name: str, parameters: Mapping[str, Any], *, failed: bool = False
    ) -> AbstractContextManager[Tracker]:
        """Open a run below this one, such as a trial of a study."""


class NullTracker:
    """Logs nowhere."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Drop the numbers."""

    def file(self, path: Path) -> None:
        """Drop the file."""

    @contextmanager
    def nested(
        self, name: str, parameters: Mapping[str, Any], *, failed: bool = False
    ) -> Iterator[Tracker]:
        """Give a tracker that logs nowhere either."""
        yield self


class MlflowTracker:
    """Logs to one MLflow run.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connection to the store.
    run_id : str
        The run.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; names are cut to the characters MLflow allows."""
        for name, value in values.items():
            self._client.log_metric(self.run_id, mlflow_name(name), float(value), step=step or 0)

    def file(self, path: Path) -> None:
        """Attach a file."""
        self._client.log_artifact(self.run_id, str(path))

    @contextmanager
    def nested(
        self, name: str, parameters: Mapping[str, Any], *, failed: bool = False
    ) -> Iterator[Tracker]:
        """Open a run below this one, such as a trial of a study.

        Parameters
        ----------
        name : str
            Name of the run.
        parameters : mapping
            Nested configuration, logged under dotted names.
        failed : bool
            What the run shows failed, though logging it did not.

        Yields
        ------
        Tracker
        """
        experiment = self._client.get_run(self.run_id).info.experiment_id
        tags = {"mlflow.parentRunId": self.run_id}
        run_id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
        with _recorded(self._client, run_id, parameters, failed=failed) as tracker:
            yield tracker


def mlflow_name(name: str) -> str:
    """Return a metric name with the characters that MLflow refuses written as ``_``."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)


@contextmanager
def tracking(
    config: TrackingConfig, run_dir: Path, parameters: Mapping[str, Any]
) -> Iterator[Tracker]:
    """Open a tracker for one run and close it as finished, failed or killed.

    Parameters
    ----------
    config : TrackingConfig
        The switch and the address.
    run_dir : Path
        The run folder: names the run, and its parent holds the default store.
    parameters : mapping
        Nested configuration, logged under dotted names.

    Yields
    ------
    Tracker

    Raises
    ------
    ImportError
        If tracking is on and MLflow is not installed; names the extra.
    """
    if not config.enabled:
        yield NullTracker()
        return
    client, run_id = _start(config, run_dir)
    with _recorded(client, run_id, parameters) as tracker:
        yield tracker


@contextmanager
def _recorded(
    client: Any, run_id: str, parameters: Mapping[str, Any], *, failed: bool = False
) -> Iterator[Tracker]:
    """Log parameters of a run, and at the end how it went."""
    for name, value in _flat(parameters).items():
        # MLflow refuses parameters of more than 6000 characters, and a refusal would end the run.
        client.log_param(run_id, mlflow_name(name), str(value)[:6000])
    # Set first, so that whatever leaves the block without reaching its end counts as failed.
    status = "FAILED"
    try:
        yield MlflowTracker(client, run_id)
        status = "FAILED" if failed else "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)


def _start(config: TrackingConfig, run_dir: Path) -> tuple[Any, str]:
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise ImportError(
            "tracking.enabled needs MLflow: install molpool-common[tracking]"
        ) from None
    # Beside the run folder rather than in it: one store shows all runs of the folder.
    store = run_dir.resolve().parent
    client = MlflowClient(tracking_uri=config.uri or f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is not None:
        experiment_id = experiment.experiment_id
    else:
        # A local store has no server to keep files for it; a remote one decides for itself.
        location = None if config.uri else (store / "mlartifacts").as_uri()
        experiment_id = client.create_experiment(config.experiment, artifact_location=location)
    return client, client.create_run(experiment_id, run_name=run_dir.name).info.run_id


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value
    return flat
