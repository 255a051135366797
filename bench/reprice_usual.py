"""A night's decisions on a book as a competent user writes them; the rivals of `bench reprice`.

    python bench/reprice_usual.py LAKE SESSION MODEL --features pandas|duckdb --explain shap|contrib
        --out FILE [--background N]

Features of every client in pandas or in DuckDB (vectorised: no Python runs a client), LightGBM for
the probability, shap against a background sample or LightGBM's own pred_contrib for the reasons,
NumPy for limits and rates, one JSON document and its hash a client, Parquet out. Forty features of
those the model knows are made; the others stay empty, in the rival's favour, as it is that
previous decisions, related groups and corrected rows are not looked at. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

WINDOWS = (20, 60, 250)
PATH = 250
SCENARIO_SESSIONS = 5


def _table(lake: Path, name: str, cut: Any, columns: list[str]) -> Any:
    """A table's visible rows as pandas, decimals as floats, texts as categories."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

    table = ds.dataset(lake / name).to_table(columns=[*columns, "event_at", "known_at"])
    for k, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(k, field.name, table[field.name].cast("float64"))
        elif pa.types.is_string(field.type):
            table = table.set_column(k, field.name, table[field.name].dictionary_encode())
    frame = table.to_pandas()
    seen = frame[["event_at", "known_at"]].max(axis=1) <= pd.Timestamp(cut, tz="UTC")
    return frame[seen].sort_values("known_at", kind="stable")


def _market(lake: Path, session: str, cut: Any) -> tuple[Any, Any, int]:
    """Closes as a table of sessions by symbol, its returns, and the session's place."""
    days = _table(lake, "sessions", np.datetime64("2200-01-01"), ["session"])["session"]
    days = np.sort(days.to_numpy().astype("datetime64[D]"))
    bars = _table(lake, "bars", cut, ["symbol", "session", "close"])
    close = bars.pivot_table(index="session", columns="symbol", values="close", observed=True)
    close.index = close.index.astype("datetime64[s]")
    return close, close.pct_change(), int(np.searchsorted(days, np.datetime64(session)))


