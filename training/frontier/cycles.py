"""How much a limit's required margin swings over time, against a limit on 99 % EWMA VaR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from data_contracts.units import NULL, FloatArray, IntArray
from features.panel import PricePanel
from models.margin.procyclical import Procyclicality, damped, procyclicality
from models.margin.scenarios import ScenarioSource
from models.margin.structural import LEVERAGE_GRID, limit_at, structural_risk
from training.frontier.windows import WINDOWS, Window, vintages

ACCOUNTS: Final = 100
STEP: Final = 5
PATHS: Final = 512
BUDGET: Final = 0.05
"""Chance of a forced sale, with its share of stress, that the fixed limit allows."""
VAR_QUANTILE: Final = 2.326
DECAY: Final = 0.94
VAR_SESSIONS: Final = 250
Progress = Callable[[str, int, int], None]


def accounts_of(panel: PricePanel, first: int, last: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Fixed portfolios of 1 to 15 names that have prices all through the rows, (n, 15) each."""
    there = np.flatnonzero((panel.close[first : last + 1] != NULL).all(axis=0))
    rng = np.random.default_rng(seed)
    symbol = np.full((ACCOUNTS, 15), -1, dtype=np.int64)
    weight = np.zeros((ACCOUNTS, 15))
    for k in range(ACCOUNTS):
        names = min(int(rng.integers(1, 16)), len(there))
        symbol[k, :names] = rng.choice(there, names, replace=False)
        share = rng.uniform(0.4, 1.6, names)
        weight[k, :names] = share / share.sum()
    return symbol, weight


def var_requirement(
    source: ScenarioSource, t: int, symbol: IntArray, weight: FloatArray
) -> FloatArray:
    """99 % EWMA VaR of each portfolio at row t, one session, shape (n,)."""
    rows = np.nan_to_num(source.returns[max(t - VAR_SESSIONS + 1, 1) : t + 1]).astype(np.float64)
    path = np.einsum("nk,tnk->tn", weight, rows[:, np.maximum(symbol, 0)])
    decay = DECAY ** np.arange(len(path))[::-1]
    return np.asarray(VAR_QUANTILE * np.sqrt((decay[:, None] * path**2).sum(axis=0) / decay.sum()))


def requirements(
    panel: PricePanel,
    source: ScenarioSource,
    window: Window,
    seed: int,
    stress: float,
    progress: Progress,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Required margin over time, (T, n) each: structural, structural undamped, VaR.

    Each is in units of its own mean over the window.
    """
    months = vintages(panel, window)
    first, last = int(months[0].rows[0]), int(months[-1].rows[-1])
    symbol, weight = accounts_of(panel, first, last, seed)
    used = np.unique(symbol[symbol >= 0])
    rows = np.arange(first, last + 1, STEP if window is not WINDOWS[-1] else 2 * STEP)
    ours, raw, var = [], [], []
    previous: FloatArray | None = None
    for k, t in enumerate(rows):
        scenarios = source.at(int(t), paths=PATHS, names=used, seed=seed)
        risk = structural_risk(scenarios, symbol, weight)
        chance = (1.0 - stress) * risk.forced + stress * risk.stressed
        asked = 1.0 / limit_at(chance, BUDGET, LEVERAGE_GRID)
        step = int(rows[1] - rows[0])
        previous = damped(asked, np.zeros(len(asked)), previous, step)
        ours.append(previous)
        raw.append(asked)
        var.append(var_requirement(source, int(t), symbol, weight))
        progress(f"procyclicality {window.name}", k + 1, len(rows))

    def scaled(series: list[FloatArray]) -> FloatArray:
        block = np.stack(series)
        return np.asarray(block / block.mean())

    return scaled(ours), scaled(raw), scaled(var)


def compare(
    panel: PricePanel,
    source: ScenarioSource,
    window: Window,
    seed: int,
    stress: float,
    progress: Progress,
) -> dict[str, Any]:
    """The three figures of each rule, and ours over the VaR limit's."""
    ours, raw, var = requirements(panel, source, window, seed, stress, progress)
    step = STEP if window is not WINDOWS[-1] else 2 * STEP
    found = {
        "structural": procyclicality(ours, step),
        "structural_undamped": procyclicality(raw, step),
        "var": procyclicality(var, step),
    }

    def figures(x: Procyclicality) -> dict[str, float]:
        return {
            "rise_20": round(x.largest_rise, 4),
            "peak_over_trough": round(x.peak_over_trough, 4),
            "account_rise_20_p95": round(x.account_rise_95, 4),
        }

    of = found["var"]
    return {
        **{name: figures(x) for name, x in found.items()},
        "ratio_to_var": {
            "rise_20": round(found["structural"].largest_rise / of.largest_rise, 4),
            "peak_over_trough": round(
                found["structural"].peak_over_trough / of.peak_over_trough, 4
            ),
            "account_rise_20_p95": round(
                found["structural"].account_rise_95 / of.account_rise_95, 4
            ),
        },
    }
