"""Generated markets: filtered historical simulation of a whole market, and what may follow it.

Sessions of a real market are drawn in blocks of random length (stationary bootstrap: Politis and
Romano 1994), all names of a session together. At the head of a block its returns are scaled to the
volatility that the generated market has reached; the factor is capped (Gurrola-Perez and Murphy
2024) and fades to one within the block, so that the level of the source's volatility is kept.
What a price limit cuts off a move is carried to the next session.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.errors import InputError
from data_contracts.units import NULL, BoolArray, IntArray
from features.panel import DateArray, PricePanel
from training.lab.generated.kernel import (
    MOST,
    Plan,
    State,
    Trace,
    advance,
    advance_many,
    path_key,
)
from training.lab.generated.source import HALT, KIND, UNUSABLE, Drawn, draw_from
from training.lab.random import client_key

SESSIONS_PER_YEAR: Final = 252
MOST_SHARES: Final = 10**15
MOST_TURNOVER: Final = 10**17
MAX_SESSIONS: Final = 1_000_000
_CHUNK = 16
"""Continuations handed to a thread at a time; no result depends on it."""


@dataclass(frozen=True)
class Settings:
    """How sessions are drawn and rescaled.

    Attributes
    ----------
    block_sessions : mean length of a block
    lowest, highest : bounds of the factor on returns at the head of a block
    fade_sessions : sessions after which half of the rescaling of variance is gone
    """

    block_sessions: float = 20.0
    lowest: float = 0.5
    highest: float = 2.0
    fade_sessions: float = 10.0

    def plan(self) -> Plan:
        """The settings as the kernel takes them."""
        if not (self.block_sessions >= 1 and self.fade_sessions > 0):
            raise InputError("a block has at least one session, and rescaling fades in more than 0")
        if not 0 < self.lowest <= 1 <= self.highest:
            raise InputError(
                f"bounds of the factor are {self.lowest} and {self.highest}, not about 1"
            )
        kept = 0.5 ** (1.0 / self.fade_sessions)
        return Plan(1.0 / self.block_sessions, self.lowest**2, self.highest**2, kept)


SETTINGS: Final = Settings()


@dataclass(frozen=True)
class GeneratedMarket:
    """A generated panel and its origin.

    Attributes
    ----------
    flags : uint8, shape (T, N), those of ``training.lab.market`` with ``SUSPENDED``, ``SPECIAL``
    row, name : int32, shape (T, N), the source session and source name of each cell; names count
        among ``symbols``
    market_row : int32, shape (T,), the source session the market as a whole was drawn from
    """

    panel: PricePanel
    flags: npt.NDArray[np.uint8]
    row: npt.NDArray[np.int32]
    name: npt.NDArray[np.int32]
    market_row: npt.NDArray[np.int32]


@dataclass(frozen=True)
class GeneratedState:
    """Where a generated market stands after a session: what its continuations start from.

    ``drawn`` and ``plan`` are those of the market; ``state`` holds closes, carried moves, halts,
    the market's variances.
    """

    drawn: Drawn
    plan: Plan
    state: State

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names, in the order of the continuations' last axis."""
        return self.drawn.panel.symbols

    @property
    def volatility(self) -> float:
        """Daily volatility of the market, known after the session."""
        return float(np.sqrt(self.state.market[:2].max()))


@dataclass(frozen=True)
class Continuations:
    """P continuations of a market over H sessions and N names.

    Attributes
    ----------
    close : int32 in 0.0001, shape (P, H, N); the reference price is the close before
    flags : uint8, shape (P, H, N), those of ``training.lab.market`` with ``SUSPENDED``, ``SPECIAL``
    index_close : int64 in 0.0001, shape (P, H), ``NULL`` where the source has no index
    """

    close: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    index_close: IntArray


def market_years(panel: PricePanel) -> float:
    """Length of a market in years of 252 sessions."""
    return len(panel.sessions) / SESSIONS_PER_YEAR


def sessions_of(years: float) -> int:
    """Sessions of a number of market years."""
    return round(years * SESSIONS_PER_YEAR)


