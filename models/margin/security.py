"""From price history to the market snapshot: the last place where floats are allowed.

    margin = 3/4 filtered ES + 1/4 stress ES + gap + liquidity + new listing

never below the ten-year unscaled ES, then the anti-procyclical layer (``procyclical``). The
filtered part is historical simulation rescaled by volatility (Barone-Adesi, Giannopoulos and Vosper
1999), the factor capped because filtering over-reacts to a step in volatility (Gurrola-Perez and
Murphy 2015).
``docs/margin.md`` states every term with its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot, ScenarioPaths
from data_contracts.units import NULL, RATIO_ONE, FloatArray, IntArray
from features.panel import PricePanel
from models.margin.liquidity import impact_cost, sessions_to_sell
from models.margin.locks import lock_loss, lock_sessions, locked_down
from models.margin.paths import LEAST_SESSIONS
from models.margin.procyclical import damped
from models.margin.tails import expected_shortfall, pooled, rescaled
from models.margin.volatility import FAST_DECAY, SLOW_DECAY, ewma_volatility, merged_locks
from models.policy import Policy

HORIZON_SESSIONS: Final = 5
"""A missed call, its deadline and the sale take about a week."""
LONG_WINDOW_SESSIONS: Final = 2520
SCENARIOS: Final = 500
MOST_RESCALING: Final = 2.0
LEAST_OWN_HISTORY: Final = 250
LEAST_MARGIN: Final = 0.15
FILTERED_WEIGHT: Final = 0.75
"""A quarter of weight on stressed observations (EMIR RTS 153/2013 art. 28, tool (b))."""
STRESSED_SHARE: Final = 0.05
"""The worst twentieth of the market's weeks are the stressed ones."""
NEW_LISTING_SESSIONS: Final = 60
NEW_LISTING_ADD_ON: Final = 0.10
VOLUME_SESSIONS: Final = 20
SIZES: Final = 3
OWN, POOL = 0, 1
FLOOR_SOURCES: Final = ("own", "pool")


@dataclass(frozen=True)
class FirmTerms:
    """The lender's book-level terms of the night, minor units and 1e-6."""

    net_capital_amt: int
    headroom_amt: int
    utilisation: int
    tier_shift_bps: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class SecurityMargins:
    """Margins of N names as of a session, shares of value, float64, shape (N,).

    Attributes
    ----------
    filtered, stressed : the two shortfalls, of the pool where a name's own history is short
    floor : ten-year unscaled shortfall; ``floor_source`` says whose, ``OWN`` or ``POOL``
    gap : what the lock adds to the shortfall; ``lock_sessions`` the locked sessions reckoned with
    liquidity : cost of the firm's expected sale, and a longer horizon where it takes sessions
    listing : add-on of a name listed less than 60 sessions
    raw : their sum within the bounds
    margin : after the anti-procyclical layer: what a call, its deadline and the sale may cost
    opening : equity asked for when a loan opens: the policy's multiple of the shortfall instead
    pool : number of the pool, board x 3 + third of turnover
    """

    filtered: FloatArray
    stressed: FloatArray
    floor: FloatArray
    floor_source: IntArray
    gap: FloatArray
    lock_sessions: IntArray
    liquidity: FloatArray
    listing: FloatArray
    raw: FloatArray
    margin: FloatArray
    opening: FloatArray
    pool: IntArray


