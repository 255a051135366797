"""The rules between tables as DuckDB statements, over a group of buckets at a time.

Amounts are whole cents from here on, so that equal means equal. Each reconciliation puts what
moved and what was stated into one ordered list an account and takes running sums over it. Accounts
and holdings go by a 64-bit hash of their key there, which sorts in half the time of the text.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.quality.rules import COST_PERCENT, PRICE_TICK
from data_contracts.quality.scan import Scan

BOOK = ("trades", "cash_flows", "contracts", "positions", "balances")


def _put(scan: Scan, rule: str, sql: str) -> None:
    """Findings of a rule from a query of ``_file, _row, value``."""
    scan.db.execute(
        f"INSERT INTO findings SELECT '{rule.split('.')[0]}', '{rule}', _file, _row, value"
        f" FROM ({sql})"
    )


def check_book(scan: Scan, buckets: Sequence[str]) -> None:
    """The rules between an account's tables, for the accounts of some buckets."""
    for name in BOOK:
        if scan.has(name):
            scan.good(name, buckets, versions=name != "contracts")
    opened = "SELECT NULL::UBIGINT AS who, NULL::DATE AS opened LIMIT 0"
    if scan.has("accounts"):
        opened = (
            "SELECT hash(account_id) AS who, min(opened_on) AS opened FROM raw_accounts GROUP BY 1"
        )
    scan.db.execute(f"CREATE OR REPLACE TEMP TABLE opened AS {opened}")
    if scan.has("balances"):
        _check_balances(scan)
    if scan.has("positions"):
        _check_positions(scan)


def _first_day(scan: Scan, name: str, column: str) -> str:
    day = scan.one(f"SELECT CAST(min({column}) AS VARCHAR) FROM raw_{name}")
    return f"DATE '{day or '0001-01-01'}'"


def _check_balances(scan: Scan) -> None:
    """Cash and debt. An account from before the first balance has an opening one, not judged."""
    cash = scan.has("cash_flows", "trades")
    debt = scan.has("contracts")
    parts = [
        "SELECT hash(account_id) AS who, session AS day, true AS stated,"
        " CAST(cash_amt * 100 AS BIGINT) AS cash,"
        " CAST(debt_amt * 100 AS BIGINT) AS debt, 0::BIGINT AS moved, 0::BIGINT AS drawn,"
        " _file, _row FROM good_balances"
    ]
    blank = "false, NULL, NULL"
    if cash:
        amount = "CAST(round(price * quantity_shares, 2) * 100 AS BIGINT)"
        parts.append(
            f"SELECT hash(account_id), {scan.day('executed_at')}, {blank},"
            f" CASE side WHEN 'sell' THEN {amount} ELSE -{amount} END, 0, NULL, NULL"
            " FROM good_trades"
        )
        parts.append(
            f"SELECT hash(account_id), {scan.day('event_at')}, {blank},"
            " CAST(amount_amt * 100 AS BIGINT), 0, NULL, NULL FROM good_cash_flows"
        )
    if debt:
        parts.append(
            f"SELECT hash(account_id), {scan.day('event_at')}, {blank}, 0,"
            " owed - lag(owed, 1, 0) OVER (PARTITION BY contract_id ORDER BY event_at), NULL, NULL"
            " FROM (SELECT contract_id, account_id, event_at,"
            " CAST(outstanding_amt * 100 AS BIGINT) AS owed FROM good_contracts QUALIFY"
            " row_number() OVER (PARTITION BY contract_id, event_at"
            " ORDER BY known_at DESC, _file DESC, _row DESC) = 1)"
        )
    scan.db.execute(
        "CREATE OR REPLACE TEMP TABLE stated AS SELECT * FROM"
        " (SELECT *, sum(moved) OVER w AS moved_sum, sum(drawn) OVER w AS drawn_sum"
        f" FROM ({' UNION ALL '.join(parts)}) WINDOW w AS (PARTITION BY who"
        " ORDER BY day, stated ROWS UNBOUNDED PRECEDING)) WHERE stated"
    )
    if debt:
        _put(
            scan,
            "balances.debt_is_sum_of_contracts",
            "SELECT _file, _row, 'debt_amt=' || CAST(debt / 100 AS DECIMAL(18,2))"
            " || ', contracts ' || CAST(drawn_sum / 100 AS DECIMAL(18,2)) AS value"
            " FROM stated WHERE debt <> drawn_sum",
        )
    if cash:
        first = _first_day(scan, "balances", "session")
        _put(
            scan,
            "balances.cash_reconciles",
            "SELECT _file, _row, 'cash_amt=' || CAST(cash / 100 AS DECIMAL(18,2))"
            " || ', expected ' || CAST((cash - gap) / 100 AS DECIMAL(18,2)) AS value"
            " FROM (SELECT _file, _row, who, cash, cash - lag(cash, 1, 0) OVER w"
            " - (debt - lag(debt, 1, 0) OVER w) - (moved_sum - lag(moved_sum, 1, 0) OVER w) AS gap,"
            " row_number() OVER w AS k FROM stated"
            " WINDOW w AS (PARTITION BY who ORDER BY day))"
            " LEFT JOIN opened USING (who)"
            f" WHERE gap <> 0 AND (k > 1 OR opened >= {first})",
        )


