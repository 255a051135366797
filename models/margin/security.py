"""From price history to the market snapshot: the last place where floats are allowed.

Scenarios are filtered historical simulation (Barone-Adesi, Giannopoulos, Vosper 1999): joint
returns over the liquidation horizon, rescaled by today's volatility over the volatility then, the
factor capped because filtering over-reacts to a step in volatility (Gurrola-Perez & Murphy 2015).
The security margin is the larger of the filtered and the unscaled expected shortfall, so that it
does not melt away in calm times (an anti-procyclical floor).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE, FloatArray, IntArray
from features.panel import PricePanel
from models.policy import Policy

HORIZON_SESSIONS: Final = 5
"""A missed call, its deadline and the sale take about a week."""
LONG_WINDOW_SESSIONS: Final = 2520
SCENARIOS: Final = 500
MOST_RESCALING: Final = 2.0
FAST_DECAY: Final = 0.94
SLOW_DECAY: Final = 0.99
LEAST_OWN_HISTORY: Final = 250
LEAST_MARGIN: Final = 0.15


@dataclass(frozen=True)
class FirmTerms:
    """The lender's book-level terms of the night, minor units and 1e-6."""

    net_capital_amt: int
    headroom_amt: int
    utilisation: int
    tier_shift_bps: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)


def ewma_volatility(returns: FloatArray, decay: float) -> FloatArray:
    """Exponentially weighted daily volatility, shape (T, N), each row using returns up to that row.

    A missing return leaves the estimate as it was; it starts from the mean square of 20.
    """
    total, count = np.zeros(returns.shape[1]), np.zeros(returns.shape[1])
    variance = np.full(returns.shape[1], np.nan)
    out = np.full(returns.shape, np.nan)
    for t in range(len(returns)):
        r = returns[t]
        seen = ~np.isnan(r)
        square = np.where(seen, r * r, 0.0)
        starting = seen & (count < 20)
        total += np.where(starting, square, 0.0)
        count += starting
        variance = np.where(
            starting,
            total / np.maximum(count, 1),
            np.where(seen, decay * variance + (1.0 - decay) * square, variance),
        )
        out[t] = np.sqrt(variance)
    return out


def _expected_shortfall(moves: FloatArray, tail: float) -> FloatArray:
    """Mean loss of the worst tail of each column, ignoring NaN; NaN for an empty column."""
    ordered = np.sort(moves, axis=0)
    valid = (~np.isnan(ordered)).sum(axis=0)
    worst = np.maximum(np.ceil(valid * tail), 1).astype(int)
    summed = np.cumsum(np.where(np.isnan(ordered), 0.0, ordered), axis=0)
    if len(moves) == 0:
        return np.full(moves.shape[1], np.nan)
    mean = summed[np.minimum(worst, len(moves)) - 1, np.arange(moves.shape[1])] / worst
    return np.where(valid > 0, np.maximum(-mean, 0.0), np.nan)


