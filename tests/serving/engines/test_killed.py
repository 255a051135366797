"""A night or one of its workers is killed at any time: nothing is lost, nothing is twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from serving.ledger import read_entries
from tests.serving.engines.nights import ROOT, command, copy_of, reprice, same_as

KILLS = int(os.environ.get("GEARLINE_KILLS", "4"))
"""Kills of the embedded engine; docs/nightly.md has the figures of 100."""
RAY_KILLS = int(os.environ.get("GEARLINE_RAY_KILLS", "2"))
KILLS_SEED = int(os.environ.get("GEARLINE_KILLS_SEED", "0"))
"""Other times of the kills, so that a full count can be run in pieces."""
PATIENCE_S = 240
FILES_OF_A_NIGHT = 15
"""Four buckets of the first pass, the snapshot's four files, two files of almost four segments."""


@pytest.mark.long
def test_a_night_killed_at_random_times_ends_as_if_it_had_not_been(made, unbroken, tmp_path):
    """SIGKILL to the command and nobody else: its workers must go with it."""
    chance = random.Random(5 + KILLS_SEED)
    spoiled = 0
    for k in range(KILLS):
        lake = copy_of(made[0], tmp_path / str(k))
        threads = ("--threads", 1 + k % 2)
        process = subprocess.Popen(
            command(lake, made[1][0], *threads),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        # at any of the files that a night writes, or a moment after it
        wait_for_files(process, lake / "runs", chance.randint(0, FILES_OF_A_NIGHT - 1))
        time.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        ledger = lake / "ledger.sqlite"
        kinds = [e.kind for e in read_entries(ledger)] if ledger.is_file() else []
        spoiled += "run_finished" not in kinds
        resumed = reprice(lake, made[1][0], *threads)
        assert resumed["decisions_sha256"] == unbroken[1]["decisions_sha256"]
        same_as(unbroken, lake)
        shutil.rmtree(lake)
    assert spoiled > KILLS // 3, "most nights were over before the kill"


def wait_for_files(process, runs, count):
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit and process.poll() is None:
        if sum(p.is_file() for p in runs.rglob("*")) >= count:
            return
        time.sleep(0.001)


def ray_workers(of):
    """Processes of Ray's workers that run tasks, below a process."""
    parent, name = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parent[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
            name[int(entry.name)] = line
    below, grown = {of}, True
    while grown:
        more = {p for p, up in parent.items() if up in below} - below
        below |= more
        grown = bool(more)
    # not its agents, which are named alike: with them the whole node goes
    return [p for p in below if name[p].startswith((b"ray::first_task", b"ray::second_task"))]


@pytest.mark.long
def test_a_night_on_ray_outlives_the_death_of_a_worker(made, unbroken, tmp_path):
    pytest.importorskip("ray")
    chance = random.Random(9 + KILLS_SEED)
    killed = 0
    for k in range(RAY_KILLS):
        lake = copy_of(made[0], tmp_path / str(k))
        process = subprocess.Popen(
            command(lake, made[1][0], "--engine", "ray", "--threads", 2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        done = threading.Event()

        pause = chance.uniform(0.0, 1.5)

        def kill(of=process.pid, done=done, wait=pause):
            nonlocal killed
            limit = time.monotonic() + PATIENCE_S
            while time.monotonic() < limit and not done.is_set():
                if found := ray_workers(of):
                    time.sleep(wait)
                    for pid in ray_workers(of)[:1] or found[:1]:
                        try:
                            os.kill(pid, signal.SIGKILL)
                            killed += 1
                        except ProcessLookupError:
                            continue
                    return
                time.sleep(0.01)

        killer = threading.Thread(target=kill)
        killer.start()
        _, err = process.communicate(timeout=PATIENCE_S)
        done.set()
        killer.join()
        assert process.returncode == 0, err.decode()[-2000:]
        same_as(unbroken, lake)
        shutil.rmtree(lake)
    assert killed > 0
