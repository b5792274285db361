"""MLflow behind one switch: a local sqlite store by default, or any tracking address.

A run never fails for what watches it. An address that does not answer, a name or a number that is
refused, a full disk: each is a warning, and training goes on.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from molpool_common import ConfigModel, without_secrets
from pydantic import Field

ANSWER_SECONDS = 5.0
"""How long an address may take to answer at all before a run goes on without it."""

_LONGEST_NAME = 250
_LONGEST_VALUE = 6000
_MOST_AT_ONCE = 1000
"""Metrics that MLflow takes in one request."""
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


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

    def table(self, name: str, digest: str, source: str) -> None:
        """Say which table is trained on."""

    def folder(self, name: str, build: Callable[[Path], None]) -> None:
        """Attach a folder, which `build` makes at the path that it is given."""

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

    def table(self, name: str, digest: str, source: str) -> None:
        """Drop what is said."""

    def folder(self, name: str, build: Callable[[Path], None]) -> None:
        """Build none."""

    @contextmanager
    def nested(
        self, name: str, parameters: Mapping[str, Any], *, failed: bool = False
    ) -> Iterator[Tracker]:
        """Give a tracker that logs nowhere either."""
        yield self


class MlflowNames:
    """Names of one MLflow run: legal, at most 250 characters, and different where ours are."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> str:
        if name not in self._given:
            legal = mlflow_name(name)
            if legal in self._taken:
                legal = _numbered(legal, name)
            self._given[name] = legal
            self._taken.add(legal)
        return self._given[name]


def mlflow_name(name: str) -> str:
    """Return a metric or parameter name as MLflow takes it.

    Characters that it refuses are written as ``_``, as are parts of a path that would lead
    elsewhere; a name of more than 250 characters is cut and ends in a digest of the whole.
    """
    legal = "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)
    # MLflow may keep a metric as a file of its name: `a//b` and `../b` would be others.
    legal = "/".join("_" if part in {"", ".", ".."} else part for part in legal.split("/"))
    return legal if len(legal) <= _LONGEST_NAME else _numbered(legal, name)


