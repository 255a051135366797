"""``gearline serve`` starts, says where it is, ends cleanly, and refuses in one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from tests.service.lake import make_lake
from tests.service.test_durability import free_port, start

PATIENCE_S = 60


def serve(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "gearline", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.fixture
def lake(tmp_path):
    make_lake(tmp_path / "lake")
    return tmp_path / "lake"


def test_it_ends_with_0_when_it_is_interrupted_and_finishes_what_it_was_asked(lake):
    process, port = start(lake, lake / "ledger.sqlite")
    assert httpx.get(f"http://127.0.0.1:{port}/livez").json() == {"status": "live"}
    os.kill(process.pid, signal.SIGTERM)
    process.wait(PATIENCE_S)
    told = process.stderr.read().decode()
    assert f"Gearline serves {lake} on http://127.0.0.1:{port}" in told


def test_a_port_that_is_taken_is_refused_in_one_line(lake):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = serve("--lake", lake, "--local-tokens", "--port", port)
    assert ran.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "nobody could sign in: give --issuer and --jwks"),
        (["--jwks", "missing.json"], "--jwks missing.json is no key set"),
        (["--local-tokens", "--host", "0.0.0.0"], "local tokens are for trying out"),
        (["--local-tokens", "--ledger", "none.sqlite"], "there is no ledger at none.sqlite"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(lake, options, told):
    ran = serve("--lake", lake, "--port", free_port(), *options)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert told in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


def test_a_bundle_that_is_not_the_nights_is_refused(lake):
    path = lake / "bundle" / "tiers.json"
    path.write_bytes(path.read_bytes().replace(b"3000000", b"3000001"))
    ran = serve("--lake", lake, "--port", free_port(), "--local-tokens")
    assert ran.returncode == 2
    assert "is not what bundle.json was made from" in ran.stderr
