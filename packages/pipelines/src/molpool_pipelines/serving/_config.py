"""What `molpool serve` can be asked."""

from __future__ import annotations

from typing import Annotated

from molpool_common import PATH, ConfigModel, short_flag
from pydantic import Field

LOOPBACK = ("127.0.0.1", "localhost")
"""Hosts that nobody else reaches."""


class ServeConfig(ConfigModel):
    """Answer with a saved model on this machine: a page for people, JSON for programs."""

    model_dir: Annotated[str | None, PATH, short_flag("--run")] = Field(
        None, description="run folder of molpool-train, or a model file"
    )
    host: str = Field(
        "127.0.0.1", description="address to listen on; any but this machine's own asks for a token"
    )
    port: int = Field(8000, ge=0, le=65535, description="port; 0: a free one")
    token: str | None = Field(
        None,
        description="word that requests have to bring; by default none on this machine's own "
        "address, and a random one elsewhere, which is printed",
    )
    max_molecules: int = Field(10_000, ge=1, description="molecules of one request at most")
    max_megabytes: int = Field(20, ge=1, description="size of one request at most")
    timeout: float = Field(120.0, gt=0, description="seconds that one request may take")
    waiting: int = Field(64, ge=0, description="requests that may wait; others are to come later")