def with_pandas(lake: Path, session: str, cut: Any, close: Any, returns: Any) -> Any:
    """One row a client with an open account."""
    import pandas as pd

    day = pd.Timestamp(session)
    accounts = _table(
        lake, "accounts", cut, ["account_id", "client_id", "opened_on", "closed_on"]
    ).drop_duplicates("account_id", keep="last")
    closed = pd.to_datetime(accounts["closed_on"]) <= day
    accounts = accounts[~closed & (pd.to_datetime(accounts["opened_on"]) <= day)]
    owner = accounts.set_index("account_id")["client_id"].astype(str)
    out = pd.DataFrame(index=pd.Index(owner.unique(), name="client_id"))

    def of_client(frame: Any) -> Any:
        frame = frame.assign(client_id=frame["account_id"].astype(str).map(owner))
        return frame[frame["client_id"].notna()]

    path = close.index[-PATH:]
    balances = of_client(
        _table(
            lake,
            "balances",
            cut,
            ["account_id", "session", "cash_amt", "debt_amt", "accrued_amt"],
        ).drop_duplicates(["account_id", "session"], keep="last")
    )
    balances["session"] = balances["session"].astype("datetime64[s]")
    money = balances.groupby(["client_id", "session"], observed=True)[
        ["cash_amt", "debt_amt", "accrued_amt"]
    ].sum()
    wide = {n: money[n].unstack().reindex(columns=path).ffill(axis=1) for n in money.columns}

    held = of_client(
        _table(
            lake,
            "positions",
            cut,
            ["account_id", "symbol", "from_session", "to_session", "quantity_shares", "cost_amt"],
        ).drop_duplicates(["account_id", "symbol", "from_session"], keep="last")
    )
    number = pd.Series(np.arange(len(path)), index=path)
    start = held["from_session"].astype("datetime64[s]").to_numpy()
    end = held["to_session"].astype("datetime64[s]").fillna(path[-1]).to_numpy()
    first = np.searchsorted(path, start)
    last = np.searchsorted(path, end, side="right") - 1
    length = np.maximum(last - first + 1, 0)
    row = np.repeat(np.arange(len(held)), length)
    turn = np.arange(len(row)) - np.repeat(np.cumsum(length) - length - first, length)
    prices = close.reindex(path).to_numpy()
    symbols = pd.Index(close.columns).get_indexer(held["symbol"].astype(str))
    worth = held["quantity_shares"].to_numpy()[row] * np.nan_to_num(prices[turn, symbols[row]])
    daily = pd.DataFrame(
        {"client_id": held["client_id"].to_numpy()[row], "session": turn, "worth": worth}
    )
    daily = daily.groupby(["client_id", "session"])["worth"].sum().unstack(fill_value=0.0)
    daily = daily.reindex(index=out.index, columns=number.to_numpy(), fill_value=0.0)
    blocks = {n: w.reindex(out.index).fillna(0.0).to_numpy() for n, w in wide.items()}
    owed = blocks["debt_amt"] + blocks["accrued_amt"]
    assets = blocks["cash_amt"] + daily.to_numpy()
    nav = assets - owed
    with np.errstate(divide="ignore", invalid="ignore"):
        change = nav[:, 1:] / nav[:, :-1] - 1.0
        change[~np.isfinite(change)] = 0.0
        grown = np.cumprod(1.0 + np.clip(change, -1.0, 1.0), axis=1)
        for window in (60, 250):
            part = grown[:, -window:]
            out[f"max_drawdown_{window}"] = (1 - part / np.maximum.accumulate(part, 1)).max(axis=1)
            out[f"nav_return_{window}"] = part[:, -1] / part[:, 0] - 1.0
            out[f"equity_volatility_{window}"] = change[:, -window:].std(axis=1)
        out["assets"], out["owed"] = assets[:, -1], owed[:, -1]
        out["equity"] = nav[:, -1]
        out["leverage"] = assets[:, -1] / nav[:, -1]
        out["maintenance"] = assets[:, -1] / owed[:, -1]
        out["least_maintenance_60"] = np.nanmin(assets[:, -60:] / owed[:, -60:], axis=1)
        out["debt_change_20"] = owed[:, -1] - owed[:, -21]
        out["debt_change_60"] = owed[:, -1] - owed[:, -61]
    out["cash"] = blocks["cash_amt"][:, -1]

    now = held[(last >= len(path) - 1) & (held["quantity_shares"] > 0)]
    code = pd.Index(out.index).get_indexer(now["client_id"])
    quantity = np.zeros((len(out), prices.shape[1]))
    place = pd.Index(close.columns).get_indexer(now["symbol"].astype(str))
    np.add.at(quantity, (code, place), now["quantity_shares"].to_numpy())
    value = quantity * np.nan_to_num(prices[-1])
    total = value.sum(axis=1, keepdims=True)
    weight = np.divide(value, total, out=np.zeros_like(value), where=total > 0)
    recent = returns.reindex(path).to_numpy()[-60:]
    out["names"] = (value > 0).sum(axis=1)
    out["largest_weight"] = weight.max(axis=1)
    out["herfindahl"] = (weight**2).sum(axis=1)
    covariance = np.cov(np.nan_to_num(recent), rowvar=False)
    out["portfolio_volatility"] = np.sqrt(
        np.maximum(np.einsum("ij,jk,ik->i", weight, covariance, weight), 0)
    )
    index = np.nan_to_num(recent).mean(axis=1)
    beta = np.nan_to_num(recent).T @ index / max(float(index @ index), 1e-12)
    out["beta"] = weight @ beta
    out["momentum_60"] = weight @ np.nan_to_num(np.prod(1 + np.nan_to_num(recent), axis=0) - 1)
    out["max5_return"] = weight @ np.sort(np.nan_to_num(recent[-20:]), axis=0)[-5:].mean(axis=0)
    out["unrealised"] = total[:, 0] - np.bincount(code, now["cost_amt"], len(out))
    with np.errstate(divide="ignore", invalid="ignore"):
        out["distance_to_call"] = np.log(out["maintenance"] / 1.3) / out["portfolio_volatility"]

    trades = of_client(
        _table(
            lake,
            "trades",
            cut,
            [
                "trade_id", "account_id", "symbol", "side", "quantity_shares", "price", "financed",
            ],
        ).drop_duplicates("trade_id", keep="last")
    )  # fmt: skip
    when = trades["event_at"].dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    ago = len(path) - np.searchsorted(path.to_numpy().astype("datetime64[D]"), when)
    buy = (trades["side"] == "buy").to_numpy()
    amount = trades["quantity_shares"].to_numpy() * trades["price"].to_numpy()
    fills = pd.DataFrame(
        {
            "client_id": trades["client_id"].to_numpy(),
            "day": ago,
            "trades": 1,
            "bought": np.where(buy, amount, 0.0),
            "sold": np.where(buy, 0.0, amount),
            "financed": np.where(buy & trades["financed"].to_numpy(), amount, 0.0),
        }
    )
    days = fills.groupby(["client_id", "day"], as_index=False).sum()
    for window in WINDOWS:
        part = days[days["day"] <= window].groupby("client_id")
        sums = part[["trades", "bought", "sold", "financed"]].sum().reindex(out.index).fillna(0.0)
        out[f"trades_{window}"] = sums["trades"]
        out[f"turnover_{window}"] = (sums["bought"] + sums["sold"]) / out["assets"]
        out[f"net_buying_{window}"] = (sums["bought"] - sums["sold"]) / out["assets"]
        out[f"financed_{window}"] = sums["financed"] / sums["bought"]
    out["since_trade"] = days.groupby("client_id")["day"].min().reindex(out.index)

    flows = of_client(_table(lake, "cash_flows", cut, ["account_id", "kind", "amount_amt"]))
    flows = flows.groupby(["client_id", "kind"], observed=True)["amount_amt"].sum().unstack()
    for kind in ("deposit", "withdrawal"):
        if kind in flows.columns:
            out[kind] = flows[kind].reindex(out.index).fillna(0.0)
    events = of_client(_table(lake, "margin_events", cut, ["account_id", "kind"]))
    out["calls"] = events[events["kind"] == "call"].groupby("client_id").size()
    loans = of_client(
        _table(
            lake,
            "contracts",
            cut,
            ["contract_id", "account_id", "outstanding_amt", "rate_bps", "opened_on"],
        ).drop_duplicates("contract_id", keep="last")
    )
    loans = loans[loans["outstanding_amt"] > 0].groupby("client_id")
    out["loans"], out["loan_rate"] = loans.size(), loans["rate_bps"].mean()
    wanted = ["client_id", "income_amt", "net_worth_amt", "experience_months"]
    kyc = _table(lake, "clients", cut, wanted).drop_duplicates("client_id", keep="last")
    kyc = kyc.assign(client_id=kyc["client_id"].astype(str)).set_index("client_id")
    for name in wanted[1:]:
        out[name] = kyc[name].reindex(out.index)
    out["debt_to_income"] = out["owed"] / out["income_amt"]
    return out, value


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


