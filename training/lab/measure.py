"""What a simulated book came to, measured by DuckDB from its contract tables alone.

Nothing of the simulator is used: the queries read the tables as any user would. Money is summed as
integers, so that no figure depends on the number of threads.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

CALL_LINE: Final = {"CNY": "1.30", "USD": "1.428572"}
STEP: Final = 5
"""Every fifth session of a long window is looked at where a figure is a mean over sessions."""

_MARKET_TABLES: Final = ("bars", "instruments")
_CLIENT_TABLES: Final = ("balances", "positions", "trades", "margin_events")
LONGEST_DAILY: Final = 90
"""Windows of up to so many days are looked at session by session."""

# What every account with debt held at some sessions, and the value of it: fen, exact.
_BOOK = """
CREATE TEMP TABLE looked AS
  SELECT session FROM (SELECT session, row_number() OVER (ORDER BY session) AS k FROM lent
    WHERE session BETWEEN $low AND $high) WHERE k % $step = 1 OR $step = 1;
CREATE TEMP TABLE price AS
  SELECT symbol, session, close,
    coalesce(lead(session) OVER (PARTITION BY symbol ORDER BY session), DATE '9999-12-31') AS until
  FROM bars WHERE close IS NOT NULL;
CREATE TEMP TABLE held AS
  SELECT account_id, symbol, from_session, coalesce(to_session, DATE '9999-12-31') AS to_session,
    quantity_shares, cost_amt
  FROM (SELECT *, row_number() OVER (PARTITION BY account_id, symbol, from_session
    ORDER BY known_at DESC) AS version FROM positions) WHERE version = 1;
CREATE TEMP TABLE holding AS
  SELECT h.account_id, l.session, h.symbol, h.quantity_shares, h.cost_amt,
    CAST(floor(p.close * h.quantity_shares * 100) AS BIGINT) AS value_fen
  FROM held h JOIN looked l ON l.session BETWEEN h.from_session AND h.to_session
  JOIN price p ON p.symbol = h.symbol AND l.session >= p.session AND l.session < p.until;
CREATE TEMP TABLE book AS
  SELECT b.account_id, b.client_id, b.session,
    CAST(b.cash_amt * 100 AS BIGINT) + coalesce(v.value_fen, 0) AS assets_fen,
    CAST((b.debt_amt + b.accrued_amt) * 100 AS BIGINT) AS debt_fen
  FROM balances b JOIN looked l USING (session)
  LEFT JOIN (SELECT account_id, session, CAST(sum(value_fen) AS BIGINT) AS value_fen
    FROM holding GROUP BY ALL) v USING (account_id, session);
"""


def connect(
    lake: Path, threads: int | None = None, buckets: int | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB over the tables of a lake, or over its first ``buckets`` buckets of clients."""
    which = ["*"] if buckets is None else [f"{k:03d}" for k in range(buckets)]
    folders = {n: [lake / n / f"bucket={k}" for k in which] for n in _CLIENT_TABLES}
    return _over(lake, folders, {}, threads)


