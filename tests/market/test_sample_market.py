"""The bundled sample market, and the script that makes it."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_contracts.importers import write_sample_market
from data_contracts.importers.sample import SAMPLE_FILE, SAMPLE_SHA256, write_sample_file
from data_contracts.lake import lake_info
from data_contracts.units import NULL
from features.panel import load_panel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "market"
    return out, write_sample_market(out)


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "make_sample_market.py"
    spec = importlib.util.spec_from_file_location("make_sample_market", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_panel_has_twenty_stocks_8313_sessions_and_the_index(sample):
    out, report = sample
    panel = load_panel(out)
    assert panel.close.shape == (8313, 20)
    assert (str(panel.sessions[0]), str(panel.sessions[-1])) == ("1990-01-02", "2022-12-28")
    assert bool(np.all(panel.close > 0))
    assert bool(np.all(panel.index_close > 0))
    assert set(panel.board) == {"us"}
    assert bool(np.all(panel.pre_close == NULL))
    assert int(panel.close[0, panel.symbols.index("AAPL")]) == 2640
    assert int(panel.index_close[-1]) == 37_832_200
    assert report.rows == {"bars": 21 * 8313, "instruments": 21, "sessions": 8313}
    assert report.inexact == {"close": 0}


def test_the_folder_warns_of_survivors_and_of_closes_only(sample):
    assert lake_info(sample[0]).flags == ("closes-only", "survivor-only")


def test_writing_it_twice_gives_the_same_bytes(sample, tmp_path):
    out, _ = sample
    write_sample_market(tmp_path / "again")
    write_sample_market(tmp_path / "again")
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert [str(f) for f in files] == [
        "bars/part-0.parquet", "instruments/part-0.parquet", "lake.json", "sessions/part-0.parquet",
    ]  # fmt: skip
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name


def test_the_file_is_the_one_on_record():
    assert hashlib.sha256(SAMPLE_FILE.read_bytes()).hexdigest() == SAMPLE_SHA256
    readme = (SAMPLE_FILE.parent / "README.md").read_text("utf-8")
    assert f"`{SAMPLE_SHA256}`" in readme
    assert SAMPLE_FILE.stat().st_size < 1_200_000


def test_the_script_makes_the_file_again_from_its_source_frames(script, tmp_path):
    held = pq.read_table(SAMPLE_FILE)
    names = held.column_names[1:]
    dates = pd.DatetimeIndex(np.asarray(held["date"]).astype("datetime64[ns]"))
    frame = pd.DataFrame({n: np.asarray(held[n]) / 10_000 for n in names}, index=dates)
    made = script.closes_table(frame[names[:-1]], frame[names[-1:]])
    assert made.equals(held)
    for name in ("one.parquet", "two.parquet"):
        write_sample_file(tmp_path / name, made)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert pq.read_table(tmp_path / "one.parquet").equals(held)


def test_the_script_refuses_a_close_that_it_would_have_to_round(script):
    dates = pd.DatetimeIndex(["2020-01-02"])
    index = pd.DataFrame({"SP500": [3257.85]}, index=dates)
    stocks = pd.DataFrame({"ABC": [1.00005]}, index=dates)
    with pytest.raises(ValueError, match=r"ABC has a close that is missing or no multiple"):
        script.closes_table(stocks, index)