def decide(out: Any, value: Any, pd_year: Any, contributions: Any, returns: Any) -> Any:
    """Limits, rates, reasons, one document and its hash a client."""
    moves = np.nan_to_num(returns.to_numpy()[-500:])
    moves = np.lib.stride_tricks.sliding_window_view(1 + moves, SCENARIO_SESSIONS, axis=0)
    moves = moves.prod(axis=-1) - 1
    worst = max(1, len(moves) // 100)
    loss = np.empty(len(out))
    for at in range(0, len(out), 4096):  # so that the scenarios of a block fit the cache
        result = value[at : at + 4096] @ moves.T
        loss[at : at + 4096] = -np.partition(result, worst - 1, axis=1)[:, :worst].mean(axis=1)
    total = value.sum(axis=1)
    equity = np.nan_to_num(out["equity"].to_numpy())
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.clip(np.where(total > 0, 2.0 * loss / total, 0.5), 0.05, 1.0)
    structural = np.maximum(equity, 0) * (1 - margin) / margin
    statutory = np.maximum(equity, 0)
    tier = np.searchsorted([0.001, 0.005, 0.02, 0.06, 0.15, 0.4], pd_year) + 1
    behavioural = structural * np.array([1, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2])[tier - 1]
    cap = np.floor(np.minimum(np.minimum(structural, behavioural), statutory))
    rate = np.rint(300 + 100 + 45 * pd_year * 100 + 20 * tier).astype(int)
    order = np.argsort(-contributions, axis=1)[:, :4]
    documents, digests = [], []
    names = out.index.tolist()
    for k, (client, limit, bps, grade, chance, first) in enumerate(
        zip(names, cap.tolist(), rate.tolist(), tier.tolist(), pd_year.tolist(), order, strict=True)
    ):
        body = {
            "client_id": client,
            "max_debt": limit,
            "rate_bps": bps,
            "tier": grade,
            "pd": chance,
            "reasons": [[int(i), float(contributions[k, i])] for i in first],
            "attributions": contributions[k].tolist(),
        }
        text = json.dumps(body, sort_keys=True).encode()
        documents.append(text)
        digests.append(hashlib.sha256(text).digest())
    return cap, rate, tier, documents, digests


def main() -> None:
    """Time one night of one rival."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", type=Path)
    parser.add_argument("session")
    parser.add_argument("model", type=Path)
    parser.add_argument("--features", choices=("pandas", "duckdb"), default="pandas")
    parser.add_argument("--explain", choices=("shap", "contrib"), default="contrib")
    parser.add_argument("--background", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    # what is only imported is not timed
    import duckdb  # noqa: F401
    import lightgbm as lgb
    import pandas as pd
    import pyarrow.dataset  # noqa: F401
    import shap

    spent: dict[str, float] = {}
    started = time.perf_counter()

    def lap(stage: str) -> None:
        spent[stage] = time.perf_counter() - started - sum(spent.values())

    cut = np.datetime64(arguments.session) + np.timedelta64(22, "h")
    close, returns, _ = _market(arguments.lake, arguments.session, cut)
    make = with_pandas if arguments.features == "pandas" else with_duckdb
    out, value = make(arguments.lake, arguments.session, cut, close, returns)
    lap("features")
    booster = lgb.Booster(model_file=str(arguments.model))
    wide = np.full((len(out), booster.num_feature()), np.nan)
    made = out.to_numpy(dtype=np.float64)[:, : wide.shape[1]]
    wide[:, : made.shape[1]] = np.where(np.isfinite(made), made * 1e6, np.nan)
    pd_year = np.asarray(booster.predict(wide))
    lap("predict")
    if arguments.explain == "shap":
        rng = np.random.default_rng(1)
        some = np.sort(rng.choice(len(wide), min(arguments.background, len(wide)), replace=False))
        masker = shap.maskers.Independent(wide[some], max_samples=arguments.background)
        explainer = shap.TreeExplainer(booster, data=masker, feature_perturbation="interventional")
        contributions = np.asarray(explainer.shap_values(wide, check_additivity=False))
    else:
        contributions = np.asarray(booster.predict(wide, pred_contrib=True))[:, :-1]
    lap("explain")
    cap, rate, tier, documents, digests = decide(out, value, pd_year, contributions, returns)
    lap("decide")
    frame = pd.DataFrame(
        {
            "client_id": out.index, "max_debt": cap, "rate_bps": rate, "tier": tier, "pd": pd_year,
            "attributions": list(contributions), "document": documents, "sha256": digests,
        }
    )  # fmt: skip
    frame.to_parquet(arguments.out)
    lap("write")
    document = {
        "seconds": time.perf_counter() - started,
        "seconds_by_stage": spent,
        "clients": len(out),
        "features": made.shape[1],
        "assets": float(np.nansum(out["assets"])),
        "owed": float(np.nansum(out["owed"])),
        "securities": float(value.sum()),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
