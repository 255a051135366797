"""The same features in DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lake_tables import PATH, WINDOWS


def with_duckdb(lake: Path, session: str, cut: Any, close: Any, returns: Any) -> Any:
    """The same in SQL; DuckDB reads the files itself and takes all cores."""
    import duckdb
    import pandas as pd

    con = duckdb.connect()
    moment = str(cut.astype("datetime64[s]")).replace("T", " ")
    known = f"greatest(event_at, known_at) <= TIMESTAMPTZ '{moment}+00'"

    def view(name: str, key: str) -> None:
        files = f"read_parquet('{lake}/{name}/**/*.parquet', hive_partitioning = false)"
        newest = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY known_at DESC) = 1"
        # the owner of an account is joined on later
        chosen = "*" if name in ("accounts", "clients", "bars") else "* EXCLUDE (client_id)"
        con.execute(
            f"CREATE TEMP VIEW {name} AS SELECT {chosen} FROM {files} WHERE {known} {newest}"
        )

    for name, key in (
        ("accounts", "account_id"), ("balances", "account_id, session"),
        ("positions", "account_id, symbol, from_session"), ("trades", "trade_id"),
        ("contracts", "contract_id"), ("clients", "client_id"), ("bars", "symbol, session"),
        ("cash_flows", "account_id, kind, event_at"),
        ("margin_events", "account_id, kind, event_at"),
    ):  # fmt: skip
        view(name, key)
    con.execute(
        "CREATE TEMP TABLE days AS SELECT session, row_number() OVER (ORDER BY session)"
        f" AS n FROM (SELECT DISTINCT session FROM bars WHERE session <= '{session}')"
    )
    last = con.execute("SELECT max(n) FROM days").fetchone()[0]
    con.execute(
        "CREATE TEMP TABLE owner AS SELECT account_id, client_id FROM accounts"
        f" WHERE opened_on <= '{session}' AND coalesce(closed_on > '{session}', true)"
    )
    con.execute(
        f"""CREATE TEMP TABLE path AS
        WITH prices AS (SELECT symbol, n, close::DOUBLE AS close FROM bars JOIN days USING (session)
                        WHERE n > {last} - {PATH}),
        worth AS (SELECT client_id, p.n, sum(quantity_shares * close) AS worth
            FROM positions h JOIN owner USING (account_id) JOIN prices p ON p.symbol = h.symbol
            JOIN days f ON f.session = h.from_session
            LEFT JOIN days t ON t.session = h.to_session
            WHERE p.n BETWEEN f.n AND coalesce(t.n, {last}) GROUP BY ALL),
        money AS (SELECT client_id, n, sum(cash_amt)::DOUBLE AS cash, sum(debt_amt)::DOUBLE AS debt,
            sum(debt_amt + accrued_amt)::DOUBLE AS owed
            FROM balances JOIN owner USING (account_id) JOIN days USING (session)
            WHERE n > {last} - {PATH} GROUP BY ALL)
        SELECT client_id, n, cash, owed, cash + coalesce(worth, 0) AS assets,
            cash + coalesce(worth, 0) - owed AS nav,
            nav / nullif(lag(nav) OVER (PARTITION BY client_id ORDER BY n), 0) - 1 AS change
        FROM money LEFT JOIN worth USING (client_id, n)"""
    )
    con.execute(
        """CREATE TEMP TABLE grown AS SELECT *, max(level) OVER (PARTITION BY client_id ORDER BY n
            ROWS BETWEEN 250 PRECEDING AND CURRENT ROW) AS top250,
            max(level) OVER (PARTITION BY client_id ORDER BY n
            ROWS BETWEEN 60 PRECEDING AND CURRENT ROW) AS top60
        FROM (SELECT *, exp(sum(ln(greatest(1 + least(greatest(coalesce(change, 0), -0.99), 1),
            0.01))) OVER (PARTITION BY client_id ORDER BY n)) AS level FROM path)"""
    )
    frame = con.execute(
        f"""WITH p AS (SELECT client_id,
            max(1 - level / top250) AS max_drawdown_250,
            max(1 - level / top60) FILTER (n > {last} - 60) AS max_drawdown_60,
            arg_max(level, n) / arg_min(level, n) - 1 AS nav_return_250,
            arg_max(level, n) / arg_min(level, n) FILTER (n > {last} - 60) - 1 AS nav_return_60,
            stddev_pop(change) AS equity_volatility_250,
            stddev_pop(change) FILTER (n > {last} - 60) AS equity_volatility_60,
            arg_max(assets, n) AS assets, arg_max(owed, n) AS owed, arg_max(nav, n) AS equity,
            arg_max(cash, n) AS cash, min(assets / nullif(owed, 0)) FILTER (n > {last} - 60)
            AS least_maintenance_60,
            arg_max(owed, n) - arg_max(owed, n) FILTER (n <= {last} - 20) AS debt_change_20,
            arg_max(owed, n) - arg_max(owed, n) FILTER (n <= {last} - 60) AS debt_change_60
            FROM grown GROUP BY client_id),
        f AS (SELECT o.client_id, {last} - d.n + 1 AS ago, side,
            quantity_shares * price::DOUBLE AS amount, financed FROM trades
            JOIN owner o USING (account_id)
            ASOF JOIN days d ON trades.event_at::DATE >= d.session),
        t AS (SELECT client_id, min(ago) AS since_trade, {
            ", ".join(
                f"count(*) FILTER (ago <= {w}) AS trades_{w},"
                f" sum(amount) FILTER (ago <= {w}) AS traded_{w},"
                f" sum(CASE side WHEN 'buy' THEN amount ELSE -amount END)"
                f" FILTER (ago <= {w}) AS net_{w},"
                f" sum(amount) FILTER (ago <= {w} AND financed) AS financed_{w}"
                for w in WINDOWS
            )
        } FROM f GROUP BY client_id),
        c AS (SELECT o.client_id, sum(amount_amt::DOUBLE) FILTER (kind = 'deposit') AS deposit,
            sum(amount_amt::DOUBLE) FILTER (kind = 'withdrawal') AS withdrawal
            FROM cash_flows JOIN owner o USING (account_id) GROUP BY 1),
        e AS (SELECT o.client_id, count(*) FILTER (kind = 'call') AS calls FROM margin_events
            JOIN owner o USING (account_id) GROUP BY 1),
        l AS (SELECT o.client_id, count(*) AS loans, avg(rate_bps) AS loan_rate FROM contracts
            JOIN owner o USING (account_id) WHERE outstanding_amt > 0 GROUP BY 1),
        k AS (SELECT client_id, income_amt::DOUBLE AS income_amt, net_worth_amt::DOUBLE
            AS net_worth_amt, experience_months FROM clients)
        SELECT DISTINCT ON (client_id) * FROM (SELECT DISTINCT client_id FROM owner)
        LEFT JOIN p USING (client_id) LEFT JOIN t USING (client_id) LEFT JOIN c USING (client_id)
        LEFT JOIN e USING (client_id) LEFT JOIN l USING (client_id) LEFT JOIN k USING (client_id)
        ORDER BY client_id"""
    ).df()
    out = frame.set_index("client_id")
    held = con.execute(
        "SELECT o.client_id, symbol, sum(quantity_shares)::DOUBLE AS quantity FROM positions"
        " JOIN owner o USING (account_id) WHERE quantity_shares > 0"
        f" AND from_session <= '{session}' AND coalesce(to_session >= '{session}', true)"
        " GROUP BY ALL"
    ).df()
    quantity = np.zeros((len(out), len(close.columns)))
    rows = pd.Index(out.index).get_indexer(held["client_id"])
    quantity[rows, pd.Index(close.columns).get_indexer(held["symbol"])] = held["quantity"]
    value = quantity * np.nan_to_num(close.to_numpy()[-1])
    total = value.sum(axis=1, keepdims=True)
    weight = np.divide(value, total, out=np.zeros_like(value), where=total > 0)
    recent = np.nan_to_num(returns.to_numpy()[-60:])
    out["names"], out["largest_weight"] = (value > 0).sum(axis=1), weight.max(axis=1)
    out["herfindahl"] = (weight**2).sum(axis=1)
    covariance = np.cov(recent, rowvar=False)
    out["portfolio_volatility"] = np.sqrt(
        np.maximum(np.einsum("ij,jk,ik->i", weight, covariance, weight), 0)
    )
    out["momentum_60"] = weight @ (np.prod(1 + recent, axis=0) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        out["leverage"], out["maintenance"] = (
            out["assets"] / out["equity"],
            out["assets"] / out["owed"],
        )
        out["distance_to_call"] = np.log(out["maintenance"] / 1.3) / out["portfolio_volatility"]
        out["debt_to_income"] = out["owed"] / out["income_amt"]
    return out, value