def generate(
    source: PricePanel,
    seed: int,
    *,
    sessions: int,
    first_day: dt.date,
    symbols: int | None = None,
    settings: Settings = SETTINGS,
) -> PricePanel:
    """A market of ``sessions`` weekdays from ``first_day``, drawn from a real one.

    The first sessions do not depend on how many follow. ``symbols`` takes that many of the names,
    the same for each seed. Every name is listed throughout, starts at its last price in the source,
    and pays nothing out: returns are those over the exchange's reference price. Limits, haircuts,
    eligibility and special treatment of a session are those of the cell that was drawn.

    Raises
    ------
    InputError
        If the source is too short or a number is out of range.
    """
    return generate_traced(
        source, seed, sessions=sessions, first_day=first_day, symbols=symbols, settings=settings
    ).panel


def generate_traced(
    source: PricePanel,
    seed: int,
    *,
    sessions: int,
    first_day: dt.date,
    symbols: int | None = None,
    settings: Settings = SETTINGS,
) -> GeneratedMarket:
    """As ``generate``, with the source session and name of each cell."""
    _check(seed, sessions)
    drawn = draw_from(source, symbols)
    state = _start(drawn)
    shape = (sessions, len(drawn.panel.symbols))
    close = np.empty(shape, dtype=np.int64)
    flags = np.empty(shape, dtype=np.uint8)
    index = np.full(sessions, NULL, dtype=np.int64)
    trace = _trace(shape)
    key = np.uint64(path_key(seed, 0))
    advance(drawn.source, settings.plan(), state, key, False, True, close, flags, index, trace)
    panel = _panel(drawn, close, index, trace, weekdays(first_day, sessions))
    return GeneratedMarket(panel, flags, trace.row, trace.donor, trace.market)


