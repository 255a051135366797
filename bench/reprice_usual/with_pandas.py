"""Forty features of every client in pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lake_tables import PATH, WINDOWS, visible


def with_pandas(lake: Path, session: str, cut: Any, close: Any, returns: Any) -> Any:
    """One row a client with an open account."""
    import pandas as pd

    day = pd.Timestamp(session)
    accounts = visible(
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
        visible(
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
        visible(
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
        visible(
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

    flows = of_client(visible(lake, "cash_flows", cut, ["account_id", "kind", "amount_amt"]))
    flows = flows.groupby(["client_id", "kind"], observed=True)["amount_amt"].sum().unstack()
    for kind in ("deposit", "withdrawal"):
        if kind in flows.columns:
            out[kind] = flows[kind].reindex(out.index).fillna(0.0)
    events = of_client(visible(lake, "margin_events", cut, ["account_id", "kind"]))
    out["calls"] = events[events["kind"] == "call"].groupby("client_id").size()
    loans = of_client(
        visible(
            lake,
            "contracts",
            cut,
            ["contract_id", "account_id", "outstanding_amt", "rate_bps", "opened_on"],
        ).drop_duplicates("contract_id", keep="last")
    )
    loans = loans[loans["outstanding_amt"] > 0].groupby("client_id")
    out["loans"], out["loan_rate"] = loans.size(), loans["rate_bps"].mean()
    wanted = ["client_id", "income_amt", "net_worth_amt", "experience_months"]
    kyc = visible(lake, "clients", cut, wanted).drop_duplicates("client_id", keep="last")
    kyc = kyc.assign(client_id=kyc["client_id"].astype(str)).set_index("client_id")
    for name in wanted[1:]:
        out[name] = kyc[name].reindex(out.index)
    out["debt_to_income"] = out["owed"] / out["income_amt"]
    return out, value
