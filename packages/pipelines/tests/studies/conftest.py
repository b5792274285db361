"""Studies of a model whose scores are known by hand, and a database server to keep them in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Worker processes import the toy model by its name.
sys.path.insert(0, str(Path(__file__).parent))

_DEBIAN = Path("/usr/lib/postgresql")


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb")) if _DEBIAN.is_dir() else []
    return versions[-1].parent if versions else None


def _as_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return command
    return ["runuser", "-u", "postgres", "--", *command]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an empty database of a server of our own."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server programs here")
    if os.getuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    folder = tmp_path_factory.mktemp("postgres")
    if os.getuid() == 0:
        # pytest's own folders are closed to others.
        folder = Path(subprocess.check_output(_as_user(["mktemp", "-d"]), text=True).strip())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        assert programs is not None
        command = _as_user([str(programs / program), *arguments])
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    run("initdb", "-D", str(data), "-U", "tester", "--auth=trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
    try:
        yield f"postgresql://tester:sesame@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        subprocess.run(_as_user(["rm", "-rf", str(folder)]), check=False)
