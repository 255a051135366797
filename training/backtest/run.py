"""``gearline backtest``: the VaR inside and the margin outside, board by board."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, FloatArray
from features.panel import PricePanel, load_panel
from models.margin.security import HORIZON_SESSIONS, MarketHistory
from models.margin.volatility import FAST_DECAY, ewma_volatility
from models.policy import Pack, load_pack
from training.backtest.tests_of_var import (
    Test,
    acerbi_szekely,
    christoffersen,
    independence,
    kupiec,
)

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
DONE, FOUND = 0, 1
VAR_CHANCE: Final = 0.01
ES_CHANCE: Final = 0.025
HISTORY: Final = 500
LEAST_NAMES: Final = 5
DRAWS: Final = 2000
REJECTED_BELOW: Final = 0.05
MARGIN_EVERY: Final = 5
GAP_DAYS: Final = 20


@dataclass(frozen=True)
class Forecasts:
    """One-session forecasts of an equal-weighted portfolio of a board, T sessions.

    Attributes
    ----------
    row : panel rows; ``result`` the portfolio's return
    var, es : losses as positive shares, 99 % and 97.5 %
    var_es : VaR at the ES's own chance
    scenarios : the rescaled history each forecast rests on, shape (T, HISTORY)
    """

    row: FloatArray
    result: FloatArray
    var: FloatArray
    es: FloatArray
    var_es: FloatArray
    scenarios: FloatArray


def board_returns(panel: PricePanel, board: str) -> FloatArray:
    """Equal-weighted mean return of a board's names, shape (T,); NaN with fewer than five."""
    mine = np.array([b == board for b in panel.board])
    returns = panel.simple_returns()[:, mine]
    count = (~np.isnan(returns)).sum(axis=1)
    total = np.where(np.isnan(returns), 0.0, returns).sum(axis=1)
    return np.where(count >= LEAST_NAMES, total / np.maximum(count, 1), np.nan)


def forecasts(series: FloatArray) -> Forecasts | None:
    """Filtered historical simulation of a return series; None with too short a history.

    The forecast for row t uses returns before t: the last 500, each over the EWMA volatility known
    before it, times the volatility known before t.
    """
    known = np.flatnonzero(~np.isnan(series))
    if len(known) < HISTORY + 60:
        return None
    r = series[known]
    sigma = np.empty(len(r))
    sigma[1:] = ewma_volatility(r[:, None], FAST_DECAY)[:-1, 0]
    sigma[0] = np.nan
    first = HISTORY + 20
    rows = np.arange(first, len(r))
    z = r / sigma
    window = np.lib.stride_tricks.sliding_window_view(z, HISTORY)[rows - HISTORY]
    scenarios = np.sort(window * sigma[rows, None], axis=1)

    def quantile(chance: float) -> FloatArray:
        # Hyndman and Fan's sixth: coverage is right for a quantile of a few hundred draws
        place = chance * (HISTORY + 1) - 1.0
        low = int(np.floor(place))
        share = place - low
        return -((1.0 - share) * scenarios[:, low] + share * scenarios[:, low + 1])

    worst = max(round(ES_CHANCE * HISTORY), 1)
    return Forecasts(
        known[rows].astype(np.float64), r[rows], quantile(VAR_CHANCE),
        -scenarios[:, :worst].mean(axis=1), quantile(ES_CHANCE), scenarios,
    )  # fmt: skip


def _test(found: Test) -> dict[str, Any]:
    return {
        "statistic": round(found.statistic, 4),
        "p_value": round(found.p_value, 5),
        "rejected": found.p_value < REJECTED_BELOW,
    }


def judge(made: Forecasts, seed: int) -> dict[str, Any]:
    """All tests of one board's forecasts."""
    hit = made.result < -made.var
    rng = np.random.default_rng(seed)
    pick = rng.integers(0, made.scenarios.shape[1], (DRAWS, len(made.result)))
    drawn = made.scenarios[np.arange(len(made.result))[None, :], pick]
    found = acerbi_szekely(made.result, made.var_es, made.es, ES_CHANCE, drawn)
    runs = np.flatnonzero(hit)
    return {
        "sessions": len(hit),
        "exceedances": int(hit.sum()),
        "expected": round(VAR_CHANCE * len(hit), 2),
        "kupiec": _test(kupiec(hit, VAR_CHANCE)),
        "independence": _test(independence(hit)),
        "christoffersen": _test(christoffersen(hit, VAR_CHANCE)),
        "acerbi_szekely": _test(found),
        "mean_var": round(float(made.var.mean()), 5),
        "worst_over_var": round(float((-made.result / made.var).max()), 3),
        "followed_within_5": int((np.diff(runs) <= 5).sum()),
    }


def losses_over(returns: FloatArray, horizon: int) -> FloatArray:
    """Loss of a name from each row to the first traded close at least ``horizon`` rows later, (T, N).

    So the gap on the resumption of a suspended name counts. NaN without such a close.
    """
    rows = len(returns)
    level = np.cumprod(1.0 + np.nan_to_num(returns), axis=0)
    at = np.where(np.isnan(returns), rows, np.arange(rows)[:, None])
    following = np.minimum.accumulate(at[::-1], axis=0)[::-1]
    out = np.full(returns.shape, np.nan)
    if rows <= horizon:
        return out
    end = following[horizon:]
    there = end < rows
    later = np.take_along_axis(level, np.minimum(end, rows - 1), axis=0)
    out[: rows - horizon] = np.where(there, 1.0 - later / level[: rows - horizon], np.nan)
    return out


