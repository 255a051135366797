"""A night in processes of its own, and what it left compared with what another one left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

import gearline
from serving.ledger import read_entries, verify

ROOT = Path(gearline.__file__).parent


def copy_of(lake, folder):
    return shutil.copytree(lake, folder / "lake")


def command(lake, day, *more):
    night = ["reprice", str(lake), "--as-of", day.isoformat(), "--json"]
    return [sys.executable, "-m", "gearline", *night, *map(str, more)]


def reprice(lake, day, *more, env=None):
    done = subprocess.run(
        command(lake, day, *more),
        capture_output=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def files_of(run):
    """SHA-256 of every file of a run."""
    return {
        str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(run.rglob("*"))
        if p.is_file()
    }


def same_as(unbroken, lake):
    """The run's files and the ledger's entries are those of the unbroken night, once each."""
    whole, document = unbroken
    run = Path("runs") / document["run_id"]
    assert files_of(lake / run) == files_of(whole / run)
    ours, theirs = (
        [(e.kind, e.body) for e in read_entries(x / "ledger.sqlite")] for x in (lake, whole)
    )
    assert ours == theirs
    report = verify(lake / "ledger.sqlite", base_dir=lake)
    assert report.ok, report.first_bad
    sql = "SELECT count(*), count(DISTINCT client_id) FROM read_parquet(?)"
    [found] = duckdb.connect().execute(sql, [f"{lake / run}/*/decisions.parquet"]).fetchall()
    assert found == (document["decisions"],) * 2