class MarketHistory:
    """Returns and volatilities of a panel, computed once; ``snapshot(t)`` sees rows up to t."""

    def __init__(self, panel: PricePanel) -> None:
        self.panel = panel
        self.boards = tuple(sorted(set(panel.board)))
        self.board = np.array([self.boards.index(b) for b in panel.board], dtype=np.int64)
        self._drawn: tuple[tuple[int, int], ScenarioPaths] | None = None

    @cached_property
    def returns(self) -> FloatArray:
        """Simple returns, shape (T, N)."""
        return self.panel.simple_returns()

    @cached_property
    def limit(self) -> FloatArray:
        """Price limits as ratios, NaN for none, shape (T, N)."""
        given = self.panel.price_limit
        return np.where(given == NULL, np.nan, given / RATIO_ONE)

    @cached_property
    def locked(self) -> FloatArray:
        """1 where a name closed at its lower limit, shape (T, N)."""
        return locked_down(self.returns, self.limit).astype(np.float64)

    @cached_property
    def volatility(self) -> FloatArray:
        """The larger of the fast and the slow EWMA volatility, shape (T, N).

        A run of closes at the lower limit and the first free session count as one move, and as the
        moves that they were; the larger volatility holds.
        """
        slow = ewma_volatility(self.returns, SLOW_DECAY)
        plain = np.fmax(ewma_volatility(self.returns, FAST_DECAY), slow)
        if not bool(self.locked.any()):
            return plain
        merged = merged_locks(self.returns, self.locked)
        return np.fmax(plain, ewma_volatility(merged, FAST_DECAY))

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

    @cached_property
    def _market_weeks(self) -> FloatArray:
        """Mean horizon return over the names, shape (T,); NaN where none has one."""
        moves = self.horizon_returns
        count = (~np.isnan(moves)).sum(axis=1)
        total = np.where(np.isnan(moves), 0.0, moves).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def _window(self, t: int) -> IntArray:
        first = max(HORIZON_SESSIONS, t + 1 - LONG_WINDOW_SESSIONS)
        return np.arange(first, t + 1)

    def scenarios(self, t: int) -> tuple[FloatArray, FloatArray]:
        """Filtered and unscaled horizon returns known at row t, (S, N), NaN where undefined."""
        ends = self._window(t)
        if len(ends) > SCENARIOS:
            ends = ends[np.linspace(0, len(ends) - 1, SCENARIOS).astype(int)]
        plain = self.horizon_returns[ends]
        before = self.volatility[ends - HORIZON_SESSIONS]
        return rescaled(plain, before, self.volatility[t], MOST_RESCALING), plain

    def stress_moves(self, t: int) -> FloatArray:
        """Unscaled horizon returns in the market's worst weeks of the window, shape (S, N)."""
        ends = self._window(t)
        weeks = self._market_weeks[ends]
        ends = ends[~np.isnan(weeks)]
        count = int(np.ceil(len(ends) * STRESSED_SHARE))
        worst = np.argsort(self._market_weeks[ends], kind="stable")[:count]
        return self.horizon_returns[ends[np.sort(worst)]]

    def volume(self, t: int) -> FloatArray:
        """Mean shares traded over 20 sessions, NaN where unknown, shape (N,)."""
        rows = self.panel.volume_shares[max(t + 1 - VOLUME_SESSIONS, 0) : t + 1]
        known = rows != NULL
        total = np.where(known, rows, 0).sum(axis=0).astype(np.float64)
        count = known.sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def pool(self, t: int) -> IntArray:
        """Pool of each name: its board, and its third by traded value on the board."""
        close = np.where(self.panel.close[t] == NULL, 0, self.panel.close[t])
        traded = np.nan_to_num(self.volume(t)) * close
        size = np.zeros(len(traded), dtype=np.int64)
        for k in range(len(self.boards)):
            mine = np.flatnonzero(self.board == k)
            rank = np.argsort(np.argsort(traded[mine], kind="stable"), kind="stable")
            size[mine] = rank * SIZES // max(len(mine), 1)
        return self.board * SIZES + size

    def paths(self, t: int, policy: Policy) -> ScenarioPaths | None:
        """The scenario set of row t as it is published; the last one drawn is kept.

        None where the policy asks for no paths, or the market has less than a year of history.
        """
        count = policy.get("structural_paths", 0)
        if count < 1 or t < LEAST_SESSIONS or not bool((self.panel.close[t] > 0).any()):
            return None
        if self._drawn is None or self._drawn[0] != (t, count):
            # loads compiled loops, by those who need them
            from models.margin.published import published_paths

            self._drawn = ((t, count), published_paths(self.panel, t, count))
        return self._drawn[1]

    def margins(
        self,
        t: int,
        policy: Policy,
        *,
        previous: FloatArray | None = None,
        sessions: int = 1,
        sale_shares: FloatArray | None = None,
    ) -> SecurityMargins:
        """The security margins of row t.

        Parameters
        ----------
        previous : margins ``sessions`` sessions ago, NaN for a name that had none; None starts anew
        sale_shares : the firm's expected aggregate sale of each name; None if it is not known
        """
        filtered, plain = self.scenarios(t)
        tail = policy["tail_ratio"] / RATIO_ONE
        pool = self.pool(t)
        own = expected_shortfall(plain, tail)
        history = (~np.isnan(self.returns[max(t + 1 - LONG_WINDOW_SESSIONS, 0) : t + 1])).sum(
            axis=0
        )
        short = (~np.isnan(plain)).sum(axis=0) < min(LEAST_OWN_HISTORY, len(plain))
        short |= history < LEAST_OWN_HISTORY
        stands = pooled(own, pool, self.board, ~short)
        if bool(short.all()):
            everyone = expected_shortfall(plain.reshape(-1, 1), tail)
            stands = np.full(len(own), float(everyone[0]))
        floor = np.where(short, np.fmax(own, stands), own)
        floor = np.where(np.isnan(floor), 1.0, floor)
        now = np.fmax(expected_shortfall(filtered, tail), floor)
        now = np.where(np.isnan(now), 1.0, now)
        # of the worst weeks of the market the mean is the stress, not again the tail's tail
        stressed = expected_shortfall(self.stress_moves(t), 0.5)
        stressed = np.where(np.isnan(stressed), now, stressed)
        blend = FILTERED_WEIGHT * now + (1.0 - FILTERED_WEIGHT) * np.fmax(stressed, now)

        seen = slice(max(t + 1 - LONG_WINDOW_SESSIONS, 0), t + 1)
        least = policy["call_deadline_sessions"] + 1
        locks = lock_sessions(self.locked[seen] > 0, self.board, least)[self.board]
        gap = np.maximum(lock_loss(self.limit[t], locks) - blend, 0.0)

        sigma, volume = self.volatility[t], self.volume(t)
        sale = np.zeros(len(sigma)) if sale_shares is None else sale_shares
        takes = sessions_to_sell(sale, volume)
        liquidity = np.where(sale > 0, impact_cost(sigma, sale, volume), 0.0)
        liquidity += blend * (np.sqrt(1.0 + (takes - 1.0) / HORIZON_SESSIONS) - 1.0)
        listing = np.where(history < NEW_LISTING_SESSIONS, NEW_LISTING_ADD_ON, 0.0)

        raw = np.clip(blend + gap + liquidity + listing, LEAST_MARGIN, 1.0)
        special = self.panel.special_treatment[t]
        raw = np.where(special, np.maximum(raw, 2.0 * LEAST_MARGIN), raw)
        margin = np.clip(damped(raw, np.minimum(floor, 1.0), previous, sessions), LEAST_MARGIN, 1.0)
        multiple = policy["structural_multiple_ratio"] / RATIO_ONE
        opening = np.clip(margin + (multiple - 1.0) * blend, LEAST_MARGIN, 1.0)
        return SecurityMargins(
            filtered=now,
            stressed=stressed,
            floor=floor,
            floor_source=np.where(short, POOL, OWN),
            gap=gap,
            lock_sessions=locks,
            liquidity=liquidity,
            listing=listing,
            raw=raw,
            margin=margin,
            opening=opening,
            pool=pool,
        )

    def snapshot(
        self,
        t: int,
        policy: Policy,
        firm: FirmTerms,
        funding_bps: int | None,
        *,
        previous: FloatArray | None = None,
        sessions: int = 1,
        sale_shares: FloatArray | None = None,
    ) -> MarketSnapshot:
        """The market snapshot of row t, every number quantised.

        ``funding_bps`` comes from the lake's funding curve; None takes the policy's own. The others
        are as in ``margins``.
        """
        panel = self.panel
        if panel.currency != policy.currency:
            raise InputError(
                f"the market is in {panel.currency}, policy pack {policy.pack!r} in"
                f" {policy.currency}; choose the pack of the market"
            )
        found = self.margins(
            t, policy, previous=previous, sessions=sessions, sale_shares=sale_shares
        )
        locked = lock_loss(self.limit[t], found.lock_sessions)
        gap = np.clip(np.fmax(found.filtered, locked), 0.0, 0.95)
        expected = np.full(len(panel.symbols), NULL, dtype=np.int64)
        if sale_shares is not None:
            expected = np.ceil(sale_shares).astype(np.int64)

        # a name without history in a scenario moves with the mean of those that have it
        filtered, _ = self.scenarios(t)
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
            security_margin=micro(found.opening),
            gap_loss=micro(gap),
            expected_sale_shares=expected,
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
            damped_margin=micro(found.margin),
            paths=self.paths(t, policy),
        )