def _check_positions(scan: Scan) -> None:
    """Holdings: no overlap; what changed between two intervals is what was traded."""
    parts = [
        "SELECT hash(account_id) AS who, hash(account_id, symbol) AS what, from_session AS day,"
        " true AS stated, quantity_shares AS held,"
        " to_session, 0::BIGINT AS moved, _file, _row FROM good_positions"
    ]
    if scan.has("trades"):
        parts.append(
            f"SELECT hash(account_id), hash(account_id, symbol), {scan.day('executed_at')},"
            " false, NULL, NULL,"
            " CASE side WHEN 'sell' THEN -quantity_shares ELSE quantity_shares END, _file, _row"
            " FROM good_trades"
        )
    scan.db.execute(
        "CREATE OR REPLACE TEMP TABLE holdings AS SELECT *, sum(moved) OVER a AS bought,"
        " sum(moved) OVER (PARTITION BY what) AS net,"
        " count(held) OVER (PARTITION BY what) AS intervals"
        f" FROM ({' UNION ALL '.join(parts)})"
        " WINDOW a AS (PARTITION BY what ORDER BY day, stated"
        " ROWS UNBOUNDED PRECEDING)"
    )
    scan.db.execute(
        "CREATE OR REPLACE TEMP TABLE intervals AS SELECT *, lag(day) OVER w AS before,"
        " lag(to_session) OVER w AS ended, lag(held, 1, 0) OVER w AS held_before,"
        " lag(bought, 1, 0) OVER w AS bought_before, lead(day) OVER w AS next"
        " FROM holdings WHERE stated WINDOW w AS (PARTITION BY what ORDER BY day)"
    )
    _put(
        scan,
        "positions.no_overlap",
        "SELECT _file, _row, 'from_session=' || day || ', the one before, from ' || before ||"
        " ', ends ' || coalesce(CAST(ended AS VARCHAR), 'never') AS value"
        " FROM intervals WHERE before IS NOT NULL AND (ended IS NULL OR ended >= day)",
    )
    if not scan.has("trades"):
        return
    first = _first_day(scan, "positions", "from_session")
    _put(
        scan,
        "positions.quantity_reconciles",
        "SELECT _file, _row, 'quantity_shares=' || held || ', trades say ' ||"
        " (held_before + bought - bought_before) || CASE WHEN next IS NULL THEN ', ' ||"
        " (net - bought) || ' after it' ELSE '' END AS value"
        " FROM intervals LEFT JOIN opened USING (who)"
        " WHERE (held - held_before <> bought - bought_before"
        f" AND (before IS NOT NULL OR opened >= {first}))"
        " OR (next IS NULL AND net - bought <> CASE WHEN to_session IS NULL THEN 0 ELSE -held END)",
    )
    _put(
        scan,
        "trades.reach_positions",
        "SELECT _file, _row, 'bought less sold ' || net AS value"
        " FROM holdings WHERE intervals = 0 AND net <> 0",
    )