def generate_many(
    source: PricePanel,
    seed: int,
    *,
    years: float,
    first_day: dt.date,
    sessions: int = 10 * SESSIONS_PER_YEAR,
    symbols: int | None = None,
    settings: Settings = SETTINGS,
) -> Iterator[PricePanel]:
    """Independent markets of ``sessions`` each that hold at least ``years`` market years together.

    Every one starts from the source's last prices on ``first_day``, with a seed of its own.
    """
    _check(seed, sessions)
    for number in range(-(-sessions_of(years) // sessions)):
        yield generate(
            source, seed_of(seed, number), sessions=sessions, first_day=first_day,
            symbols=symbols, settings=settings,
        )  # fmt: skip


def seed_of(seed: int, number: int) -> int:
    """The seed of the market ``number`` of ``generate_many``."""
    return int(client_key(seed, number)) >> 1


def state_after(
    source: PricePanel,
    seed: int,
    *,
    session: int,
    symbols: int | None = None,
    settings: Settings = SETTINGS,
) -> GeneratedState:
    """Where the market of ``generate`` with the same arguments stands after a session's close.

    ``session`` counts from 0. The market is generated once more up to there.
    """
    _check(seed, session + 1)
    drawn, plan = draw_from(source, symbols), settings.plan()
    state = _start(drawn)
    shape = (session + 1, len(drawn.panel.symbols))
    close, flags = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.uint8)
    index = np.empty(session + 1, dtype=np.int64)
    key = np.uint64(path_key(seed, 0))
    advance(drawn.source, plan, state, key, False, True, close, flags, index, _trace((0, 0)))
    return GeneratedState(drawn, plan, state)


def continuations(
    generated: GeneratedState, seed: int, *, paths: int, horizon: int, threads: int | None = None
) -> Continuations:
    """What may follow a state: ``paths`` continuations of ``horizon`` sessions.

    They share the state's prices, carried moves and market volatility. The next block is drawn
    afresh; a suspended name, and one locked at its limit, goes on from a source cell of the same
    kind, drawn for each path. Path ``p`` depends on neither the number of paths nor
    the threads.

    Raises
    ------
    InputError
        If a number is out of range or a price is too high for int32.
    """
    _check(seed, horizon)
    if paths < 1 or (threads is not None and threads < 1):
        raise InputError(f"{paths} paths on {threads} threads; ask for at least one of each")
    names = len(generated.symbols)
    if int(generated.state.close.max()) > MOST // 2:
        raise InputError("a price is above 100000; leave that name out of the source")
    close = np.empty((paths, horizon, names), dtype=np.int32)
    flags = np.empty((paths, horizon, names), dtype=np.uint8)
    index = np.full((paths, horizon), NULL, dtype=np.int64)
    nothing = _trace((0, 0))

    def chunk(low: int) -> None:
        part = slice(low, low + _CHUNK)
        advance_many(
            generated.drawn.source, generated.plan, generated.state, seed, low,
            close[part], flags[part], index[part], nothing,
        )  # fmt: skip

    with ThreadPoolExecutor(max_workers=threads or os.cpu_count() or 1) as pool:
        list(pool.map(chunk, range(0, paths, _CHUNK)))
    return Continuations(close, flags, index)


def weekdays(first_day: dt.date, sessions: int) -> DateArray:
    """Mondays to Fridays from a day on."""
    start = np.datetime64(first_day, "D")
    return np.busday_offset(start, np.arange(sessions), roll="forward")


def _check(seed: int, sessions: int) -> None:
    if not 0 <= seed < 2**63:
        raise InputError(f"a seed is a number from 0 to 2**63 - 1, not {seed}")
    if not 1 <= sessions <= MAX_SESSIONS:
        raise InputError(f"a market has 1 to {MAX_SESSIONS} sessions, not {sessions}")


def _start(drawn: Drawn) -> State:
    names = len(drawn.start)
    level = drawn.panel.index_close[-1] if len(drawn.source.index_moves) else 0
    return State(
        close=drawn.start.copy(),
        carry=np.ones(names),
        status=np.full(names, UNUSABLE, dtype=np.uint8),
        donor=np.full(names, -1, dtype=np.int32),
        halt=np.full(names, -1, dtype=np.int32),
        clock=np.zeros(3, dtype=np.int64),
        market=np.array([0.0, 0.0, 0.0, float(level)]),
    )


def _trace(shape: tuple[int, int]) -> Trace:
    return Trace(
        reference=np.empty(shape, dtype=np.int64),
        row=np.empty(shape, dtype=np.int32),
        donor=np.empty(shape, dtype=np.int32),
        market=np.empty(shape[0], dtype=np.int32),
    )


def _panel(
    drawn: Drawn, close: IntArray, index: IntArray, trace: Trace, days: DateArray
) -> PricePanel:
    """The generated panel: prices as made, everything else from the cell that was drawn."""
    old, cell = drawn.panel, (trace.row, trace.donor)
    kind = drawn.source.cells[cell] & KIND
    # The latest clock time, in UTC, at which the source ever closed.
    clock = (old.close_at - old.close_at.astype("datetime64[D]")).max()
    suspended = kind >= HALT
    volume = _volume(old, trace, suspended, close)
    return replace(
        old,
        sessions=days,
        close_at=(days + clock).astype("datetime64[us]"),
        close=close,
        pre_close=trace.reference,
        volume_shares=volume,
        suspended=suspended,
        price_limit=old.price_limit[cell],
        haircut=old.haircut[cell],
        margin_eligible=old.margin_eligible[cell],
        collateral_eligible=old.collateral_eligible[cell],
        special_treatment=old.special_treatment[cell],
        index_close=index,
        # A name keeps its industry; what is dated or published about it belongs to the real market.
        industry=None if old.industry is None else np.repeat(old.industry[-1:], len(days), axis=0),
        listed_on=None,
        turnover_amt=None if old.turnover_amt is None else _turnover(close, volume),
        financing_amt=None,
        float_value_amt=None,
    )


def _turnover(close: IntArray, volume: IntArray) -> IntArray:
    """Value traded in minor units, at the close; ``NULL`` where the volume is."""
    value = np.minimum(close.astype(np.float64) * volume / 100.0, MOST_TURNOVER)
    return np.where(volume == NULL, NULL, value.astype(np.int64))


def _volume(old: PricePanel, trace: Trace, suspended: BoolArray, close: IntArray) -> IntArray:
    """Shares traded: the cell's, at the scale of the name itself, more after each split."""
    traded = (old.volume_shares > 0) & ~old.suspended
    total = np.where(traded, old.volume_shares, 0).sum(axis=0, dtype=np.float64)
    usual = np.where(traded.any(axis=0), total / np.maximum(traded.sum(axis=0), 1), 1.0)
    split = np.ones(close.shape)
    split[1:] = np.where(suspended[1:], 1.0, close[:-1] / trace.reference[1:])
    shares = old.volume_shares[trace.row, trace.donor]
    own = usual[None, :] / usual[trace.donor] * np.minimum(np.cumprod(split, axis=0), MOST_SHARES)
    scaled = np.clip(np.rint(np.maximum(shares, 0) * own), 1, MOST_SHARES).astype(np.int64)
    out = np.where(shares == NULL, NULL, np.where(shares == 0, 0, scaled))
    return np.where(suspended & (shares != NULL), 0, out)
