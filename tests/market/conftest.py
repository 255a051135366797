"""Tiny price files, made here row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Row = dict[str, Any]


def _write(path: Path, rows: Sequence[Row], narrow: Sequence[str]) -> Path:
    columns: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name == "date":
            columns[name] = pa.array(np.array(values, dtype="datetime64[ms]"))
        else:
            columns[name] = pa.array(values, type=pa.float32() if name in narrow else None)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def ashare_row() -> Callable[..., Row]:
    def make(symbol: str, date: str, close: float, pre_close: float | None = None, **other: Any):
        row: Row = {
            "symbol": symbol, "date": date, "open": close, "high": close, "low": close,
            "close": close, "pre_close": close if pre_close is None else pre_close,
            "volume": 1000.0, "amount": 9050.5, "float_shares": 1e8, "limit_pct": 0.1,
            "is_st": False,
        }  # fmt: skip
        return row | other

    return make


@pytest.fixture
def ashare_file(tmp_path: Path) -> Callable[..., Path]:
    def make(rows: Sequence[Row], name: str = "ashare.parquet") -> Path:
        return _write(tmp_path / name, rows, ("volume", "amount", "limit_pct", "adj_factor"))

    return make


@pytest.fixture
def us_file(tmp_path: Path) -> Callable[..., Path]:
    """Rows are symbol, date, close, adj_ratio; every number is a float32."""

    def make(rows: Sequence[tuple[str, str, float, float]], name: str = "us.parquet") -> Path:
        made = [
            {"symbol": s, "date": d, "open": c, "high": c, "low": c, "close": c,
             "adj_ratio": a, "volume": 500.0}
            for s, d, c, a in rows
        ]  # fmt: skip
        return _write(
            tmp_path / name, made, ("open", "high", "low", "close", "adj_ratio", "volume")
        )

    return make


@pytest.fixture
def shibor_file(tmp_path: Path) -> Callable[..., Path]:
    def make(by_date: dict[str, list[float | None]], name: str = "shibor.parquet") -> Path:
        tenors = ("1d", "1w", "2w", "1m", "3m", "6m", "9m", "1y")
        rows = [
            {"date": d} | {f"shibor_{t}": r for t, r in zip(tenors, rates, strict=True)}
            for d, rates in by_date.items()
        ]
        return _write(tmp_path / name, rows, ())

    return make
