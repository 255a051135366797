"""The true hazard of a state: the share of inner paths on which something happens.

A path is a continuation of the market and fresh chance for the clients; they live it with the very
engine that made the state. All states of one market and session live the same P market paths. An
account that is closed on a path, nothing having happened, counts as one to which nothing happens:
the hazard is the probability of the event within the horizon, closing being a competing end.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from features.panel import PricePanel
from training.lab.compiled import compiled
from training.lab.engine import Clients, State, advance, new_state
from training.lab.generated.markets import GeneratedState
from training.lab.market import Market
from training.lab.mechanics import CALL, DEFAULT, EVENTS, FORCED_SALE, SHORTFALL, Logs, Terms
from training.lab.output import WIDTHS
from training.lab.random import client_key
from training.lab.rules import MarginRules
from training.lab.simulate import Stage
from training.lab.truth.onward import Continued, Past, Room, carry_on, past_of, room_of

HORIZON_SESSIONS: Final = 60
CALL_SESSIONS: Final = 20
LEAST_PATHS: Final = 500
OUTCOMES: Final = ("default", "call", "forced_sale")
"""A default, or a forced sale, within the horizon; a call or a default within the call's."""
_CHUNK: Final = 125
_ROWS: Final = 16_384
EVERY_PATH: Final = -1


@dataclass(frozen=True)
class Standing:
    """Clients at the close of a session of a generated market, ready to live on.

    Attributes
    ----------
    panel : the market, at least up to the session
    generated : where the market stands there
    who, state : the clients, as the engine takes them, at the end of the session
    """

    panel: PricePanel
    generated: GeneratedState
    rules: MarginRules
    terms: Terms
    session: int
    who: Clients
    state: State


@dataclass(frozen=True)
class Hazards:
    """What happened to n states on their inner paths.

    Attributes
    ----------
    paths : how many
    counts : int64, shape (n, 2, 3): paths with each of ``OUTCOMES``, of even and of odd number
    fresh : int64, shape (n, 3): 1 where it happened on one more path, of the state's own
    """

    paths: int
    counts: IntArray
    fresh: IntArray

    def of(self, outcome: str) -> FloatArray:
        """The true hazard, shape (n,)."""
        return np.asarray(self.counts.sum(axis=1)[:, OUTCOMES.index(outcome)] / self.paths)

    def standard_error(self, outcome: str) -> FloatArray:
        """Of the hazard, sqrt(p (1 - p) / P), shape (n,)."""
        p = self.of(outcome)
        return np.asarray(np.sqrt(p * (1.0 - p) / self.paths))

    def half(self, outcome: str, odd: bool) -> FloatArray:
        """The hazard on the paths of even, or of odd, number alone."""
        paths = self.paths // 2 if odd else self.paths - self.paths // 2
        return np.asarray(self.counts[:, int(odd), OUTCOMES.index(outcome)] / paths)


def stand(stage: Stage, generated: GeneratedState, who: Clients, session: int) -> Standing:
    """Let clients live the sessions of a generated market up to one of them.

    ``stage`` holds the market that ``generated`` is a state of; the state is the one that a book
    simulated on the stage passes through.
    """
    state, many = new_state(len(who.number)), len(who.number)
    advance(
        stage.market, stage.terms, stage.seed, who, state, _logs(0), 0, many, 0, session + 1
    )  # fmt: skip
    return Standing(stage.panel, generated, stage.rules, stage.terms, session, who, state)


def _logs(rows: int) -> Logs:
    """Logs with room for so many rows, and for no balance."""
    return Logs(
        np.empty((rows, 2 + max(WIDTHS)), dtype=np.int64), np.empty((0, 5), dtype=np.int64),
        np.zeros(3, dtype=np.int64), np.empty(0, dtype=np.int64),
    )  # fmt: skip


def realised(
    standing: Standing,
    stage: Stage,
    *,
    horizon: int = HORIZON_SESSIONS,
    call_horizon: int = CALL_SESSIONS,
) -> IntArray:
    """What became of the states on the outer path itself: 1 or 0, shape (n, 3), by ``OUTCOMES``.

    Raises
    ------
    InputError
        If the market ends before the horizon does.
    """
    t, clients = standing.session, len(standing.who.number)
    if t + horizon >= stage.sessions:
        raise InputError(
            f"{horizon} sessions after session {t} end beyond the market's {stage.sessions}"
        )
    state = State._make(x.copy() for x in standing.state)
    found = np.zeros((clients, len(OUTCOMES)), dtype=np.int64)
    logs = _logs(_ROWS)
    for i in range(clients):
        logs.used[0] = 0
        advance(
            stage.market, stage.terms, stage.seed, standing.who, state, logs, i, i + 1, t + 1,
            t + 1 + horizon,
        )  # fmt: skip
        _note(logs, t + call_horizon, found[i])
    return found


def some(who: Clients, chosen: IntArray) -> Clients:
    """Some of the clients, by place."""
    return Clients._make(x[chosen] for x in who)


def joined(parts: Sequence[Standing]) -> Standing:
    """The clients of several books on the same market and session, one after another."""
    who = Clients._make(np.concatenate(x) for x in zip(*(p.who for p in parts), strict=True))
    state = State._make(np.concatenate(x) for x in zip(*(p.state for p in parts), strict=True))
    return replace(parts[0], who=who, state=state)


