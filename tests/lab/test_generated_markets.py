"""Generated markets keep what makes the source hard to lend on, and depend on the seed alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.units import NULL
from features.panel import PricePanel
from tests.lab.markets import (
    DAY,
    N,
    T,
    locked,
    same,
)
from training.lab.generated import (
    SPECIAL,
    SUSPENDED,
    GeneratedMarket,
    Settings,
    continuations,
    generate,
    generate_many,
    generate_traced,
    market_years,
    sessions_of,
    state_after,
)
from training.lab.generated.source import draw_from
from training.lab.market import BUYABLE, FINANCEABLE, LISTED, SELLABLE, limit_prices, tradable


@pytest.fixture(scope="module", params=["rough", "sample"])
def source(request: pytest.FixtureRequest) -> PricePanel:
    panel: PricePanel = request.getfixturevalue(request.param)
    return panel


def test_the_same_seed_gives_the_same_bytes(source: PricePanel) -> None:
    first, second = (generate(source, 5, sessions=300, first_day=DAY) for _ in range(2))
    assert same(first, second)


def test_the_first_sessions_do_not_depend_on_how_many_follow(source: PricePanel) -> None:
    long = generate(source, 5, sessions=900, first_day=DAY)
    short = generate(source, 5, sessions=250, first_day=DAY)
    assert same(long, short, 250)


def test_another_seed_changes_every_name_from_the_first_session_on(source: PricePanel) -> None:
    first, second = (generate(source, s, sessions=300, first_day=DAY) for s in (5, 6))
    differs = first.close != second.close
    assert differs.any(axis=0).all()
    assert differs.mean() > 0.95


def test_fewer_names_are_the_same_names_for_every_seed(rough: PricePanel) -> None:
    few = [generate(rough, s, sessions=50, first_day=DAY, symbols=9) for s in (1, 2)]
    assert few[0].symbols == few[1].symbols
    assert few[0].close.shape == (50, 9)
    assert set(few[0].symbols) < set(rough.symbols)
    assert [rough.board[rough.symbols.index(s)] for s in few[0].symbols] == list(few[0].board)


def test_sessions_are_weekdays_that_close_when_the_source_does(source: PricePanel) -> None:
    panel = generate(source, 1, sessions=60, first_day=DAY)
    assert panel.sessions[0] == np.datetime64("2001-01-08")
    assert np.is_busday(panel.sessions).all()
    assert len(np.unique(panel.sessions)) == 60
    clock = source.close_at - source.close_at.astype("datetime64[D]")
    assert np.all(panel.close_at - panel.sessions == clock.max())


def test_no_price_lies_beyond_its_limit_and_all_are_whole_ticks(made: GeneratedMarket) -> None:
    panel = made.panel
    up, down = limit_prices(panel)
    bound = (up != NULL) & ~panel.suspended
    assert bound.mean() > 0.9
    assert np.all(panel.close[bound] <= up[bound])
    assert np.all(panel.close[bound] >= down[bound])
    assert np.all(panel.close % 100 == 0)
    assert panel.close.min() >= 100


def test_flags_say_what_the_laboratory_reads_from_the_panel(made: GeneratedMarket) -> None:
    buyable, sellable = tradable(made.panel)
    for bit, block in (
        (BUYABLE, buyable), (SELLABLE, sellable), (SUSPENDED, made.panel.suspended),
        (SPECIAL, made.panel.special_treatment), (FINANCEABLE, made.panel.margin_eligible),
        (LISTED, made.panel.close > 0),
    ):  # fmt: skip
        assert np.array_equal((made.flags & bit) > 0, block)


def test_limits_and_special_treatment_are_those_of_the_session_drawn(
    rough: PricePanel, made: GeneratedMarket
) -> None:
    cell = made.row, made.name
    assert np.array_equal(made.panel.special_treatment, rough.special_treatment[cell])
    assert np.array_equal(made.panel.price_limit, rough.price_limit[cell])
    assert np.array_equal(made.panel.haircut, rough.haircut[cell])
    assert set(np.unique(made.panel.price_limit)) == {50_000, 100_000, 200_000}


def test_a_lock_of_the_source_is_a_lock_unless_an_opposite_move_is_carried(
    rough: PricePanel, made: GeneratedMarket
) -> None:
    for mine, its in zip(locked(made.panel), locked(rough), strict=True):
        there = its[made.row, made.name] & ~made.panel.suspended
        assert there.sum() > 500
        assert mine[there].mean() > 0.97


def test_what_the_limit_cuts_off_is_moved_in_the_next_session(
    rough: PricePanel, made: GeneratedMarket
) -> None:
    """Only names free in the source on both days: there the carry is the one cause."""
    moves, returns = rough.simple_returns()[made.row, made.name], made.panel.simple_returns()
    free = ~(locked(rough)[0] | locked(rough)[1])[made.row, made.name] & ~made.panel.suspended
    pair = free[:-1] & free[1:] & ~np.isnan(moves[1:])
    for side, sign in zip(locked(made.panel), (1, -1), strict=True):
        cut = pair & side[:-1]
        assert cut.sum() > 100
        assert sign * (returns[1:] - moves[1:])[cut].mean() > 0.005


def test_a_suspension_lasts_as_long_as_its_source_and_ends_with_its_gap(
    rough: PricePanel, made: GeneratedMarket
) -> None:
    lengths: dict[tuple[int, int], int] = {}
    for k in range(N):
        edges = np.flatnonzero(np.diff(rough.suspended[:, k].astype(int), prepend=0))
        lengths |= {(k, a): b - a for a, b in edges.reshape(-1, 2)}
    halted, runs = made.panel.suspended, 0
    returns, moves = made.panel.simple_returns(), rough.simple_returns()
    its_locks = locked(rough)[0] | locked(rough)[1]
    for k in range(N):
        edges = np.flatnonzero(np.diff(halted[:, k].astype(int), prepend=0))
        for a, b in edges[: len(edges) // 2 * 2].reshape(-1, 2):
            donor, start = made.name[a, k], made.row[a, k]
            assert b - a == lengths[donor, start]
            assert np.all(made.panel.close[a:b, k] == made.panel.close[a - 1, k])
            assert np.all(made.panel.volume_shares[a:b, k] == 0)
            assert (made.row[b, k], made.name[b, k]) == (start + b - a, donor)
            nothing_carried = made.flags[a - 1, k] & BUYABLE and made.flags[a - 1, k] & SELLABLE
            if nothing_carried and not its_locks[start + b - a, donor]:
                runs += 1
                tick = 100 / made.panel.pre_close[b, k]
                assert abs(returns[b, k] - moves[start + b - a, donor]) <= 0.51 * tick
    assert runs > 20
    assert 0.3 < halted.mean() / rough.suspended.mean() < 2.0


def test_a_name_keeps_its_own_rows_and_borrows_only_on_its_board(
    rough: PricePanel, made: GeneratedMarket
) -> None:
    own = made.name == np.arange(N)
    always = np.flatnonzero((rough.close != NULL).all(axis=0) & ~rough.suspended.any(axis=0))
    assert own[:, always].all()
    assert not own[:, [9, 10]].all()
    boards = np.array(rough.board)
    assert np.array_equal(boards[made.name], np.broadcast_to(boards, made.name.shape))
    follows = made.row == made.market_row[:, None]
    assert follows[:, always].all()
    # Fixed within a block: while the market goes on and the donor may be followed.
    goes_on = made.market_row[1:] == made.market_row[:-1] + 1
    both = goes_on[:, None] & follows[1:] & follows[:-1]
    changed = made.name[1:] != made.name[:-1]
    assert changed[both].mean() < 0.002


def test_volume_stays_positive_where_the_name_trades(made: GeneratedMarket) -> None:
    assert np.all(made.panel.volume_shares[~made.panel.suspended] > 0)


def test_what_a_source_tells_of_its_names_fits_the_generated_sessions(rough: PricePanel) -> None:
    """Industries are kept by name, turnover is price times volume, listing days are left out."""
    names, shape = len(rough.symbols), rough.close.shape
    told = replace(
        rough,
        industry=np.tile(np.arange(names, dtype=np.int64), (shape[0], 1)),
        listed_on=np.repeat(rough.sessions[:1], names),
        turnover_amt=np.full(shape, 10**9, dtype=np.int64),
        financing_amt=np.full(shape, 10**8, dtype=np.int64),
        float_value_amt=np.full(shape, 10**10, dtype=np.int64),
    )
    made = generate(told, 5, sessions=shape[0] + 40, first_day=DAY, symbols=names - 2)
    kept = [told.symbols.index(symbol) for symbol in made.symbols]
    assert made.industry is not None
    assert made.turnover_amt is not None
    assert np.all(made.industry == np.array(kept))
    assert made.industry.shape == made.turnover_amt.shape == made.close.shape
    known = made.volume_shares != NULL
    value = made.close[known] * made.volume_shares[known].astype(np.float64) / 100
    assert np.allclose(made.turnover_amt[known], value, rtol=1e-12, atol=1)
    assert np.all(made.turnover_amt[~known] == NULL)
    assert (made.listed_on, made.financing_amt, made.float_value_amt) == (None, None, None)
    assert np.array_equal(
        made.close,
        generate(rough, 5, sessions=shape[0] + 40, first_day=DAY, symbols=names - 2).close,
    )


def test_sessions_not_drawn_yet_change_nothing(rough: PricePanel) -> None:
    """Returns of the source later than any drawn so far are turned round; last prices stay."""
    trace = generate_traced(rough, 2, sessions=400, first_day=DAY)
    reached = np.maximum.accumulate(trace.row.max(axis=1))
    until = int(np.searchsorted(reached, T - 40))
    assert until > 20
    cut = int(reached[until - 1]) + 1
    close = rough.close.copy()
    later = slice(cut, T - 1)
    turned = np.maximum(2 * rough.pre_close[later] - close[later], 100)
    close[later] = np.where(close[later] == NULL, NULL, turned)
    close[:, 9] = rough.close[:, 9]  # its last price lies among them
    other = generate_traced(replace(rough, close=close), 2, sessions=400, first_day=DAY)
    assert np.array_equal(trace.panel.close[:until], other.panel.close[:until])
    assert not np.array_equal(trace.panel.close, other.panel.close)


def test_a_price_that_has_grown_beyond_reason_is_split_by_its_reference(sample: PricePanel) -> None:
    panel = generate(sample, 1, sessions=sessions_of(150), first_day=DAY)
    split = panel.pre_close[1:] != panel.close[:-1]
    assert 0 < split.sum() < 200
    assert np.all(panel.close[:-1][split] > 60 * panel.pre_close[1:][split])
    returns = panel.simple_returns()
    assert np.nanmax(np.abs(returns)) < 2 * np.nanmax(np.abs(sample.simple_returns()))
    assert panel.close.max() < 10**10


def test_two_hundred_market_years_are_two_hundred(rough: PricePanel) -> None:
    years = [market_years(p) for p in generate_many(rough, 1, years=200, first_day=DAY, symbols=4)]
    assert sum(years) == 200
    assert len(years) == 20


def test_independent_markets_have_seeds_of_their_own(rough: PricePanel) -> None:
    markets = list(generate_many(rough, 1, years=1, sessions=100, first_day=DAY, symbols=4))
    assert len(markets) == 3
    assert len({m.close.tobytes() for m in markets}) == 3


def test_what_cannot_be_generated_is_refused(rough: PricePanel) -> None:
    for arguments in ({"seed": -1}, {"sessions": 0}, {"symbols": 0}, {"symbols": N + 1}):
        asked: dict[str, Any] = {"seed": 1, "sessions": 10, "symbols": None} | arguments
        with pytest.raises(InputError):
            generate(rough, asked.pop("seed"), first_day=DAY, **asked)
    short = replace(
        rough, sessions=rough.sessions[:15], close=rough.close[:15], suspended=rough.suspended[:15],
        pre_close=rough.pre_close[:15], price_limit=rough.price_limit[:15],
        index_close=rough.index_close[:15],
        margin_eligible=rough.margin_eligible[:15], collateral_eligible=rough.margin_eligible[:15],
        special_treatment=rough.special_treatment[:15],
    )  # fmt: skip
    with pytest.raises(InputError, match="sessions"):
        draw_from(short, None)
    with pytest.raises(InputError, match="factor"):
        generate(rough, 1, sessions=5, first_day=DAY, settings=Settings(lowest=1.2))
    with pytest.raises(InputError):
        continuations(state_after(rough, 1, session=3), 1, paths=0, horizon=5)
