"""The web interface of a `PredictionService`."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from markupsafe import escape
from molpool_common import InputError, formulas_marked, read_table
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from molpool_pipelines.estimators import smiles_of
from molpool_pipelines.models import LEVEL
from molpool_pipelines.serving._service import PredictionService, TooBusyError

Next = Callable[[Request], Awaitable[Response]]


class Question(BaseModel):
    """Molecules to predict."""

    # A misspelt key would be left out of account in silence.
    model_config = ConfigDict(extra="forbid")

    smiles: list[str | None] = Field(description="molecules; one that does not parse has a reason")
    level: float = Field(LEVEL, gt=0, lt=1, description="share of molecules that intervals cover")
    structures: bool = Field(False, description="draw each molecule, as SVG")


class Predictions(BaseModel):
    """A row for each molecule, in order."""

    model: str = Field(description="name of the run")
    tasks: dict[str, Any] = Field(description="type, unit and names of columns of each task")
    rows: list[dict[str, Any]] = Field(description="as molpool-evaluate predict writes them")


def build_app(
    service: PredictionService,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = ("*",),
    max_bytes: int = 20 << 20,
) -> FastAPI:
    """Return the page and the interface of a model.

    Parameters
    ----------
    service : PredictionService
        What answers.
    token : str or None
        Word that requests for predictions have to bring, as ``Authorization: Bearer WORD``.
    hosts : tuple of str
        Names under which requests may ask for this machine; others could be another page's.
    max_bytes : int
        Size of a request at most.
    """
    app = FastAPI(title=f"molpool: {service.name}", docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    _bound(app, max_bytes)
    _answer_errors(app)
    page, policy = _page(service)

    def allowed(request: Request) -> None:
        said = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token is not None and not secrets.compare_digest(said.encode(), token.encode()):
            raise HTTPException(401, "expected the token that the server was started with")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def show() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    @app.get("/health")
    def health() -> dict[str, str]:
        """Say that the model is loaded."""
        return {"model": service.name}

    @app.post("/predict", dependencies=[Depends(allowed)])
    def predict(question: Question) -> Predictions:
        """Predict a list of SMILES."""
        found = service.predict(question.smiles, question.level, structures=question.structures)
        return Predictions(model=service.name, tasks=found.tasks, rows=found.rows)

    @app.post("/table", dependencies=[Depends(allowed)])
    async def table(
        request: Request,
        name: str = Query("table.csv", description="of the file, whose ending says its format"),
        level: float = Query(LEVEL, gt=0, lt=1),
        smiles_column: str | None = None,
    ) -> Response:
        """Predict a table, the body of the request; the answer is that table in CSV, with more."""
        content = await request.body()

        def predicted() -> str:
            frame = _read(content, name)
            found = service.predict(smiles_of(frame, smiles_column), level)
            return _beside(frame, found.columns)

        csv = await run_in_threadpool(predicted)
        return Response(csv, media_type="text/csv; charset=utf-8")

    return app


def _bound(app: FastAPI, max_bytes: int) -> None:
    """Refuse requests that are too large before they are read."""

    @app.middleware("http")
    async def bounded(request: Request, answer: Next) -> Response:
        length = request.headers.get("content-length", "0" if request.method == "GET" else "")
        if not length.isdigit():
            return _said(411, "expected a Content-Length; found none")
        if int(length) > max_bytes:
            return _said(413, f"expected at most {max_bytes >> 20} MB; found {int(length) >> 20}")
        return await answer(request)


def _answer_errors(app: FastAPI) -> None:
    """Say what is wrong with a request in one sentence."""

    @app.exception_handler(InputError)
    def refused(_: Request, error: Exception) -> Response:
        return _said(422, str(error))

    @app.exception_handler(RequestValidationError)
    def not_understood(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return _said(422, f"{where}: {first['msg']}; found {repr(first['input'])[:80]}")

    @app.exception_handler(Exception)
    def failed(_: Request, error: Exception) -> Response:
        # Its traceback stands where the server was started.
        return _said(500, f"a fault of ours, {type(error).__name__}; the server's screen has more")

    @app.exception_handler(TooBusyError)
    def busy(_: Request, error: Exception) -> Response:
        return _said(503, f"{error}; ask again later", {"Retry-After": "5"})


def _said(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": text}, status, headers)


def _read(content: bytes, name: str) -> pl.DataFrame:
    """Return the table of a file, by the ending of its name."""
    with TemporaryDirectory() as folder:
        # Of the name nothing but its endings goes into a path.
        ending = "".join(PurePath(name).suffixes[-2:])
        path = Path(folder, "table" + "".join(c for c in ending if c.isalnum() or c == "."))
        path.write_bytes(content)
        return read_table(path)


def _beside(frame: pl.DataFrame, columns: dict[str, list[Any]]) -> str:
    """Return a table with predictions beside its columns, as CSV."""
    taken = {name.casefold() for name in frame.columns}
    more = {
        (name if name.casefold() not in taken else f"{name} predicted"): cells
        for name, cells in columns.items()
        if name != "SMILES"
    }
    file = io.StringIO()
    whole = frame.hstack(pl.DataFrame(more, strict=False).get_columns())
    formulas_marked(whole).write_csv(file)
    return file.getvalue()


def _page(service: PredictionService) -> tuple[str, str]:
    """Return the page, and a policy under which nothing but its own script runs."""
    folder = files("molpool_pipelines.serving")
    page = folder.joinpath("page.html").read_text(encoding="utf-8")
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    words = {"name": str(escape(service.name)), "most": str(service.max_molecules)}
    for key, text in {**words, "script": script}.items():
        page = page.replace("{{" + key + "}}", text)
    return page, policy
