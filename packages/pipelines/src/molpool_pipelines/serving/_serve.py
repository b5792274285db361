"""`molpool serve`: a model behind an address."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path

from molpool_common import InputError
from molpool_common import console as new_console

from molpool_pipelines.serving._config import LOOPBACK, ServeConfig


def serve(config: ServeConfig) -> None:
    """Answer requests until interrupted.

    Raises
    ------
    InputError
        If there is no model, or the address cannot be had.
    """
    if config.model_dir is None:
        raise InputError("--model-dir", expected="a run folder", found="none")
    alone = config.host in LOOPBACK
    token = config.token or (None if alone else secrets.token_urlsafe(16))
    listening = _socket(config.host, config.port)
    console = new_console()
    console.print("Loading the model.", highlight=False)

    # What predicts takes seconds to import.
    import uvicorn

    from molpool_pipelines.serving._app import build_app
    from molpool_pipelines.serving._service import PredictionService

    service = PredictionService(
        Path(config.model_dir),
        max_molecules=config.max_molecules,
        timeout=config.timeout,
        waiting=config.waiting,
    )
    app = build_app(
        service,
        token=token,
        hosts=LOOPBACK if alone else ("*",),
        max_bytes=config.max_megabytes << 20,
    )
    port = listening.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    query = "" if token is None else f"/?token={token}"
    console.print(
        f"{service.name} answers at http://{host}:{port}{query}  (Ctrl-C stops it)",
        highlight=False,
        soft_wrap=True,
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False))
    # It ends what it is answering, and then raises the signal that stopped it again.
    with listening, suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    console.print("Stopped.")


def _socket(host: str, port: int) -> socket.socket:
    """Return a socket at an address, before the model takes seconds to load."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise InputError(
            "--port",
            expected="an address of this machine that is free",
            found=f"{host}:{port} ({error.strerror})",
            hint="--port 0 takes a free port.",
        ) from None
    return made
