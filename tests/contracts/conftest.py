"""Rows that keep every rule of a table, made from its declaration, and small lakes of them."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.columns import Column, Table
from data_contracts.lake import LakeInfo, create_lake
from data_contracts.tables import TABLES

Row = dict[str, Any]
DAY = dt.timedelta(days=1)


def _value(column: Column, k: int) -> Any:
    number = column.high if column.high is not None else (column.low or 0) + 1
    match column.kind:
        case "id" | "text":
            return column.choices[k % len(column.choices)] if column.choices else f"{k:04d}"
        case "money" | "price" | "ratio":
            return Decimal(number)
        case "shares" | "bps" | "int":
            return number
        case "date":
            return dt.date(2020, 1, 2) + k * DAY
        case "timestamp":
            return dt.datetime(2020, 1, 2, 9, tzinfo=dt.UTC) + k * DAY
        case "flag":
            return k % 2 == 0
        case "bytes":
            return bytes([k % 256])


def _row(spec: Table, k: int) -> Row:
    row = {column.name: _value(column, k) for column in spec.columns}
    for rule in spec.comparisons:
        if rule.sign == ">" and isinstance(rule.right, str):
            row[rule.left] = row[rule.right] + DAY
    return row


@pytest.fixture(scope="session")
def good_rows() -> Callable[[Table, int], list[Row]]:
    """``good_rows(spec, count)``: rows of different keys that keep every rule."""
    return lambda spec, count: [_row(spec, k) for k in range(count)]


@pytest.fixture(scope="session")
def as_table() -> Callable[[Table, list[Row]], pa.Table]:
    """``as_table(spec, rows)``: a table of the declared types in which anything may be null."""

    def build(spec: Table, rows: list[Row]) -> pa.Table:
        schema = pa.schema([pa.field(c.name, c.arrow_type) for c in spec.columns])
        return pa.Table.from_pylist(rows, schema=schema)

    return build


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """An empty lake of two buckets."""
    root = tmp_path / "lake"
    create_lake(root, LakeInfo("USD", "XNYS", 2, "test"))
    return root


@pytest.fixture
def plant() -> Callable[[Path, Table, pa.Table], Path]:
    """``plant(lake, spec, table)``: write a file past all checks, as another program would."""

    def write(root: Path, spec: Table, table: pa.Table) -> Path:
        folder = root / spec.name / "bucket=000" if spec.bucketed else root / spec.name
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / "part-0.parquet")
        return folder / "part-0.parquet"

    return write


ROWS = 200
CONSISTENT: dict[str, Row] = {
    "trades": {"side": "buy"},
    "positions": {"to_session": None, "quantity_shares": 2},
    "balances": {"cash_amt": Decimal(0)},
    "bars": {"suspended": False},
    "sessions": {"mic": "XNYS"},
}
"""What makes the rows of all tables agree: account k pays in 1, borrows 1 and buys 2 for 1 each."""


@pytest.fixture(scope="session")
def consistent_rows(good_rows) -> Callable[[], dict[str, list[Row]]]:
    """``consistent_rows()``: 200 rows of every table that together keep every rule."""

    def build() -> dict[str, list[Row]]:
        return {
            name: [row | CONSISTENT.get(name, {}) for row in good_rows(spec, ROWS)]
            for name, spec in TABLES.items()
        }

    return build


@pytest.fixture
def write_rows(lake: Path, plant, as_table) -> Callable[[dict[str, list[Row]]], Path]:
    """``write_rows(tables)``: the empty lake with these rows, past all checks."""

    def write(tables: dict[str, list[Row]]) -> Path:
        for name, rows in tables.items():
            plant(lake, TABLES[name], as_table(TABLES[name], rows))
        return lake

    return write