def _numbered(legal: str, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{legal[: _LONGEST_NAME - 9]}-{digest}"


class MlflowTracker:
    """Logs to one MLflow run; what fails is a warning, the first time.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connection to the store.
    run_id : str
        The run.
    connection : Connection
        What runs of one store share: whether it still answers.
    """

    def __init__(self, client: Any, run_id: str, connection: Connection) -> None:
        self._client = client
        self._connection = connection
        self._names = MlflowNames()
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, under names that MLflow allows."""
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        logged = [Metric(self._names[n], float(v), now, step or 0) for n, v in values.items()]
        for start in range(0, len(logged), _MOST_AT_ONCE):
            some = logged[start : start + _MOST_AT_ONCE]
            self._connection.call(self._client.log_batch, self.run_id, some)

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log a nested configuration under dotted names."""
        for name, value in _flat(values).items():
            text = without_secrets(str(value))[:_LONGEST_VALUE]  # more are refused
            self._connection.call(self._client.log_param, self.run_id, self._names[name], text)

    def file(self, path: Path) -> None:
        """Attach a file."""
        self._connection.call(self._client.log_artifact, self.run_id, str(path))

    def table(self, name: str, digest: str, source: str) -> None:
        """Say which table is trained on: MLflow shows it among the run's data sets."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        of = Dataset(name=name, digest=digest, source_type="local", source=source)
        given = DatasetInput(of, [InputTag("mlflow.data.context", "training")])
        self._connection.call(self._client.log_inputs, self.run_id, datasets=[given])

    def folder(self, name: str, build: Callable[[Path], None]) -> None:
        """Attach a folder, which `build` makes at the path that it is given."""
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / name
            self._connection.call(build, folder)
            if folder.is_dir():
                self._connection.call(self._client.log_artifacts, self.run_id, str(folder), name)

    def close(self, status: str) -> None:
        """Say how the run ended."""
        self._connection.call(self._client.set_terminated, self.run_id, status)

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
        run_id = self._connection.call(self._start_below, name)
        if run_id is None:
            yield NullTracker()
            return
        tracker = MlflowTracker(self._client, run_id, self._connection)
        with _recorded(tracker, parameters, failed=failed):
            yield tracker

    def _start_below(self, name: str) -> str:
        experiment = self._client.get_run(self.run_id).info.experiment_id
        tags = {"mlflow.parentRunId": self.run_id}
        return str(self._client.create_run(experiment, run_name=name, tags=tags).info.run_id)


class Connection:
    """Calls to one store, whose failures end no run.

    Parameters
    ----------
    uri : str
        Its address.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lost = False
        self._warned = False

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a call gives; None where it fails, or where nobody answers any more."""
        if self._lost:
            return None
        try:
            return function(*arguments, **options)
        except Exception as error:  # MLflow, requests, SQLAlchemy and the disk have their own
            # Each call to a server that hangs would cost seconds, and there is one per metric.
            self._lost = silence_of(self.uri) is not None
            if not self._warned:
                self._warned = True
                rest = "Nothing more is logged there" if self._lost else "The rest is logged"
                at = without_secrets(self.uri)
                _warn(f"MLflow at {at}: {_line(error)}. {rest}; the run goes on.")
            return None


def silence_of(uri: str) -> str | None:
    """Return why an address does not answer, None where it does or is a file of this machine."""
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        found: list[str | None] = [f"no answer within {ANSWER_SECONDS:g} s"]
        # In a thread: names that are looked up in vain and answers that drip have no time limit.
        asked = threading.Thread(target=lambda: found.append(_http_silence(uri)), daemon=True)
        asked.start()
        asked.join(ANSWER_SECONDS + 1)
        return found[-1]
    port = _DATABASE_PORTS.get(parts.scheme.partition("+")[0])
    if port is None or not parts.hostname:
        return None
    try:
        socket.create_connection((parts.hostname, parts.port or port), ANSWER_SECONDS).close()
    except OSError as error:
        return _line(error)
    return None


def _http_silence(uri: str) -> str | None:
    try:
        request = Request(f"{uri.rstrip('/')}/health")  # noqa: S310  # http and https alone come here
        with urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310  # as above
            return None
    except HTTPError:
        return None  # an answer, if not a kind one: MLflow may say more
    except (OSError, ValueError) as error:  # URLError, timeouts; malformed addresses
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return f"no answer within {ANSWER_SECONDS:g} s"
        # Certificates are MLflow's to judge, which has settings of its own.
        return None if type(reason).__module__ == "ssl" else _line(reason)


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
    check_tracking(config)
    with _impatient(seconds=4, retries=0):
        tracker = _open(config, run_dir)
    if tracker is None:
        yield NullTracker()
        return
    # More for a run under way: files are sent, and a server may be restarted.
    with _impatient(seconds=30, retries=1), _recorded(tracker, parameters):
        yield tracker


class TrackingUnavailableError(ImportError):
    """Tracking is on and MLflow not installed."""

    exit_code = 2


def check_tracking(config: TrackingConfig) -> None:
    """Refuse at once what could not be logged at all.

    Raises
    ------
    ImportError
        If tracking is on and MLflow is not installed; names the extra.
    """
    try:
        missing = config.enabled and find_spec("mlflow") is None
    except ValueError:  # a module without a specification, as `None` in its place is
        missing = True
    if missing:
        raise TrackingUnavailableError(
            "tracking.enabled needs MLflow: install molpool-common[tracking]"
        )


@contextmanager
def _impatient(*, seconds: int, retries: int) -> Iterator[None]:
    """Bound the waiting of MLflow, which asks seven times for two minutes each by default."""
    limits = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
    }
    ours = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _open(config: TrackingConfig, run_dir: Path) -> MlflowTracker | None:
    """Start a run at the address, else in the local store; None, with a warning, in neither."""
    store = run_dir.resolve().parent
    # Beside the run folder rather than in it: one store shows all runs of the folder.
    local = f"sqlite:///{store / 'mlflow.db'}"
    for uri in dict.fromkeys([config.uri or local, local]):
        why = silence_of(uri)
        if why is None:
            try:
                return _start(uri, config.experiment, run_dir)
            except Exception as error:  # as in Connection.call
                why = _line(error)
        instead = "Logged nowhere" if uri == local else f"Logged to {local} instead"
        _warn(f"MLflow at {without_secrets(uri)}: {why}. {instead}; the run goes on.")
    return None


def _start(uri: str, name: str, run_dir: Path) -> MlflowTracker:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        experiment_id = experiment.experiment_id
    else:
        store = run_dir.resolve().parent
        # A local store has no server to keep files for it; a remote one decides for itself.
        is_local = uri == f"sqlite:///{store / 'mlflow.db'}"
        location = (store / "mlartifacts").as_uri() if is_local else None
        experiment_id = client.create_experiment(name, artifact_location=location)
    run_id = client.create_run(experiment_id, run_name=run_dir.name).info.run_id
    return MlflowTracker(client, run_id, Connection(uri))


@contextmanager
def _recorded(
    tracker: MlflowTracker, parameters: Mapping[str, Any], *, failed: bool = False
) -> Iterator[None]:
    """Log parameters of a run, and at the end how it went."""
    tracker.parameters(parameters)
    # Set first, so that whatever leaves the block without reaching its end counts as failed.
    status = "FAILED"
    try:
        yield
        status = "FAILED" if failed else "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.close(status)


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def _line(error: object) -> str:
    text = str(error).strip() or type(error).__name__
    return without_secrets(text.splitlines()[0].rstrip("."))[:300]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value
    return flat