class MarketHistory:
    """Returns and volatilities of a panel, computed once; ``snapshot(t)`` sees rows up to t."""

    def __init__(self, panel: PricePanel) -> None:
        self.panel = panel

    @cached_property
    def returns(self) -> FloatArray:
        """Simple returns, shape (T, N)."""
        return self.panel.simple_returns()

    @cached_property
    def volatility(self) -> FloatArray:
        """The larger of the fast and the slow EWMA volatility, shape (T, N)."""
        fast = ewma_volatility(self.returns, FAST_DECAY)
        return np.fmax(fast, ewma_volatility(self.returns, SLOW_DECAY))

    @cached_property
    def horizon_returns(self) -> FloatArray:
        """Compounded returns over the horizon ending at each row; NaN where any part is missing."""
        growth = 1.0 + self.returns
        out = np.full(growth.shape, np.nan)
        if len(growth) >= HORIZON_SESSIONS:
            product = np.ones((len(growth) - HORIZON_SESSIONS + 1, growth.shape[1]))
            for k in range(HORIZON_SESSIONS):
                product = product * growth[k : len(growth) - HORIZON_SESSIONS + 1 + k]
            out[HORIZON_SESSIONS - 1 :] = product - 1.0
        return out

    def scenarios(self, t: int) -> tuple[FloatArray, FloatArray]:
        """Filtered and unscaled horizon returns known at row t, (S, N), NaN where undefined."""
        first = max(HORIZON_SESSIONS, t + 1 - LONG_WINDOW_SESSIONS)
        ends = np.arange(first, t + 1)
        if len(ends) > SCENARIOS:
            ends = ends[np.linspace(0, len(ends) - 1, SCENARIOS).astype(int)]
        plain = self.horizon_returns[ends]
        before = self.volatility[ends - HORIZON_SESSIONS]
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = self.volatility[t][None, :] / before
        factor = np.clip(
            np.where(np.isfinite(factor), factor, 1.0), 1.0 / MOST_RESCALING, MOST_RESCALING
        )
        return plain * factor, plain

    def snapshot(
        self, t: int, policy: Policy, firm: FirmTerms, funding_bps: int | None
    ) -> MarketSnapshot:
        """The market snapshot of row t, every number quantised.

        ``funding_bps`` comes from the lake's funding curve; None takes the policy's own.
        """
        panel = self.panel
        if panel.currency != policy.currency:
            raise InputError(
                f"the market is in {panel.currency}, policy pack {policy.pack!r} in"
                f" {policy.currency}; choose the pack of the market"
            )
        filtered, plain = self.scenarios(t)
        tail = policy["tail_ratio"] / RATIO_ONE
        pool = float(_expected_shortfall(plain.reshape(-1, 1), tail)[0])
        own = _expected_shortfall(plain, tail)
        short = (~np.isnan(plain)).sum(axis=0) < LEAST_OWN_HISTORY
        unscaled = np.where(short, np.fmax(own, pool), own)
        shortfall = np.fmax(_expected_shortfall(filtered, tail), unscaled)
        shortfall = np.where(np.isnan(shortfall), 1.0, shortfall)
        multiple = policy["structural_multiple_ratio"] / RATIO_ONE
        margin = np.clip(shortfall * multiple, LEAST_MARGIN, 1.0)
        limit = np.where(panel.price_limit[t] == NULL, 0, panel.price_limit[t]) / RATIO_ONE
        locked = 1.0 - (1.0 - limit) ** (policy["call_deadline_sessions"] + 1)
        gap = np.clip(np.fmax(shortfall, locked), 0.0, 0.95)

        # a name without history in a scenario moves with the mean of those that have it
        moves = np.where(np.isnan(filtered), 0.0, filtered)
        counted = np.maximum((~np.isnan(filtered)).sum(axis=1, keepdims=True), 1)
        mean = moves.sum(axis=1, keepdims=True) / counted
        joint = np.clip(np.where(np.isnan(filtered), mean, filtered), -1.0, 1.0)

        def micro(values: FloatArray) -> IntArray:
            return np.ceil(values * RATIO_ONE).astype(np.int64)

        return MarketSnapshot(
            session=panel.sessions[t].astype("datetime64[D]").item(),
            mic=panel.mic,
            currency=panel.currency,
            symbols=panel.symbols,
            board=panel.board,
            price=panel.close[t],
            price_limit=panel.price_limit[t],
            haircut=panel.haircut[t],
            security_margin=micro(margin),
            gap_loss=micro(gap),
            expected_sale_shares=np.full(len(panel.symbols), NULL, dtype=np.int64),
            margin_eligible=panel.margin_eligible[t],
            collateral_eligible=panel.collateral_eligible[t],
            special_treatment=panel.special_treatment[t],
            suspended=panel.suspended[t],
            scenarios=np.floor(joint * RATIO_ONE).astype(np.int32),
            funding_bps=policy["funding_bps"] if funding_bps is None else funding_bps,
            net_capital_amt=firm.net_capital_amt,
            headroom_amt=firm.headroom_amt,
            utilisation=firm.utilisation,
            tier_shift_bps=firm.tier_shift_bps,
        )
