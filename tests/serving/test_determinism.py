"""The same seed gives the same decisions in another process, on any number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gearline

pytestmark = pytest.mark.long


def demo(out, *arguments, hash_seed):
    """Run a demo in a process of its own, with another order of sets, and return its document."""
    command = [sys.executable, "-m", "gearline", "demo", "--clients", "1000", "--json"]
    ran = subprocess.run(
        [*command, "--out", str(out), *arguments],
        capture_output=True,
        check=False,
        cwd=Path(gearline.__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_and_process_change_no_decision(small_demo, tmp_path, threads):
    found = demo(tmp_path / "lake", "--seed", "7", "--threads", threads, hash_seed=threads)
    differs = {"out", "seconds_by_stage", "next_commands"}
    assert found["decisions_sha256"] == small_demo.summary["decisions_sha256"]
    assert {k: v for k, v in found.items() if k not in differs} == {
        k: v for k, v in small_demo.summary.items() if k not in differs
    }


def test_another_seed_gives_other_decisions(small_demo, tmp_path):
    found = demo(tmp_path / "lake", "--seed", "8", hash_seed="0")
    assert found["seed"] == 8
    assert found["decisions"] > 0
    assert found["decisions_sha256"] != small_demo.summary["decisions_sha256"]
