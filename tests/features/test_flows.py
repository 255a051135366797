"""Each feature that the second version adds against a plain reading of its dictionary entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_contracts.units import NULL
from features.asof import BookHistory
from features.panel import PricePanel
from features.sets import BEHAVIOURAL_2

Row = dict[str, Any]
Rows = dict[str, list[Row]]
TOLERANCE = 2
"""Quanta: the two sides add floats in different orders."""


def fills(p: Any, client: str, sessions: int) -> list[tuple[int, int, bool, bool, str]]:
    """Session, value in 0.0001, buy, financed, account and symbol."""
    return [
        (s, x["quantity_shares"] * x["price"], x["side"] == "buy", x["financed"],
         x["account_id"] + x["symbol"])
        for s, x in p.trades(client, sessions)
    ]  # fmt: skip


def trades_60_sessions(p: Any, c: str) -> float | None:
    return len(fills(p, c, 60))


def trades_250_sessions(p: Any, c: str) -> float | None:
    return len(fills(p, c, 250))


def traded_value_20_sessions_amt(p: Any, c: str) -> float | None:
    return sum(v for _, v, *_ in fills(p, c, 20)) / 1e4


def traded_value_250_sessions_amt(p: Any, c: str) -> float | None:
    return sum(v for _, v, *_ in fills(p, c, 250)) / 1e4


def traded_value_decaying_amt(p: Any, c: str) -> float | None:
    return float(sum(v * 0.94 ** (p.t - s) * 0.06 / 1e4 for s, v, *_ in fills(p, c, 10**6)))


def mean_trade_60_sessions_amt(p: Any, c: str) -> float | None:
    found = fills(p, c, 60)
    return sum(v for _, v, *_ in found) / len(found) / 1e4 if found else None


def active_sessions_60_share(p: Any, c: str) -> float | None:
    return len({s for s, *_ in fills(p, c, 60)}) / 60


def active_sessions_250_share(p: Any, c: str) -> float | None:
    return len({s for s, *_ in fills(p, c, 250)}) / 250


def matched(p: Any, c: str, window: int) -> float | None:
    found = fills(p, c, window)
    cells = {(s, name) for s, _, _, _, name in found}
    both = sum(
        min(sum(v for s, v, b, _, n in found if (s, n) == cell and b == side) for side in (0, 1))
        for cell in cells
    )
    total = sum(v for _, v, *_ in found)
    return 2 * both / total if total else None


def day_trade_60_sessions_share(p: Any, c: str) -> float | None:
    return matched(p, c, 60)


def day_trade_250_sessions_share(p: Any, c: str) -> float | None:
    return matched(p, c, 250)


def financed(p: Any, c: str, window: int) -> float | None:
    bought = [(v, f) for _, v, b, f, _ in fills(p, c, window) if b]
    total = sum(v for v, _ in bought)
    return sum(v for v, f in bought if f) / total if total else None


def financed_buys_60_sessions_share(p: Any, c: str) -> float | None:
    return financed(p, c, 60)


def financed_buys_250_sessions_share(p: Any, c: str) -> float | None:
    return financed(p, c, 250)


def net_buying(p: Any, c: str, window: int) -> float | None:
    found = fills(p, c, window)
    total = sum(v for _, v, *_ in found)
    return sum(v if b else -v for _, v, b, _, _ in found) / total if total else None


def net_buying_20_sessions_ratio(p: Any, c: str) -> float | None:
    return net_buying(p, c, 20)


def net_buying_60_sessions_ratio(p: Any, c: str) -> float | None:
    return net_buying(p, c, 60)


def trading_acceleration_ratio(p: Any, c: str) -> float | None:
    month, year = (sum(v for _, v, *_ in fills(p, c, w)) for w in (20, 250))
    return (month / 20) / (year / 250) if year else None


def sessions_since_trade(p: Any, c: str) -> float | None:
    found = fills(p, c, 10**6)
    return int(p.t) - max(s for s, *_ in found) if found else None


def mean_assets(p: Any, c: str, window: int) -> float | None:
    known = [m[0] for s in p.window(window) if (m := p.money(c, s))]
    return sum(known) / len(known) if known and sum(known) > 0 else None


def turnover(p: Any, c: str, window: int) -> float | None:
    mean = mean_assets(p, c, window)
    return sum(v for _, v, *_ in fills(p, c, window)) / 200 / mean if mean else None


def turnover_20_sessions_ratio(p: Any, c: str) -> float | None:
    return turnover(p, c, 20)


def turnover_250_sessions_ratio(p: Any, c: str) -> float | None:
    return turnover(p, c, 250)


def paper_gain_average_cost_ratio(p: Any, c: str) -> float | None:
    cost = sum(h["cost_amt"] for a in p.accounts(c) for h in p.held(a, p.t))
    return float(p.securities(c, p.t) / cost - 1) if cost > 0 else None


def gain_diluted_cost_ratio(p: Any, c: str) -> float | None:
    held: dict[tuple[str, str], tuple[int, int]] = {}
    mine = [x for _, x in p.trades(c, 10**6) if x["account_id"] in p.accounts(c)]
    for x in sorted(mine, key=lambda x: x["event_at"]):
        sign = 1 if x["side"] == "buy" else -1
        shares, spent = held.get((x["account_id"], x["symbol"]), (0, 0))
        shares += sign * x["quantity_shares"]
        spent += sign * x["quantity_shares"] * x["price"]
        # What a fill that is not known yet leaves below nothing goes on being owed.
        held[x["account_id"], x["symbol"]] = (shares, spent if shares > 0 else 0)
    cost = sum(spent for shares, spent in held.values() if shares > 0) // 100
    value = p.securities(c, p.t)
    return float((value - cost) / value) if value else None


def max_drawdown_250_sessions_ratio(p: Any, c: str) -> float | None:
    if sum(p.nav(c, s) is not None for s in p.window(250)) < 20:
        return None
    index = p.growth(c, p.window(250)[0])
    return float(max(1 - index[k] / max(index[: k + 1]) for k in range(len(index))))


def suspended_share(p: Any, c: str) -> float | None:
    values = p.values(c)
    stopped = [k for k in values if p.panel.suspended[p.t, p.panel.symbols.index(k)]]
    total = sum(values.values())
    return sum(values[k] for k in stopped) / total if total else None


def accrued_share_of_debt_ratio(p: Any, c: str) -> float | None:
    m = p.money(c, p.t) or (0, 0, 0)
    return m[2] / (m[1] + m[2]) if m[1] + m[2] else None


def sessions_since_call(p: Any, c: str) -> float | None:
    found = p.events(c, "call", 10**6)
    return int(p.t) - int(max(found)) if found else None


def account_assets_amt(p: Any, c: str) -> float | None:
    m = p.money(c, p.t)
    return float(m[0] if m else p.securities(c, p.t)) / 100


REFERENCES: tuple[Callable[[Any, str], float | None], ...] = (
    trades_60_sessions, trades_250_sessions, traded_value_20_sessions_amt,
    traded_value_250_sessions_amt, traded_value_decaying_amt, mean_trade_60_sessions_amt,
    active_sessions_60_share, active_sessions_250_share, day_trade_60_sessions_share,
    day_trade_250_sessions_share, financed_buys_60_sessions_share,
    financed_buys_250_sessions_share, net_buying_20_sessions_ratio, net_buying_60_sessions_ratio,
    trading_acceleration_ratio, sessions_since_trade, turnover_20_sessions_ratio,
    turnover_250_sessions_ratio, paper_gain_average_cost_ratio, gain_diluted_cost_ratio,
    max_drawdown_250_sessions_ratio, suspended_share, accrued_share_of_debt_ratio,
    sessions_since_call, account_assets_amt,
)  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_features_of_the_second_version_equal_a_plain_reading_of_their_entries(
    seed: int,
    panel: PricePanel,
    plain_reading: Callable[[Rows, PricePanel, int], Any],
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    rows = random_rows(seed)
    for k, trade in enumerate(rows["trades"]):
        trade["financed"] = k % 3 == 0
    history = BookHistory.load(write_lake(tmp_path, rows), panel)
    by_name = {f.name: f for f in BEHAVIOURAL_2.features}
    for t in (12, 45, 89):
        book, plain = history.as_of(panel.sessions[t].item()), plain_reading(rows, panel, t)
        for reference in REFERENCES:
            feature = by_name[reference.__name__]
            got = feature.values(book)
            for k, client in enumerate(plain.clients):
                expected = reference(plain, client)
                where = f"{feature.name} of {client} at session {t}"
                if expected is None:
                    assert got[k] == NULL, where
                    continue
                clipped = min(max(expected, feature.low), feature.high)
                assert got[k] != NULL, where
                assert abs(int(got[k]) - clipped * feature.one) <= TOLERANCE, where
