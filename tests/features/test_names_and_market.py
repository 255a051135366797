"""The market and the names held: each feature against a plain reading of its entry."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.units import NULL
from features.asof import BookHistory
from features.panel import PricePanel
from features.sets import BEHAVIOURAL_3

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Reading = Callable[[Any, str], float | None]
TOLERANCE = 2
"""Quanta: the two sides add floats in different orders."""
LEAST_BETA = 50
"""The random market is too short for the 120 returns of the definition."""
REFERENCES: dict[str, Reading] = {}


def reading(function: Reading) -> Reading:
    """Note a plain reading under the name of its feature."""
    REFERENCES[function.__name__] = function
    return function


def over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below is not None and below > 0 else None


def column(p: Any, name: str, symbol: str, s: int) -> int | None:
    value = int(getattr(p.panel, name)[s, p.panel.symbols.index(symbol)])
    return None if value == NULL else value


def returns(p: Any, symbol: str, window: range) -> list[float | None]:
    out: list[float | None] = []
    k = p.panel.symbols.index(symbol)
    for s in window:
        before, now = (p.price(s - 1, symbol) if s else 0), p.price(s, symbol)
        known = before and now and not p.panel.suspended[s, k]
        out.append(now / before - 1 if known else None)
    return out


def weighted(pairs: list[tuple[float, float | None]]) -> float | None:
    """Mean by weight of what is known."""
    known = [(w, x) for w, x in pairs if x is not None]
    total = sum(w for w, _ in known)
    return sum(w * x for w, x in known) / total if total else None


@reading
def index_drawdown_250_sessions_ratio(p: Any, c: str) -> float | None:
    levels = [int(x) for x in p.panel.index_close[: p.t + 1]][-250:]
    return 1 - levels[-1] / max(levels) if len(levels) > 20 else None


@reading
def index_volatility_20_sessions_ratio(p: Any, c: str) -> float | None:
    levels = [int(x) for x in p.panel.index_close[: p.t + 1]]
    steps = [levels[k] / levels[k - 1] - 1 for k in range(max(1, p.t - 19), p.t + 1)]
    return statistics.stdev(steps) if len(steps) >= 10 else None


@reading
def beta(p: Any, c: str) -> float | None:
    window, levels = p.window(250), [int(x) for x in p.panel.index_close]
    pairs: list[tuple[float, float | None]] = []
    for symbol, value in p.values(c).items():
        both = [
            (levels[s] / levels[s - 1] - 1, r)
            for s, r in zip(window, returns(p, symbol, window), strict=True)
            if s and r is not None
        ]
        slope = statistics.linear_regression(*zip(*both, strict=True)).slope if both[1:] else None
        pairs.append((value, slope if len(both) >= LEAST_BETA else None))
    return weighted(pairs)


@reading
def lottery_share(p: Any, c: str) -> float | None:
    values, window = p.values(c), p.window(60)
    names = {}
    for symbol in p.panel.symbols:
        known = [r for r in returns(p, symbol, window) if r is not None]
        if len(known) >= 40 and p.price(p.t, symbol):
            names[symbol] = (p.price(p.t, symbol), statistics.stdev(known), max(known))
    total = sum(values.values())
    if p.t + 1 < 40 or not total:
        return None
    middle = [statistics.median(x[k] for x in names.values()) for k in range(3)] if names else []
    chosen = [
        k for k, x in names.items() if x[0] < middle[0] and x[1] > middle[1] and x[2] > middle[2]
    ]
    held: float = sum(values.get(k, 0) for k in chosen) / total
    return held


@reading
def largest_industry_ratio(p: Any, c: str) -> float | None:
    sums: dict[int, int] = {}
    for symbol, value in p.values(c).items():
        code = int(p.panel.industry[p.t, p.panel.symbols.index(symbol)])
        if code >= 0:
            sums[code] = sums.get(code, 0) + value
    return over(max(sums.values(), default=0), sum(sums.values()))


@reading
def new_listing_share(p: Any, c: str) -> float | None:
    pairs: list[tuple[float, float | None]] = []
    for symbol, value in p.values(c).items():
        listed = p.panel.listed_on[p.panel.symbols.index(symbol)].item()
        new = None if listed is None else float((p.days[p.t] - listed).days < 365)
        pairs.append((value, new))
    return weighted(pairs)


@reading
def price_impact_ratio(p: Any, c: str) -> float | None:
    pairs: list[tuple[float, float | None]] = []
    for symbol, value in p.values(c).items():
        known = [r for r in returns(p, symbol, p.window(60)) if r is not None]
        seen = [column(p, "turnover_amt", symbol, s) for s in p.window(20)]
        traded = [x for x in seen if x is not None]
        if len(known) < 40 or not traded:
            continue
        sigma, mean = statistics.stdev(known), sum(traded) / len(traded)
        cost = sigma * math.sqrt(value / 100 / mean) if mean else math.inf
        pairs.append((value, min(cost, 1.0)))
    return weighted(pairs)


@reading
def crowding_ratio(p: Any, c: str) -> float | None:
    return weighted(
        [
            (
                value,
                over(
                    column(p, "financing_amt", symbol, p.t),
                    column(p, "float_value_amt", symbol, p.t),
                ),
            )
            for symbol, value in p.values(c).items()
        ]
    )


def of_market(p: Any, s: int) -> tuple[int, int]:
    both = [
        (financed, tradable)
        for k in p.panel.symbols
        if (financed := column(p, "financing_amt", k, s)) is not None
        and (tradable := column(p, "float_value_amt", k, s)) is not None
    ]
    return sum(x for x, _ in both), sum(x for _, x in both)


@reading
def market_financing_ratio(p: Any, c: str) -> float | None:
    return over(*of_market(p, p.t))


@reading
def market_financing_growth_20_sessions_ratio(p: Any, c: str) -> float | None:
    if p.t < 20:
        return None
    now, then = of_market(p, p.t)[0], of_market(p, p.t - 20)[0]
    return now / then - 1 if now and then else None


def with_names(panel: PricePanel) -> PricePanel:
    """With industries (one changes), listings, turnover and margin debt, not all of them known."""
    rng, shape = np.random.default_rng(3), panel.close.shape
    industry = np.tile([0, 1, 0, -1], (shape[0], 1))
    industry[50:, 1] = 0
    turnover = rng.integers(10**5, 10**7, shape)
    turnover[:, 3], turnover[60:, 2], turnover[::7] = 0, NULL, NULL
    financed, tradable = rng.integers(0, 10**9, shape), rng.integers(10**9, 10**10, shape)
    financed[:15] = financed[:, 3] = tradable[30:, 1] = NULL
    listed = [np.datetime64(d) for d in ("2010-01-04", "2023-03-01", "2024-02-13", "NaT")]
    names = ("industry", "turnover_amt", "financing_amt", "float_value_amt")
    columns: dict[str, Any] = dict(
        zip(names, (industry, turnover, financed, tradable), strict=True)
    )
    days = np.array(listed, dtype="datetime64[D]")
    return replace(panel, **columns, listed_on=days)


@pytest.mark.parametrize("seed", [1, 2])
def test_each_feature_equals_a_plain_reading_of_its_entry(
    seed: int,
    panel: PricePanel,
    plain_reading: Callable[[Rows, PricePanel, int], Any],
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("features.definitions.risk.LEAST_BETA_RETURNS", LEAST_BETA)
    rows = random_rows(seed)
    panel = with_names(panel)
    history = BookHistory.load(write_lake(tmp_path, rows), panel)
    by_name = {f.name: f for f in BEHAVIOURAL_3.features}
    defined: set[str] = set()
    for t in (12, 45, 70, 89):
        book, plain = history.as_of(panel.sessions[t].item()), plain_reading(rows, panel, t)
        assert list(book.client_ids) == plain.clients
        for name, reference in REFERENCES.items():
            feature = by_name[name]
            got = feature.values(book)
            for k, client in enumerate(plain.clients):
                expected = reference(plain, client)
                where = f"{name} of {client} at session {t}"
                if expected is None:
                    assert got[k] == NULL, where
                    continue
                defined.add(name)
                clipped = min(max(expected, feature.low), feature.high)
                assert got[k] != NULL, where
                assert abs(int(got[k]) - clipped * feature.one) <= TOLERANCE, where
    assert defined == set(REFERENCES), "some feature was never defined"


def test_without_their_tables_the_features_of_names_are_null(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    told = with_names(panel)
    nothing = dict.fromkeys(
        ("industry", "listed_on", "turnover_amt", "financing_amt", "float_value_amt")
    )
    bare = PricePanel(**{**told.__dict__, **nothing})
    book = BookHistory.load(write_lake(tmp_path, random_rows(5)), bare).as_of(
        panel.sessions[80].item()
    )
    for f in BEHAVIOURAL_3.features:
        if f.function.__module__.endswith("securities"):
            assert np.all(f.values(book) == NULL), f.name
