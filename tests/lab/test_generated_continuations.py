"""What may follow a generated market goes on from where it stands."""

from __future__ import annotations

import numpy as np

from features.panel import PricePanel
from tests.lab.markets import (
    N,
    locked,
    rough_panel,
)
from training.lab.generated import (
    SUSPENDED,
    GeneratedMarket,
    continuations,
    state_after,
)
from training.lab.market import SELLABLE


def test_continuations_depend_on_neither_threads_nor_their_number(rough: PricePanel) -> None:
    state = state_after(rough, 7, session=120)
    before = state.state.close.copy()
    one = continuations(state, 9, paths=70, horizon=25, threads=1)
    two = continuations(state, 9, paths=70, horizon=25, threads=2)
    few = continuations(state, 9, paths=20, horizon=10, threads=1)
    assert one.close.tobytes() == two.close.tobytes()
    assert one.flags.tobytes() == two.flags.tobytes()
    assert np.array_equal(few.close, one.close[:20, :10])
    assert one.close.dtype == np.int32
    assert one.close.shape == one.flags.shape == (70, 25, N)
    assert np.array_equal(state.state.close, before)
    other = continuations(state, 10, paths=70, horizon=25)
    assert (other.close != one.close).mean() > 0.7
    assert len({path.tobytes() for path in one.close}) == 70


def test_continuations_go_on_from_the_generated_market(made: GeneratedMarket) -> None:
    """They start at its prices, within its limits, and with the moves that are carried."""
    found = 0
    panel = rough_panel()
    for session in range(150, 1800, 75):
        state = state_after(panel, 7, session=session)
        assert np.array_equal(state.state.close, made.panel.close[session])
        after = continuations(state, 1, paths=200, horizon=1).close[:, 0]
        change = after / made.panel.close[session] - 1
        assert np.abs(change).max() < 0.21
        for k in np.flatnonzero(np.abs(state.state.carry - 1) > 0.05):
            if not made.panel.suspended[session, k]:
                found += 1
                assert np.sign(change[:, k].mean()) == np.sign(state.state.carry[k] - 1)
    assert found > 0


def test_locks_and_suspensions_go_on_as_often_in_continuations(made: GeneratedMarket) -> None:
    """How often the next session is like this one: by the generated market, by continuations."""
    panel = rough_panel()
    down, halted = locked(made.panel)[1], made.panel.suspended
    really = float(down[1:][down[:-1]].mean()), float(halted[1:][halted[:-1]].mean())
    chosen = np.flatnonzero(down[:3000].sum(axis=1) >= 3)[::3]
    locks, halts = [], []
    for session in chosen:
        state = state_after(panel, 7, session=int(session))
        flags = continuations(state, 1, paths=100, horizon=1).flags[:, 0]
        locks.append(((flags & (SELLABLE | SUSPENDED)) == 0)[:, down[session]].ravel())
        halts.append(((flags & SUSPENDED) > 0)[:, halted[session]].ravel())
    assert abs(np.concatenate(locks).mean() - really[0]) < 0.15
    assert abs(np.concatenate(halts).mean() - really[1]) < 0.08


def test_continuations_of_a_turbulent_market_are_turbulent(sample: PricePanel) -> None:
    spread = []
    for session in range(100, 3000, 145):
        state = state_after(sample, 3, session=session)
        after = continuations(state, 1, paths=400, horizon=5)
        first = np.diff(np.log(after.index_close), axis=1)
        spread.append((state.volatility, float(first.std())))
    stated, seen = np.array(spread).T
    assert np.corrcoef(np.log(stated), np.log(seen))[0, 1] > 0.8
    assert 0.7 < np.median(seen / stated) < 1.4