def margins(
    panel: PricePanel, pack: Pack, history: MarketHistory, stages: Stages
) -> dict[str, dict[str, Any]]:
    """One-sided: how often a name's loss over a week passed its margin, by board, and sizes."""
    days = panel.sessions.astype("datetime64[D]")
    lost = losses_over(history.returns, HORIZON_SESSIONS)
    first = int(np.searchsorted(days, np.datetime64(pack.first_date)))
    rows = np.arange(max(first, 260), len(days) - HORIZON_SESSIONS, MARGIN_EVERY)
    boards = np.array(panel.board)
    sums = {b: np.zeros(5) for b in history.boards}
    previous: FloatArray | None = None
    for k, t in enumerate(rows):
        # a week that spans a gap in the data is none
        if (days[t + HORIZON_SESSIONS] - days[t]).astype(int) > GAP_DAYS:
            previous = None
            continue
        day = days[t].item()
        policy = pack.on(min(day, pack.last_date))
        found = history.margins(int(t), policy, previous=previous)
        previous = np.where(panel.close[t] != NULL, found.margin, np.nan)
        loss = lost[t]
        sigma = 2.326 * history.volatility[t] * np.sqrt(HORIZON_SESSIONS)
        for b in history.boards:
            ok = (boards == b) & ~np.isnan(loss) & (panel.close[t] != NULL) & ~np.isnan(sigma)
            sums[b] += [
                ok.sum(), (loss[ok] > found.margin[ok]).sum(), found.margin[ok].sum(),
                sigma[ok].sum(), (found.floor_source[ok] > 0).sum(),
            ]  # fmt: skip
        stages("margins", k + 1, len(rows))
    out = {}
    for b, (count, over, margin, var, pooled) in sums.items():
        if count:
            out[b] = {
                "name_weeks": int(count),
                "loss_above_margin": int(over),
                "share": round(over / count, 6),
                "within_1_percent": bool(over / count <= VAR_CHANCE),
                "mean_margin": round(margin / count, 5),
                "mean_var_of_a_week": round(var / count, 5),
                "margin_over_var": round(margin / max(var, 1e-12), 3),
                "floor_from_pool": round(pooled / count, 4),
            }
    return out


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``backtest LAKE``.

    Raises
    ------
    InputError
        If no board has 560 sessions of returns.
    """
    started = time.perf_counter()
    panel = load_panel(arguments.lake)
    kind = arguments.policy or ("cn" if panel.currency == "CNY" else "us")
    pack = load_pack(kind)
    if pack.currency != panel.currency:
        raise InputError(
            f"{arguments.lake} is in {panel.currency}, policy pack {kind!r} in {pack.currency};"
            " choose the pack of the market with --policy"
        )
    history = MarketHistory(panel)
    boards = []
    for board in history.boards:
        made = forecasts(board_returns(panel, board))
        if made is not None:
            boards.append({"board": board, **judge(made, arguments.seed)})
    if not boards:
        raise InputError(
            f"{arguments.lake}: a back-test needs {HISTORY + 60} sessions of at least {LEAST_NAMES}"
            " names on a board; import more prices"
        )
    outside = margins(panel, pack, history, stages)
    tests = ("kupiec", "independence", "christoffersen", "acerbi_szekely")
    failures = [
        {"board": row["board"], "test": name, "why": _why(row, name)}
        for row in boards
        for name in tests
        if row[name]["rejected"]
    ]
    failures += [
        {
            "board": b,
            "test": "margin",
            "why": f"{row['share']:.2%} of weeks lost more than the margin, above 1 %",
        }
        for b, row in outside.items()
        if not row["within_1_percent"]
    ]
    document = {
        "first": str(panel.sessions[0]),
        "last": str(panel.sessions[-1]),
        "boards": boards,
        "margins": [{"board": b, **row} for b, row in outside.items()],
        "failures": failures,
        "seconds": round(time.perf_counter() - started, 1),
    }
    return (FOUND if failures else DONE), document, _text(document)


def _why(row: dict[str, Any], name: str) -> str:
    """A rejection in words."""
    seen, wanted = row["exceedances"], row["expected"]
    if name == "kupiec":
        more = "more" if seen > wanted else "fewer"
        return f"{seen} exceedances, {more} than the {wanted:g} expected"
    if name == "acerbi_szekely":
        return "the losses beyond VaR were larger than the ES says"
    follow = row["followed_within_5"]
    if name == "independence":
        return f"{follow} of {seen} exceedances came within a week of another: volatility lags"
    return f"{seen} exceedances where {wanted:g} are expected, {follow} of them within a week"


def _text(document: dict[str, Any]) -> str:
    lines = [f"{document['first']} to {document['last']}"]
    for row in document["boards"]:
        p = {k: row[k]["p_value"] for k in ("kupiec", "independence", "christoffersen")}
        lines.append(
            f"{row['board']:<9} 99 % VaR: {row['exceedances']} of {row['sessions']:,} sessions"
            f" ({row['expected']:g} expected); Kupiec p {p['kupiec']:.3f}, independence"
            f" {p['independence']:.3f}, Christoffersen {p['christoffersen']:.3f}; ES: Z2"
            f" {row['acerbi_szekely']['statistic']:+.2f}, p {row['acerbi_szekely']['p_value']:.3f}"
        )
    for row in document["margins"]:
        lines.append(
            f"{row['board']:<9} margin: {row['share']:.3%} of {row['name_weeks']:,} weeks lost more;"
            f" mean {row['mean_margin']:.1%}, {row['margin_over_var']:.1f} times the week's VaR of"
            f" {row['mean_var_of_a_week']:.1%}"
        )
    for failure in document["failures"]:
        lines.append(f"! {failure['board']}, {failure['test']}: {failure['why']}")
    return "\n".join(lines)
