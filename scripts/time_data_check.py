"""Times ``gearline data check`` on a generated lake that keeps every rule, then deletes the lake.

    python scripts/time_data_check.py --rows 50000000 --scratch DIR

Each account buys on seven days of ten, draws one loan and pays in every tenth day; balances,
positions and contracts follow from that to the cent. Prints the document of ``data check --json``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import duckdb

from data_contracts.ddl import sql_type
from data_contracts.lake import LakeInfo, create_lake
from data_contracts.tables import TABLES

DAYS: Final = 100
SYMBOLS: Final = 50
BUCKETS: Final = 64
ROWS_PER_ACCOUNT: Final = DAYS + 2 * 70 + 10 + 3

_DAY = "DATE '2024-01-01' + CAST(d AS INTEGER)"
_CLOSE = f"(CAST({_DAY} AS TIMESTAMP) + INTERVAL 7 HOUR) AT TIME ZONE 'UTC'"
_KNOWN = f"(CAST({_DAY} AS TIMESTAMP) + INTERVAL 8 HOUR) AT TIME ZONE 'UTC'"
_PRICE = "(9 + (d % 5) / 100.0)"
_WHO = "'A' || who AS account_id, 'C' || who AS client_id"
_SYMBOL = f"lpad(CAST((n + d) % {SYMBOLS} AS VARCHAR), 6, '0')"
_BUYS = "accounts, days WHERE (n + d) % 10 < 7"


def _queries() -> dict[str, str]:
    """SQL of each table; ``accounts`` has n and who, ``days`` has d."""
    stamps = f"{_CLOSE} AS event_at, {_KNOWN} AS known_at"
    spent = f"CASE WHEN (n + d) % 10 < 7 THEN CAST({_PRICE} * 10000 AS BIGINT) ELSE 0 END"
    paid = "CASE WHEN d % 10 = 0 THEN 1000000 ELSE 0 END"
    drawn = "CASE WHEN d >= 5 THEN 500000 ELSE 0 END"
    cents = f"sum({paid} - {spent}) OVER (PARTITION BY n ORDER BY d)"
    return {
        "accounts": f"SELECT {_WHO}, 'XSHG' AS market, 'financing' AS product, 'CNY' AS currency,"
        f" {_DAY} AS opened_on, NULL::DATE AS closed_on, {stamps} FROM accounts, days WHERE d = 0",
        "clients": "SELECT 'C' || who AS client_id, false AS pep, false AS sanctioned,"
        f" 'low' AS aml_level, false AS automated_decision_refused, {stamps}"
        " FROM accounts, days WHERE d = 0",
        "trades": f"SELECT 'T' || who || '-' || d AS trade_id, {_WHO}, {_SYMBOL} AS symbol,"
        f" 'buy' AS side, 100::BIGINT AS quantity_shares, {_PRICE} AS price, false AS financed,"
        f" {_CLOSE} AS executed_at, {stamps} FROM {_BUYS}",
        "cash_flows": f"SELECT {_WHO}, 'deposit' AS kind, 10000 AS amount_amt, {stamps}"
        " FROM accounts, days WHERE d % 10 = 0",
        "contracts": f"SELECT 'L' || who AS contract_id, {_WHO}, NULL AS symbol,"
        f" 'margin_loan' AS kind, {_DAY} AS opened_on, NULL::DATE AS due_on, 0 AS rollovers,"
        " NULL AS quantity_shares, 5000 AS principal_amt, 5000 AS outstanding_amt,"
        " 0 AS accrued_amt, 1 AS ratio_at_opening, 600 AS rate_bps, 'cn' AS rule_pack,"
        f" {stamps} FROM accounts, days WHERE d = 5",
        "balances": f"SELECT {_WHO}, {_DAY} AS session, ({cents} + {drawn}) / 100.0 AS cash_amt,"
        f" {drawn} / 100.0 AS debt_amt, 0 AS accrued_amt, {stamps} FROM accounts, days",
        "positions": f"SELECT {_WHO}, {_SYMBOL} AS symbol, {_DAY} AS from_session,"
        f" lead({_DAY}) OVER w - 1 AS to_session,"
        " 100 * row_number() OVER w AS quantity_shares, 900 * row_number() OVER w AS cost_amt,"
        f" {stamps} FROM {_BUYS} WINDOW w AS (PARTITION BY n, (n + d) % {SYMBOLS} ORDER BY d)",
        "bars": f"SELECT {_SYMBOL} AS symbol, 'XSHG' AS mic, {_DAY} AS session, 9 AS open,"
        " 9.05 AS high, 8.95 AS low, 9 AS close, 9 AS pre_close, 1000 AS volume_shares,"
        f" 9000 AS turnover_amt, false AS suspended, {stamps} FROM names, days",
        "instruments": f"SELECT {_SYMBOL} AS symbol, 'XSHG' AS mic, {_DAY} AS session,"
        " 'main' AS board, 'CNY' AS currency, 0.1 AS price_limit_ratio, true AS margin_eligible,"
        f" true AS collateral_eligible, false AS is_special_treatment, {stamps}"
        " FROM names, days WHERE d = 0",
        "sessions": f"SELECT 'XSHG' AS mic, {_DAY} AS session, {_CLOSE} - INTERVAL 6 HOUR"
        f" AS open_at, {_CLOSE} AS close_at, {stamps} FROM days",
    }


def make_lake(root: Path, rows: int) -> None:
    """Write a lake of about so many rows."""
    create_lake(root, LakeInfo("CNY", "XSHG", BUCKETS, "generated to time a check"))
    accounts = max(rows // ROWS_PER_ACCOUNT, BUCKETS)
    per_bucket = -(-accounts // BUCKETS)
    with duckdb.connect(config={"memory_limit": "4GB", "preserve_insertion_order": False}) as db:
        db.execute(f"CREATE TABLE days AS SELECT range AS d FROM range({DAYS})")
        db.execute(f"CREATE TABLE names AS SELECT range AS n FROM range({SYMBOLS})")
        queries = _queries()
        for name, sql in queries.items():
            if not TABLES[name].bucketed:
                _write(db, name, sql, root / name)
        for bucket in range(BUCKETS):
            low, high = bucket * per_bucket, min((bucket + 1) * per_bucket, accounts)
            db.execute(
                "CREATE OR REPLACE TABLE accounts AS SELECT range AS n,"
                f" substr(sha256(CAST(range AS VARCHAR)), 1, 12) AS who FROM range({low}, {high})"
            )
            for name, sql in queries.items():
                if TABLES[name].bucketed:
                    _write(db, name, sql, root / name / f"bucket={bucket:03d}")


def _write(db: duckdb.DuckDBPyConnection, name: str, sql: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    db.execute(f"CREATE OR REPLACE TEMP VIEW made AS {sql}")
    have = {row[0] for row in db.execute("DESCRIBE made").fetchall()}
    columns = ", ".join(
        f"CAST({c.name if c.name in have else 'NULL'} AS {sql_type(c)}) AS {c.name}"
        for c in TABLES[name].columns
    )
    path = str(folder / "part-0.parquet").replace("'", "''")
    db.execute(f"COPY (SELECT {columns} FROM made) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


def main() -> int:
    """Make the lake, check it in a process of its own, delete it."""
    parser = argparse.ArgumentParser(description="Time `gearline data check` on a large lake.")
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--scratch", type=Path, help="folder for the lake (default: a temporary)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gearline-time-", dir=arguments.scratch))
    try:
        make_lake(folder / "lake", arguments.rows)
        command = [
            sys.executable,
            "-m",
            "gearline",
            "data",
            "check",
            str(folder / "lake"),
            "--json",
        ]
        return subprocess.run(command, check=False).returncode
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
