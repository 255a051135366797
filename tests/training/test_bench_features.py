"""``bench features``: what is timed gives the same numbers on both sides."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import InputError
from training.bench.features.made_lake import SESSIONS, make_lake, numbered, weekdays
from training.bench.features.measure import RIVALS, bench_features
from training.bench.features.work import run


def test_ours_nightly_and_pandas_find_the_same_sums_and_memory_is_stated(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    made = make_lake(lake, 30_000, 200, seed=3)
    assert made.trades >= 29_000
    full = run("full", lake, 2)
    run("state", lake, 1)
    night = run("nightly", lake, 2)
    assert night["digest"] == full["digest"]
    assert night["new_rows"] > 0 < full["peak_rss_mb"]
    assert run("floor", lake, 1)["seconds"] > 0
    spec = importlib.util.spec_from_file_location("features_pandas", RIVALS)
    assert spec is not None
    assert spec.loader is not None
    rival = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rival)
    theirs = rival.with_pandas(lake, str(weekdays(SESSIONS)[-1]))
    assert len(theirs) <= full["clients"] == 200
    names = ("trades_250", "bought_250", "matched_250")
    assert [int(theirs[n].sum()) for n in names] == full["digest"]


def test_equal_arguments_make_equal_lakes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_lake(tmp_path / name, 20_000, 100, seed=1)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.parquet"))
    assert files
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )


def test_names_are_numbered_with_leading_zeros() -> None:
    assert numbered("T", np.array([7, 120]), 4).to_pylist() == ["T0007", "T0120"]


def test_a_lake_too_small_to_time_is_refused() -> None:
    with pytest.raises(InputError, match="at least 10000 trades and 4 clients"):
        bench_features(500, None, None, 1, 1, lambda *_: None)
