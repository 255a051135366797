"""A small rough market, and what the tests of generated markets look at."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_contracts.lake import LakeInfo, create_lake, write_shared
from data_contracts.units import NULL
from features.panel import PricePanel
from training.lab.generated import Settings
from training.lab.market import tradable

DAY = dt.date(2001, 1, 6)  # a Saturday: the market begins on the Monday
T, N = 600, 24
UNSCALED = Settings(lowest=1.0, highest=1.0)


def rough_panel() -> PricePanel:
    """Two boards with limits of 10 % and 20 %, special treatment at 5 %, crashes, suspensions."""
    rng = np.random.default_rng(3)
    variance, market = 0.015**2, np.zeros(T)
    for t in range(T):
        market[t] = rng.normal(0.0035, np.sqrt(variance))
        variance = 1.2e-5 + 0.14 * market[t] ** 2 + 0.83 * variance
    market[300:308] -= 0.07
    market[520:524] -= 0.05
    own = rng.normal(0.0, 1.0, (T, N)) * np.linspace(0.012, 0.040, N)
    limit = np.full((T, N), 100_000, dtype=np.int64)
    limit[:, 16:] = 200_000
    special = np.zeros((T, N), dtype=bool)
    special[200:420, 4] = special[:, 5] = True
    limit[special] = 50_000
    price = np.linspace(60_000, 400_000, N).astype(np.int64) // 100 * 100
    close, pre = (np.full((T, N), NULL, dtype=np.int64) for _ in range(2))
    suspended = np.zeros((T, N), dtype=bool)
    for k, start, length in ((1, 90, 17), (7, 302, 40), (12, 450, 5), (18, 200, 60), (2, 480, 9)):
        suspended[start : start + length, k] = True
    debt = np.zeros(N)
    for t in range(T):
        reference = price.copy()
        if t == 150:
            reference[3] = price[3] // 200 * 100  # two for one
        debt += np.log1p(np.clip(market[t] * np.linspace(0.7, 1.5, N) + own[t], -0.5, 0.5))
        wanted = reference * np.exp(debt)
        up, down = ((reference * (1e6 + s * limit[t]) / 1e8 + 0.5) // 1 * 100 for s in (1, -1))
        new = np.clip((wanted / 100 + 0.5) // 1 * 100, down, up).astype(np.int64)
        price = np.where(suspended[t], reference, new)
        debt = np.where(suspended[t], debt, np.log(wanted / new) * ((new <= down) | (new >= up)))
        close[t], pre[t] = price, reference
    close[500:, 9] = close[:120, 10] = NULL
    pre[close == NULL] = NULL
    volume = rng.integers(10_000, 900_000, (T, N)) * np.linspace(1, 5, N).astype(np.int64)
    volume[suspended] = 0
    volume[close == NULL] = NULL
    days = np.busday_offset(np.datetime64("2013-07-01"), np.arange(T), roll="forward")
    return PricePanel(
        mic="XSHG",
        currency="CNY",
        sessions=days,
        close_at=(days + np.timedelta64(7, "h")).astype("datetime64[us]"),
        symbols=tuple(f"S{k:03d}" for k in range(N)),
        close=close,
        pre_close=pre,
        volume_shares=volume,
        suspended=suspended,
        price_limit=limit,
        haircut=np.where(special, 0, 650_000),
        margin_eligible=~special,
        collateral_eligible=~special,
        special_treatment=special,
        board=("main",) * 16 + ("star",) * 8,
        index_close=np.full(T, NULL, dtype=np.int64),
    )


def same(a: PricePanel, b: PricePanel, sessions: int | None = None) -> bool:
    """Whether panels are equal, or their first sessions are."""
    for field in fields(PricePanel):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            x, y = x[:sessions], y[:sessions]
            if x.dtype != y.dtype or x.tobytes() != y.tobytes():
                return False
        elif x != y:
            return False
    return True


def locked(panel: PricePanel) -> tuple[Any, Any]:
    """Locked up and locked down, shape (T, N)."""
    buyable, sellable = tradable(panel)
    trading = (panel.close != NULL) & ~panel.suspended
    return trading & ~buyable, trading & ~sellable


def autocorrelation(values: Any, lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def mean_correlation(panel: PricePanel) -> float:
    """Mean correlation of two names over the sessions in which both have a return."""
    returns = np.ma.masked_invalid(panel.simple_returns()[1:])
    matrix = np.ma.corrcoef(returns, rowvar=False)
    names = len(panel.symbols)
    return float((matrix.sum() - names) / (names * (names - 1)))


def write_market(panel: PricePanel, folder: Path) -> None:
    """A panel as a market folder."""
    create_lake(folder, LakeInfo(panel.currency, panel.mic, 1, "test"))
    at, name = np.nonzero(panel.close != NULL)
    known = panel.close_at[at]
    stamps = {"event_at": known, "known_at": known + np.timedelta64(30, "m")}
    nothing = np.full(len(at), NULL, dtype=np.int64)
    texts = pa.array(panel.symbols).take(pa.array(name))
    write_shared(
        folder,
        "bars",
        {
            "symbol": texts,
            "mic": pa.array([panel.mic] * len(at)),
            "session": panel.sessions[at],
            **dict.fromkeys(("open", "high", "low", "turnover_amt"), nothing),
            "close": panel.close[at, name],
            "pre_close": panel.pre_close[at, name],
            "volume_shares": panel.volume_shares[at, name],
            "suspended": panel.suspended[at, name],
            **stamps,
        },
    )
    names = len(panel.symbols)
    first = np.repeat(panel.close_at[:1] - np.timedelta64(1, "D"), names)
    write_shared(
        folder,
        "instruments",
        {
            "symbol": list(panel.symbols),
            "mic": [panel.mic] * names,
            "session": np.repeat(panel.sessions[:1], names),
            "board": list(panel.board),
            "currency": [panel.currency] * names,
            "price_limit_ratio": panel.price_limit[0],
            "collateral_haircut_ratio": panel.haircut[0],
            "margin_eligible": panel.margin_eligible[0],
            "collateral_eligible": panel.collateral_eligible[0],
            "is_special_treatment": panel.special_treatment[0],
            "listed_on": pa.nulls(names, pa.date32()),
            "industry": pa.nulls(names, pa.string()),
            "float_shares": np.full(names, NULL, dtype=np.int64),
            "event_at": first,
            "known_at": first,
        },
    )
    opens = panel.close_at - np.timedelta64(6, "h")
    write_shared(
        folder,
        "sessions",
        {
            "mic": [panel.mic] * len(opens),
            "session": panel.sessions,
            "open_at": opens,
            "close_at": panel.close_at,
            "event_at": opens,
            "known_at": opens - np.timedelta64(1, "D"),
        },
    )


def with_volumes(panel: PricePanel, shares: int) -> PricePanel:
    """The panel with volumes about a number of shares a session."""
    volume = np.random.default_rng(2).integers(shares // 2, shares * 2, panel.close.shape)
    idle = panel.suspended | (panel.close == NULL)
    return replace(panel, volume_shares=np.where(idle, 0, volume))


def hashes(folder: Path) -> dict[str, str]:
    """The files of a folder by hash."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
