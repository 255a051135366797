"""A real server on the loopback, in a thread, and callers of every role."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from serving.ledger import LedgerReader, Location
from serving.service.app import create_app
from serving.service.settings import Settings, ShiftedClock, utc_now
from serving.service.tokens import mint
from tests.postgresql import new_database
from tests.service.lake import NOW, make_lake

PATIENCE_S = 30
_KEY = itertools.count()


@dataclass
class Running:
    """A service that runs: how to call it, and its ledger."""

    url: str
    lake: Path
    ledger: Location
    app: Any
    client: httpx.Client = field(repr=False)

    def token(self, role: str, subject: str = "somebody") -> str:
        return mint(self.lake, role, subject, 1, time.time(), "gearline")

    def call(
        self,
        method: str,
        path: str,
        role: str = "service",
        *,
        subject: str = "somebody",
        key: str | None = "",
        **more: Any,
    ) -> httpx.Response:
        """Call as a role; with a fresh Idempotency-Key unless one, or None, is given."""
        headers = {"authorization": f"Bearer {self.token(role, subject)}"}
        if key is not None:
            headers["idempotency-key"] = key or f"key-{next(_KEY)}"
        headers |= more.pop("headers", {})
        return self.client.request(method, path, headers=headers, **more)

    def decide(self, client: str = "c00", amount: str | None = None, **more: Any) -> httpx.Response:
        body = {"client_id": client, "currency": "USD"}
        if amount is not None:
            body["requested_debt_amt"] = amount
        return self.call("POST", "/v1/decisions", json=body, **more)

    @property
    def size(self) -> int:
        """Entries in the ledger."""
        with LedgerReader(self.ledger) as reader:
            return reader.size()


@contextmanager
def running(lake: Path, ledger: Location, **changes: Any) -> Iterator[Running]:
    """Serve a lake while the context is open."""
    chosen = {"now": ShiftedClock(NOW - utc_now()), "rate": 0.0, **changes}
    settings = Settings(lake, ledger, local_tokens=True, **chosen)
    app = create_app(settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    limit = time.monotonic() + PATIENCE_S
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < limit, "the service did not start in time"
        time.sleep(0.01)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=PATIENCE_S, verify=False) as client:
            yield Running(url, lake, ledger, app, client)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A service on a fresh lake, once on each database."""
    root = tmp_path_factory.mktemp("lake")
    where = None
    if request.param == "postgresql":
        where = new_database(request.getfixturevalue("server"))
    with running(root, make_lake(root, where)) as found:
        yield found


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Serve lakes that differ: ``serve(lake_options, **settings)``."""
    with_exit: list[Any] = []

    def start(lake: dict[str, Any] | None = None, change: Any = None, **settings: Any) -> Running:
        root = tmp_path / f"lake-{len(with_exit)}"
        where = make_lake(root, **(lake or {}))
        if change is not None:
            change(root)
        context = running(root, where, **settings)
        with_exit.append(context)
        return context.__enter__()

    yield start
    for context in with_exit:
        context.__exit__(None, None, None)
