"""A running service with its console on a small lake of two nights, and browsers to look at it."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.ledger import Ledger
from serving.review import ReviewDesk, ReviewStore
from tests.service.conftest import Running, running
from tests.service.lake import NOW, make_lake

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service on a fresh lake with the cases of its last night in the queue."""
    root: Path = tmp_path_factory.mktemp("lake")
    where = make_lake(root, nights=("night-1", "night-2"))
    with Ledger.open(where) as ledger, ReviewStore(where) as store:
        ReviewDesk(ledger, store).open_run(root, "night-2", NOW - dt.timedelta(hours=1))
    with running(root, where, open_sign_in=True) as found:
        yield found


class Visitor:
    """Somebody with a cookie jar, without a browser: for what a browser would not send."""

    def __init__(self, url: str) -> None:
        # No TLS here, and reading the certificate authorities would take most of a short test.
        self.http = httpx.Client(base_url=url, follow_redirects=False, timeout=60, verify=False)

    def token(self, path: str) -> str:
        """The forgery token of a page."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.http.get(path).text)
        assert found, path
        return found[1]

    def sign_in(self, name: str, role: str) -> Visitor:
        form = {"csrf": self.token("/console/sign-in"), "name": name, "role": role}
        assert self.http.post("/console/sign-in", data=form).status_code == 303
        return self

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def post(
        self, path: str, form: dict[str, str], page: str = "/console/replay"
    ) -> httpx.Response:
        """Send a form with the session's own token."""
        return self.http.post(path, data={"csrf": self.token(page), **form})


@pytest.fixture
def visitor(console: Running) -> Iterator[Any]:
    """Make visitors: ``visitor("ann", "reviewer")``."""
    made: list[Visitor] = []

    def make(name: str = "", role: str = "") -> Visitor:
        one = Visitor(console.url)
        made.append(one)
        return one.sign_in(name, role) if name else one

    yield make
    for one in made:
        one.http.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A Chromium; tests that need one are left out where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Any, console: Running) -> Iterator[Any]:
    """Open browsers of separate people; no request of any of them may leave the host."""
    contexts: list[Any] = []
    asked: list[str] = []
    said: list[str] = []

    def open_one(**options: Any) -> Any:
        context = chromium.new_context(**{"locale": "en-US", **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        context.on("request", lambda request: asked.append(request.url))
        context.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: said.append(f"thrown: {error.error}"))
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()
    assert asked
    away = [url for url in asked if not url.startswith(f"{console.url}/")]
    assert away == []
    # a page that breaks its own security policy says so on the console
    assert [s for s in said if "Content Security Policy" in s or s.startswith("thrown: ")] == []
