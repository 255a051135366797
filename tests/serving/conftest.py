"""A short record to tamper with: two nights in a row on the demo's clients, and copies of it."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

import gearline
from data_contracts.units import NULL
from features.asof import BookHistory
from features.panel import PricePanel

RECORD = ("bundle", "keys", "runs")
"""Folders that replay and the ledger need; the tables of the lake are not among them."""


@dataclass(frozen=True)
class Nights:
    """A lake with a record of two consecutive sessions of March 2020, and what reprice printed."""

    path: Path
    first: dict[str, Any]
    second: dict[str, Any]


def quiet(*arguments: object) -> dict[str, Any]:
    """Run the command line with ``--json`` where no ``capfd`` can be had; return its document."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert gearline.main([*map(str, arguments), "--json"]) == gearline.DONE
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.fixture(scope="session")
def run_json() -> Callable[..., dict[str, Any]]:
    """``quiet`` for fixtures of other files."""
    return quiet


@pytest.fixture(scope="session")
def undecided(small_demo: Any) -> list[dt.date]:
    """Sessions of March 2020 on which the demo decided nothing, ascending."""
    sql = """
        SELECT session FROM read_parquet(? || '/sessions/*.parquet')
        WHERE session BETWEEN '2020-03-01' AND '2020-03-31' AND session NOT IN
          (SELECT as_of FROM read_parquet(? || '/runs/*/*/decisions.parquet'))
        ORDER BY session"""
    root = str(small_demo.path)
    return [row[0] for row in duckdb.connect().execute(sql, [root, root]).fetchall()]


@pytest.fixture(scope="session")
def two_nights(
    small_demo: Any, undecided: list[dt.date], tmp_path_factory: pytest.TempPathFactory
) -> Nights:
    """Read it only; ``record`` is a copy to change."""
    path = tmp_path_factory.mktemp("nights") / "lake"
    shutil.copytree(small_demo.path, path, ignore=shutil.ignore_patterns("runs", "ledger*", "keys"))
    first, second = (quiet("reprice", path, "--as-of", day) for day in undecided[9:11])
    return Nights(path, first, second)


@pytest.fixture
def record(two_nights: Nights, tmp_path: Path) -> Path:
    """A copy of the two nights' record, without the tables it was decided from."""
    copy = tmp_path / "record"
    copy.mkdir()
    for name in RECORD:
        shutil.copytree(two_nights.path / name, copy / name)
    for file in two_nights.path.glob("ledger*"):
        shutil.copy(file, copy)
    return copy


@pytest.fixture(scope="module")
def clients_loaded_once() -> Iterator[None]:
    """Spare copies of the demo the loading of one and the same clients, in this process alone."""
    real = BookHistory.load
    loaded: dict[tuple[int, int], BookHistory] = {}

    def load(root: Path, panel: PricePanel, bucket: int) -> BookHistory:
        known = bucket, int((panel.close != NULL).sum())  # prices end with the day's cut-off
        if known not in loaded:
            loaded[known] = real(root, panel, bucket)
        return loaded[known]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BookHistory, "load", staticmethod(load))
        yield