def connect_book(
    tables: Mapping[str, pa.Table], market: Path, threads: int | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB over a book in memory and the market folder that it lived on."""
    return _over(market, {}, tables, threads)


def _over(
    market: Path,
    folders: Mapping[str, list[Path]],
    tables: Mapping[str, pa.Table],
    threads: int | None,
) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    if threads:
        connection.execute(f"SET threads = {int(threads)}")
    for name, where in {**{n: [market / n] for n in _MARKET_TABLES}, **folders}.items():
        files = ", ".join("'" + str(f / "*.parquet").replace("'", "''") + "'" for f in where)
        connection.execute(
            f"CREATE VIEW {name} AS SELECT * FROM"
            f" read_parquet([{files}], hive_partitioning = false)"
        )
    for name in _CLIENT_TABLES:
        if name in tables:
            connection.register(name, tables[name])
    connection.execute(
        "CREATE TEMP TABLE lent AS SELECT session, sum(debt_amt) AS drawn_amt FROM balances"
        " GROUP BY session"
    )
    return connection


def account_book(
    connection: duckdb.DuckDBPyConnection, low: dt.date, high: dt.date, step: int = STEP
) -> None:
    """Build the table ``book``: assets and debt in fen of each account at some sessions.

    With step 1 this is the independent reconstruction of every maintenance ratio.
    """
    for name in ("looked", "price", "held", "holding", "book"):
        connection.execute(f"DROP TABLE IF EXISTS {name}")
    for statement in _BOOK.split(";"):
        if statement.strip():
            wanted = {"low": low, "high": high, "step": step}
            given = {k: v for k, v in wanted.items() if f"${k}" in statement}
            connection.execute(statement, given)


_FIGURES: Final = {
    "system_maintenance_ratio": """
        SELECT avg(r) FROM (SELECT sum(assets_fen) / sum(debt_fen) AS r FROM book
          WHERE debt_fen > 0 GROUP BY session)""",
    "median_maintenance_ratio": "SELECT median(assets_fen / debt_fen) FROM book WHERE debt_fen > 0",
    "share_below_call_line": """
        SELECT avg(CAST(assets_fen < $line * debt_fen AS INT)) FROM book WHERE debt_fen > 0""",
    "most_below_call_line": """
        SELECT max(share) FROM (SELECT avg(CAST(assets_fen < $line * debt_fen AS INT)) AS share
          FROM book WHERE debt_fen > 0 GROUP BY session)""",
    "share_of_accounts_with_debt": "SELECT avg(CAST(debt_fen > 0 AS INT)) FROM book",
    "mean_debt_cny": "SELECT avg(debt_fen) / 100 FROM book WHERE debt_fen > 0",
    "log_sd_debt": "SELECT stddev_pop(ln(debt_fen)) FROM book WHERE debt_fen > 100",
    "turnover_per_year": """
        SELECT (SELECT sum(CAST(price * quantity_shares AS DOUBLE)) FROM trades
            WHERE CAST(executed_at AS DATE) BETWEEN $low AND $high) / 2
          / ((SELECT sum(assets_fen) / 100 FROM book) / (SELECT count(*) FROM looked))
          * 244 / (SELECT count(DISTINCT session) FROM lent
            WHERE session BETWEEN $low AND $high)""",
    "calls_per_debtor_year": """
        SELECT count(*) / (SELECT count(*) FROM balances WHERE debt_amt > 0
          AND session BETWEEN $low AND $high) * 244 FROM margin_events
          WHERE kind = 'call' AND CAST(event_at AS DATE) BETWEEN $low AND $high""",
    "forced_per_debtor_year": """
        SELECT count(DISTINCT (account_id, date_trunc('month', event_at)))
          / (SELECT count(*) FROM balances WHERE debt_amt > 0 AND session BETWEEN $low AND $high)
          * 244 FROM margin_events
          WHERE kind = 'forced_sale' AND CAST(event_at AS DATE) BETWEEN $low AND $high""",
    "cured_within_deadline": """
        SELECT count(*) FILTER (kind = 'cure') / nullif(count(*) FILTER (kind = 'call'), 0)
          FROM margin_events WHERE CAST(event_at AS DATE) BETWEEN $low AND $high""",
    "shortfalls_per_default": """
        SELECT count(*) FILTER (kind = 'shortfall') / nullif(count(*) FILTER (kind = 'default'), 0)
          FROM margin_events WHERE CAST(event_at AS DATE) BETWEEN $low AND $high""",
    # Odean (1998): only accounts and days on which something was sold; what was held the session
    # before is a gain or a loss at that day's close, sold in part or not at all.
    "gains_realised_over_losses_realised": """
        WITH sold AS (SELECT DISTINCT account_id, symbol, CAST(executed_at AS DATE) AS session
            FROM trades WHERE side = 'sell' AND CAST(executed_at AS DATE) BETWEEN $low AND $high),
          before AS (SELECT session, lag(session) OVER (ORDER BY session) AS eve FROM lent),
          day AS (SELECT DISTINCT s.account_id, s.session, b.eve FROM sold s JOIN before b
            USING (session)),
          seen AS (SELECT d.account_id, h.symbol, d.session,
              p.close * h.quantity_shares > h.cost_amt AS gain
            FROM day d JOIN held h ON h.account_id = d.account_id
              AND d.eve BETWEEN h.from_session AND h.to_session
            JOIN price p ON p.symbol = h.symbol AND d.session >= p.session AND d.session < p.until),
          marked AS (SELECT gain, s.symbol IS NOT NULL AS gone FROM seen LEFT JOIN sold s
            USING (account_id, symbol, session))
        SELECT avg(CAST(gone AS INT)) FILTER (gain)
          / nullif(avg(CAST(gone AS INT)) FILTER (NOT gain), 0) FROM marked""",
    # The fifth of names that swing most: their share of the book over their share of the float, or
    # over their number where floats are unknown.
    "swing_share_over_market": """
        WITH move AS (SELECT symbol, session, ln(CAST(close AS DOUBLE)
            / coalesce(CAST(pre_close AS DOUBLE), lag(CAST(close AS DOUBLE))
              OVER (PARTITION BY symbol ORDER BY session))) AS r FROM bars WHERE close > 0),
          swing AS (SELECT symbol, ntile(5) OVER (ORDER BY stddev_pop(r), symbol) AS fifth FROM move
            WHERE session BETWEEN $low AND $high GROUP BY symbol HAVING count(*) > 20),
          float AS (SELECT symbol, arg_max(float_shares, session) AS shares FROM instruments
            WHERE session <= $high GROUP BY symbol),
          last AS (SELECT symbol, arg_max(close, session) AS close FROM bars
            WHERE session <= $high GROUP BY symbol),
          size AS (SELECT fifth, coalesce(CAST(close AS DOUBLE) * shares, (SELECT CAST(
              count(shares) = 0 AS INT) FROM float)) AS value
            FROM swing JOIN last USING (symbol) LEFT JOIN float USING (symbol))
        SELECT sum(CAST(value_fen AS DOUBLE)) FILTER (fifth = 5) / sum(CAST(value_fen AS DOUBLE))
          / (SELECT sum(value) FILTER (fifth = 5) / sum(value) FROM size)
          FROM holding JOIN swing USING (symbol)""",
    "debt_growth": """
        SELECT arg_max(drawn_amt, session) / nullif(CAST(arg_min(drawn_amt, session) AS DOUBLE), 0)
          FROM lent WHERE session BETWEEN $low + 30 AND $high""",
    "debt_growth_to_peak": """
        SELECT max(drawn_amt) / nullif(CAST(arg_min(drawn_amt, session) AS DOUBLE), 0)
          FROM lent WHERE session BETWEEN $low + 30 AND $high""",
    "sessions_of_peak_after_2015_06_18": """
        WITH s AS (SELECT session, row_number() OVER (ORDER BY session) AS k, drawn_amt
          FROM lent)
        SELECT (SELECT arg_max(k, drawn_amt) FROM s) - max(k) FROM s
          WHERE session <= DATE '2015-06-18'""",
    "debt_change_peak_to_end": """
        SELECT arg_max(drawn_amt, session) / CAST(max(drawn_amt) AS DOUBLE) - 1 FROM lent
          WHERE session BETWEEN $low AND $high""",
    "debt_change_to_2015_06_30": """
        SELECT arg_max(drawn_amt, session) / CAST(arg_min(drawn_amt, session) AS DOUBLE) - 1
          FROM lent WHERE session BETWEEN $low AND DATE '2015-06-30'""",
    "forced_value_over_debt_2015_06_26_to_29": """
        SELECT coalesce(sum(amount_amt), 0) / (SELECT CAST(max(drawn_amt) AS DOUBLE) FROM lent
            WHERE session BETWEEN DATE '2015-06-26' AND DATE '2015-06-29')
          FROM margin_events WHERE kind = 'forced_sale'
          AND CAST(event_at AS DATE) BETWEEN DATE '2015-06-26' AND DATE '2015-06-29'""",
}  # fmt: skip


def figures(
    connection: duckdb.DuckDBPyConnection,
    names: list[str],
    low: dt.date,
    high: dt.date,
    currency: str,
) -> dict[str, float | None]:
    """Some figures of a book over a window; None where the book has no such events."""
    daily = (high - low).days <= LONGEST_DAILY
    account_book(connection, low, high, 1 if daily else STEP)
    found: dict[str, float | None] = {}
    wanted = {"low": low, "high": high}
    for name in names:
        query = _FIGURES[name].replace("$line", CALL_LINE[currency])
        given = {k: v for k, v in wanted.items() if f"${k}" in query}
        row = connection.execute(query, given).fetchone()
        value = None if row is None else row[0]
        found[name] = None if value is None else float(value)
    return found
