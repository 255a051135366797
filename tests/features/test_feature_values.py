"""Each feature against a second, plain-Python reading of its dictionary entry."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.units import NULL
from features.asof import BookHistory
from features.panel import PricePanel
from features.sets import BEHAVIOURAL

Row = dict[str, Any]
Rows = dict[str, list[Row]]
TOLERANCE = 2
"""Quanta: the two sides add floats in different orders."""


def maintenance_ratio(p: Any, client: str) -> float | None:
    m = p.money(client, p.t) or (p.securities(client, p.t), 0, 0)
    return m[0] / (m[1] + m[2]) if m[1] + m[2] else None


def largest_weight_ratio(p: Any, client: str) -> float | None:
    values = p.values(client)
    return max(values.values()) / sum(values.values()) if sum(values.values()) else None


def herfindahl_ratio(p: Any, client: str) -> float | None:
    total = sum(p.values(client).values())
    return sum((v / total) ** 2 for v in p.values(client).values()) if total else None


def portfolio_volatility_60_sessions_ratio(p: Any, client: str) -> float | None:
    values, returns = p.values(client), []
    for s in p.window(60):
        gain = base = 0.0
        for symbol, value in values.items():
            before, now = p.price(s - 1, symbol) if s else 0, p.price(s, symbol)
            if before and now and not p.panel.suspended[s, p.panel.symbols.index(symbol)]:
                gain, base = gain + value * (now / before - 1), base + value
        if base:
            returns.append(gain / base)
    return statistics.stdev(returns) if len(returns) >= 40 else None


def distance_to_call_sigma(p: Any, client: str) -> float | None:
    margin, sigma = maintenance_ratio(p, client), portfolio_volatility_60_sessions_ratio(p, client)
    m = p.money(client, p.t)
    if not margin or not sigma or not m:
        return None
    exposed = p.securities(client, p.t) / m[0]
    return math.log(margin / 1.3) / (sigma * exposed * math.sqrt(20)) if exposed else None


def turnover_60_sessions_ratio(p: Any, client: str) -> float | None:
    traded = sum(x["quantity_shares"] * x["price"] for _, x in p.trades(client, 60))
    mean = p.mean_assets(client)
    return traded / 200 / mean if mean else None


def trades_20_sessions(p: Any, client: str) -> float | None:
    return len(p.trades(client, 20))


def holding_sessions_mean(p: Any, client: str) -> float | None:
    sold = sum(
        x["quantity_shares"] * x["price"] for _, x in p.trades(client, 250) if x["side"] == "sell"
    )
    held = sum(p.securities(client, s) for s in p.window(250))
    return held / (sold / 100) if sold else None


def disposition_ratio(p: Any, client: str) -> float | None:
    counts = {(r, g): 0 for r in (True, False) for g in (True, False)}
    sells: dict[tuple[str, int], dict[str, list[Row]]] = {}
    for s, x in p.trades(client, 250):
        if x["side"] == "sell":
            sells.setdefault((x["account_id"], s), {}).setdefault(x["symbol"], []).append(x)
    for (account, s), sold in sells.items():
        for h in p.held(account, s - 1) if s else []:
            mine = sold.get(h["symbol"], [])
            price = float(p.price(s, h["symbol"]))
            if mine:
                quantity = sum(x["quantity_shares"] for x in mine)
                price = sum(x["quantity_shares"] * x["price"] for x in mine) / quantity
            cost = h["cost_amt"] * 100 / h["quantity_shares"]
            if price > 0 and price != cost:
                counts[bool(mine), price > cost] += 1
    gains = counts[True, True] + counts[False, True]
    losses = counts[True, False] + counts[False, False]
    if not gains or not losses:
        return None
    return counts[True, True] / gains - counts[True, False] / losses


def averaging_down_share(p: Any, client: str) -> float | None:
    total = down = 0
    for s, x in p.trades(client, 250):
        if x["side"] != "buy":
            continue
        value = x["quantity_shares"] * x["price"]
        total += value
        for h in p.held(x["account_id"], s - 1) if s else []:
            close = p.price(s - 1, h["symbol"])
            losing = close and close < h["cost_amt"] * 100 / h["quantity_shares"]
            if h["symbol"] == x["symbol"] and losing:
                down += value
    return down / total if total else None


def momentum_chasing_share(p: Any, client: str) -> float | None:
    total = chased = 0
    for s, x in p.trades(client, 60):
        if x["side"] != "buy":
            continue
        value, rise = x["quantity_shares"] * x["price"], 0.0
        for k in range(max(s - 5, 1), s):
            before, now = p.price(k - 1, x["symbol"]), p.price(k, x["symbol"])
            if before and now and not p.panel.suspended[k, p.panel.symbols.index(x["symbol"])]:
                rise += now / before - 1
        total, chased = total + value, chased + (value if rise > 0.1 else 0)
    return chased / total if total else None


def nav_return_60(p: Any, client: str) -> float | None:
    start = p.nav(client, p.t - 60)
    end = p.nav(client, p.t)
    if start is None or end is None:
        return None
    flows = [p.external(client, s) for s in p.window(60)]
    base = start + sum(f for f in flows if f > 0)
    return (end - start - sum(flows)) / base if base > 0 else None


def max_drawdown_60_sessions_ratio(p: Any, client: str) -> float | None:
    if sum(p.nav(client, s) is not None for s in p.window(60)) < 20:
        return None
    index = p.growth(client, p.window(60)[0])
    return float(max(1 - index[k] / max(index[: k + 1]) for k in range(len(index))))


def leverage_change_20_sessions(p: Any, client: str) -> float | None:
    found = []
    for s in (p.t - 20, p.t):
        m, nav = p.money(client, s), p.nav(client, s)
        if m is None or nav is None or nav <= 0:
            return None
        found.append(m[0] / nav)
    return float(found[1] - found[0])


def relever_after_gain(p: Any, client: str) -> float | None:
    first = p.t - 65
    index = p.growth(client, first) if first >= 0 else None
    if index is None:
        index = [1.0] * -first + p.growth(client, 0)
    total = after = 0
    for s in p.window(60):
        now, before = p.money(client, s), p.money(client, s - 1)
        if now and before and now[1] > before[1]:
            total += now[1] - before[1]
            if index[s - 1 - first] > index[s - 6 - first]:
                after += now[1] - before[1]
    return after / total if total else None


def calls_250_sessions(p: Any, client: str) -> float | None:
    return len(p.events(client, "call", 250))


def forced_sales_250_sessions(p: Any, client: str) -> float | None:
    return len(p.events(client, "forced_sale", 250))


def cures_cash_share(p: Any, client: str) -> float | None:
    cures = p.events(client, "cure", 250)
    paid = [
        any(p.flows(client, k, ("cash_cure",)) for k in range(max(s - 4, 0), s + 1)) for s in cures
    ]
    return sum(paid) / len(cures) if cures else None


def net_deposits_60_sessions_ratio(p: Any, client: str) -> float | None:
    net = sum(p.flows(client, s, ("deposit", "withdrawal", "cash_cure")) for s in p.window(60))
    mean = p.mean_assets(client)
    return net / mean if mean else None


def special_treatment_share(p: Any, client: str) -> float | None:
    values = p.values(client)
    return values.get("BBB", 0) / sum(values.values()) if sum(values.values()) else None


def high_limit_share(p: Any, client: str) -> float | None:
    values = p.values(client)
    wide = values.get("CCC", 0) + values.get("DDD", 0)
    return wide / sum(values.values()) if sum(values.values()) else None


def debt_to_income_ratio(p: Any, client: str) -> float | None:
    mine = [k for k in p.seen["clients"] if k["client_id"] == client]
    m = p.money(client, p.t) or (0, 0, 0)
    income = mine[0]["income_amt"] if mine else None
    return (m[1] + m[2]) / income if income else None


def days_to_liquidate(p: Any, client: str) -> float | None:
    if not p.securities(client, p.t):
        return None
    slowest = 0.0
    for symbol, value in p.values(client).items():
        column = p.panel.volume_shares[:, p.panel.symbols.index(symbol)]
        known = [int(column[s]) for s in p.window(20) if column[s] != NULL]
        if not known:
            return None
        quantity = value // p.price(p.t, symbol) if value else 0
        slowest = max(slowest, quantity / (0.2 * sum(known) / len(known)))
    return slowest


def max5_return(p: Any, client: str) -> float | None:
    values, returns = p.values(client), []
    for s in p.window(20):
        known = [
            (v, p.price(s, k) / p.price(s - 1, k) - 1)
            for k, v in values.items()
            if s and v and p.price(s, k) and p.price(s - 1, k)
            and not p.panel.suspended[s, p.panel.symbols.index(k)]
        ]  # fmt: skip
        if known:
            returns.append(sum(v * r for v, r in known) / sum(v for v, _ in known))
    return sum(sorted(returns)[-5:]) / 5 if len(returns) >= 10 else None


REFERENCES: tuple[Callable[[Any, str], float | None], ...] = (
    maintenance_ratio, largest_weight_ratio, herfindahl_ratio,
    portfolio_volatility_60_sessions_ratio, distance_to_call_sigma, turnover_60_sessions_ratio,
    trades_20_sessions, holding_sessions_mean, disposition_ratio, averaging_down_share,
    momentum_chasing_share, nav_return_60, max_drawdown_60_sessions_ratio,
    leverage_change_20_sessions, relever_after_gain, calls_250_sessions,
    forced_sales_250_sessions, cures_cash_share, net_deposits_60_sessions_ratio,
    special_treatment_share, high_limit_share, debt_to_income_ratio, days_to_liquidate, max5_return,
)  # fmt: skip


def late_start(panel: PricePanel) -> dt.datetime:
    return dt.datetime.combine(panel.sessions[18].item(), dt.time(), tzinfo=dt.UTC)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_features_equal_a_plain_reading_of_their_entries(
    seed: int,
    panel: PricePanel,
    plain_reading: Callable[[Rows, PricePanel, int], Any],
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    rows = random_rows(seed)
    if seed == 3:  # a lake that starts long after the market does
        start = late_start(panel)
        rows = {n: [r for r in table if r["event_at"] >= start] for n, table in rows.items()}
        rows |= {n: random_rows(seed)[n] for n in ("clients", "accounts")}
    history = BookHistory.load(write_lake(tmp_path, rows), panel)
    by_name = {f.name: f for f in BEHAVIOURAL.features}
    defined: set[str] = set()
    for t in (12, 45, 70, 89):
        book = history.as_of(panel.sessions[t].item())
        plain = plain_reading(rows, panel, t)
        assert list(book.client_ids) == plain.clients
        for reference in REFERENCES:
            feature = by_name[reference.__name__]
            got = feature.values(book)
            for k, client in enumerate(plain.clients):
                expected = reference(plain, client)
                where = f"{feature.name} of {client} at session {t}"
                if expected is None:
                    assert got[k] == NULL, where
                    continue
                defined.add(feature.name)
                clipped = min(max(expected, feature.low), feature.high)
                assert got[k] != NULL, where
                assert abs(int(got[k]) - clipped * feature.one) <= TOLERANCE, where
    assert defined == {r.__name__ for r in REFERENCES}, "some feature was never defined"


def test_missing_semantics_of_a_client_without_debt_or_securities(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    rows = random_rows(4)
    rows["positions"] = []
    rows["trades"] = []
    for balance in rows["balances"]:
        balance["debt_amt"] = balance["accrued_amt"] = 0
    book = BookHistory.load(write_lake(tmp_path, rows), panel).as_of(panel.sessions[80].item())
    by_name = {f.name: f for f in BEHAVIOURAL.features}
    for name in (
        "maintenance_ratio", "distance_to_call_sigma", "liquid_assets_to_debt_ratio",
        "largest_weight_ratio", "herfindahl_ratio", "portfolio_volatility_60_sessions_ratio",
        "beta", "max5_return", "days_to_liquidate", "special_treatment_share",
        "holding_sessions_mean", "disposition_ratio", "averaging_down_share",
        "momentum_chasing_share", "relever_after_gain", "lottery_share",
    ):  # fmt: skip
        assert np.all(by_name[name].values(book) == NULL), name
    assert np.all(by_name["leverage_ratio"].values(book) == 1_000_000)
    assert np.all(by_name["trades_20_sessions"].values(book) == 0)
    assert np.all(by_name["cash_share_ratio"].values(book) == 1_000_000)


def test_days_to_liquidate_is_null_where_the_market_has_no_volume(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    without = {**panel.__dict__, "volume_shares": np.full_like(panel.volume_shares, NULL)}
    bare = PricePanel(**without)
    book = BookHistory.load(write_lake(tmp_path, random_rows(5)), bare).as_of(
        panel.sessions[80].item()
    )
    by_name = {f.name: f for f in BEHAVIOURAL.features}
    assert np.all(by_name["days_to_liquidate"].values(book) == NULL)