def true_hazards(
    standing: Standing,
    seed: int,
    *,
    paths: int = LEAST_PATHS,
    horizon: int = HORIZON_SESSIONS,
    call_horizon: int = CALL_SESSIONS,
    fresh: IntArray | None = None,
    threads: int | None = None,
) -> Hazards:
    """Simulate what may become of each state, on ``paths`` paths of ``horizon`` sessions.

    Path ``p`` of the same seed is the same whatever the number of paths, states or threads; paths
    of one seed share chance between states of the same client number, so that states can be paired.

    Parameters
    ----------
    fresh : which further path each state lives alone, from 0; by default its place

    Raises
    ------
    InputError
        If a number is out of range.
    """
    if paths < 2 or not 1 <= call_horizon <= horizon:
        raise InputError(
            f"{paths} paths of {horizon} sessions with calls in {call_horizon}: ask for at least 2"
            " paths, and for calls within the horizon"
        )
    if not 0 <= seed < 2**63:
        raise InputError(f"a seed is a number from 0 to 2**63 - 1, not {seed}")
    clients = len(standing.who.number)
    alone = np.arange(clients) if fresh is None else fresh
    everywhere = np.full(clients, EVERY_PATH)
    chunks = [(low, min(low + _CHUNK, paths), everywhere) for low in range(0, paths, _CHUNK)]
    further = paths + (int(alone.max()) + 1 if clients else 0)
    chunks += [
        (low, min(low + _CHUNK, further), alone + paths) for low in range(paths, further, _CHUNK)
    ]
    drawn, t = standing.generated.drawn, standing.session
    continued = Continued(
        drawn.source,
        standing.generated.plan,
        standing.generated.state,
        int(client_key(seed, 0)) >> 1,
    )
    never = np.full((clients, 1), np.iinfo(np.int64).max)
    who = standing.who._replace(kyc_at=never)
    rules = standing.rules

    def part(chunk: tuple[int, int, IntArray]) -> IntArray:
        low, high, which = chunk
        past = past_of(standing.panel, standing.generated, t, horizon, rules.haircut_e6)
        market, room = room_of(standing.panel, rules, t, horizon)
        counts = np.zeros((clients, 2, len(OUTCOMES)), dtype=np.int64)
        logs = _logs(_ROWS)
        fits = _live_on(
            continued, past, market, room, standing.terms, int(client_key(seed, 1)) >> 1, who,
            standing.state, new_state(clients), logs, low, high, t, horizon, call_horizon, which,
            counts,
        )  # fmt: skip
        if not fits:
            raise RuntimeError(f"a client put out more than {_ROWS} rows on one path")
        return counts

    with ThreadPoolExecutor(max_workers=threads or os.cpu_count() or 1) as pool:
        found = list(pool.map(part, chunks))
    shared = sum(1 for low, _, _ in chunks if low < paths)
    nothing = np.zeros((clients, 2, len(OUTCOMES)), dtype=np.int64)
    return Hazards(
        paths,
        sum(found[:shared], start=nothing),
        sum(found[shared:], start=nothing).sum(axis=1),
    )


@compiled
def _note(logs: Logs, soon: int, count: IntArray) -> None:
    """Add one to the count of each of ``OUTCOMES`` that the rows tell of."""
    defaulted, called, sold = 0, 0, 0
    for r in range(min(logs.used[0], len(logs.rows))):
        if logs.rows[r, 0] != EVENTS:
            continue
        kind, early = logs.rows[r, 3], logs.rows[r, 2] <= soon
        if kind in (DEFAULT, SHORTFALL):
            defaulted = 1
        if early and kind in (DEFAULT, SHORTFALL, CALL):
            called = 1
        if kind == FORCED_SALE:
            sold = 1
    count[0] += defaulted
    count[1] += called
    count[2] += sold


@compiled
def _live_on(
    continued: Continued,
    past: Past,
    m: Market,
    room: Room,
    t: Terms,
    seed: int,
    who: Clients,
    saved: State,
    own: State,
    logs: Logs,
    low: int,
    high: int,
    session: int,
    horizon: int,
    call_horizon: int,
    which: IntArray,
    counts: IntArray,
) -> bool:
    """Let the states live the paths ``low`` to ``high``, and count what happens to them.

    ``which`` is the one path that a state lives, or ``EVERY_PATH``. False if a log overflowed.
    """
    first, last = session + 1, session + 1 + horizon
    for path in range(low, high):
        carry_on(continued, path, past, m, room, session)
        chance: Any = np.int64(client_key(seed, path) >> np.uint64(1))
        own.totals[:], own.holdings[:], own.loans[:] = saved.totals, saved.holdings, saved.loans
        own.margin[:], own.mind[:] = saved.margin, saved.mind
        for i in range(len(which)):
            if which[i] >= 0 and which[i] != path:
                continue
            logs.used[0] = 0
            advance(m, t, chance, who, own, logs, i, i + 1, first, last)
            if logs.used[0] > len(logs.rows):
                return False
            _note(logs, session + call_horizon, counts[i, path % 2])
    return True