def check_market(scan: Scan) -> None:
    """Sessions that overlap; bars and fills outside their limits; fills while suspended."""
    if scan.has("sessions"):
        scan.good("sessions")
        _put(
            scan,
            "sessions.no_overlap",
            "SELECT _file, _row, 'open_at=' || open_at || ', the day before closes at ' || closed"
            " AS value FROM (SELECT *, lag(close_at) OVER (PARTITION BY mic ORDER BY session)"
            " AS closed FROM good_sessions) WHERE closed > open_at",
        )
    if not scan.has("bars"):
        return
    scan.good("bars")
    limits = "NULL::DECIMAL(18,6)"
    source = "good_bars"
    if scan.has("instruments"):
        scan.good("instruments")
        limits = "price_limit_ratio"
        source = (
            "(SELECT b.*, i.price_limit_ratio FROM good_bars b ASOF LEFT JOIN good_instruments i"
            " ON b.symbol = i.symbol AND b.mic = i.mic AND b.session >= i.session)"
        )
    scan.db.execute(
        "CREATE OR REPLACE TEMP TABLE quotes AS SELECT symbol, session, suspended, open, high,"
        " low, close, pre_close, _file, _row,"
        f" CAST(round(pre_close * (1 - {limits}), 2) * 100 AS BIGINT) - {PRICE_TICK} AS floor,"
        f" CAST(round(pre_close * (1 + {limits}), 2) * 100 AS BIGINT) + {PRICE_TICK} AS ceiling"
        f" FROM {source}"
    )
    if scan.has("instruments"):
        out = " OR ".join(
            f"{p} * 100 < floor OR {p} * 100 > ceiling" for p in ("open", "high", "low", "close")
        )
        shown = " || ', ' || ".join(
            f"'{p}=' || coalesce(CAST({p} AS VARCHAR), 'null')"
            for p in ("open", "high", "low", "close", "pre_close")
        )
        _put(
            scan,
            "bars.prices_inside_limits",
            f"SELECT _file, _row, {shown} AS value FROM quotes WHERE NOT suspended AND ({out})",
        )
    if scan.has("trades"):
        _check_fills(scan)


def _check_fills(scan: Scan) -> None:
    """A fill has no exchange: of one symbol on several exchanges the widest limits hold."""
    day = scan.day("executed_at")
    first, last = scan.day("min(executed_at)"), scan.day("max(executed_at)")
    scan.db.execute(
        "CREATE OR REPLACE TEMP TABLE days AS SELECT symbol, session,"
        " bool_and(suspended) AS suspended,"
        " CASE WHEN count(floor) = count(*) THEN min(floor) END AS floor,"
        " CASE WHEN count(ceiling) = count(*) THEN max(ceiling) END AS ceiling FROM quotes"
        f" WHERE session BETWEEN (SELECT {first} FROM raw_trades)"
        f" AND (SELECT {last} FROM raw_trades) GROUP BY symbol, session"
        " HAVING bool_and(suspended) OR count(floor) = count(*)"
    )
    if not scan.one("SELECT count(*) FROM days"):
        return
    allowed = (
        f"(t.price * 10000 < d.floor * {100 - COST_PERCENT}"
        f" OR t.price * 10000 > d.ceiling * {100 + COST_PERCENT})"
    )
    scan.db.execute(
        "CREATE OR REPLACE TEMP TABLE fills AS SELECT t._file, t._row, t.symbol, t.price,"
        " d.session, d.suspended, d.floor, d.ceiling"
        f" FROM raw_trades t JOIN days d ON t.symbol = d.symbol AND {day} = d.session"
        f" WHERE t.price > 0 AND (d.suspended OR {allowed})"
    )
    _put(
        scan,
        "trades.not_suspended",
        "SELECT _file, _row, 'symbol=' || symbol || ', ' || session AS value"
        " FROM fills WHERE suspended",
    )
    if scan.has("instruments"):
        _put(
            scan,
            "trades.price_inside_limits",
            "SELECT _file, _row, 'price=' || price || ', limits ' ||"
            " CAST(floor / 100 AS DECIMAL(18,2)) || ' to ' || CAST(ceiling / 100 AS DECIMAL(18,2))"
            " || ' to the tick' AS value FROM fills"
            " WHERE NOT suspended",
        )
