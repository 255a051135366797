"""Forced sales move prices: only after them, within limits, the same in any order of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.checks import check_lake
from data_contracts.columns import TABLES
from data_contracts.errors import InputError
from data_contracts.lake import lake_info, read_table, to_arrow
from data_contracts.units import NULL, RATIO_ONE
from features.panel import PricePanel, load_panel
from tests.lab.markets import hashes, with_volumes, write_market
from tests.lab.test_lab_lake import worst
from training.lab import LabBook, MarginRules, set_stage, simulate_block
from training.lab.engine import advance, new_state
from training.lab.impact import Impact, feel_impact
from training.lab.market import limit_prices
from training.lab.mechanics import Logs
from training.lab.run import BookRun, run_book
from training.lab.simulate import Stage, cast_of

CLIENTS = 300
Market = tuple[PricePanel, MarginRules]


@dataclass(frozen=True)
class Felt:
    """A book before and after it felt its own forced sales."""

    plain: Stage
    moved: Stage
    impact: Impact


@pytest.fixture(scope="module")
def feel(lab_market: Market) -> Callable[..., Felt]:
    panel, rules = lab_market

    def run(market: PricePanel | None = None, strength: float = 1.0, threads: int = 1) -> Felt:
        days = panel.sessions
        given = with_volumes(market or panel, 20_000)
        stage = set_stage(given, rules, 5, days[0].item(), days[-1].item())
        moved, impact = feel_impact(stage, CLIENTS, strength=strength, threads=threads)
        return Felt(stage, moved, impact)

    return run


@pytest.fixture(scope="module")
def felt(feel: Callable[..., Felt]) -> Felt:
    return feel()


def tables(stage: Stage) -> dict[str, pa.Table]:
    book: LabBook = simulate_block(stage, 0, CLIENTS, 1)
    return {name: to_arrow(TABLES[name], columns) for name, columns in book.tables.items()}


def test_prices_move_only_after_the_first_forced_sale(felt: Felt) -> None:
    assert felt.impact.forced_shares.sum() > 0
    first = int(np.flatnonzero(felt.impact.forced_shares.sum(axis=1))[0])
    assert (felt.impact.factor_e6[: first + 1] == RATIO_ONE).all()
    assert (felt.impact.factor_e6[first + 1 :] < RATIO_ONE).any()
    untouched = np.cumsum(felt.impact.forced_shares, axis=0) == 0
    same = felt.moved.market.close == felt.plain.market.close
    assert same[0].all()
    assert same[1:][untouched[:-1]].all()


def test_no_price_moves_through_a_limit(felt: Felt) -> None:
    panel = felt.moved.panel
    up, down = limit_prices(panel)
    bound = (panel.close != NULL) & (up != NULL) & ~panel.suspended
    bound &= felt.impact.factor_e6 < RATIO_ONE
    assert (panel.close[bound] <= up[bound]).all()
    assert (panel.close[bound] >= down[bound]).all()
    assert bool(bound.any()) == (panel.currency == "CNY")
    assert (panel.close[panel.close != NULL] > 0).all()


def test_the_lives_that_are_written_are_those_that_moved_the_prices(felt: Felt) -> None:
    """The forced shares of a second pass on the moved prices are those of the first."""
    stage = felt.moved
    who, state = cast_of(stage, stage.people(0, CLIENTS)), new_state(CLIENTS)
    for s in range(stage.sessions):
        forced = np.zeros(len(stage.panel.symbols), dtype=np.int64)
        none = Logs(
            np.empty((0, 14), dtype=np.int64), np.empty((0, 5), dtype=np.int64),
            np.zeros(3, dtype=np.int64), forced,
        )  # fmt: skip
        advance(stage.market, stage.terms, stage.seed, who, state, none, 0, CLIENTS, s, s + 1)
        assert np.array_equal(forced, felt.impact.forced_shares[s]), s


def test_no_strength_is_no_impact(feel: Callable[..., Felt]) -> None:
    nothing = feel(strength=0.0)
    assert (nothing.impact.factor_e6 == RATIO_ONE).all()
    plain, moved = tables(nothing.plain), tables(nothing.moved)
    assert all(plain[name].equals(moved[name]) for name in plain)


def test_more_strength_is_lower_prices(feel: Callable[..., Felt], felt: Felt) -> None:
    weak = feel(strength=0.3)
    assert weak.impact.factor_e6.mean() > felt.impact.factor_e6.mean()


def test_threads_change_no_price(feel: Callable[..., Felt], felt: Felt) -> None:
    other = feel(threads=2)
    assert np.array_equal(other.impact.factor_e6, felt.impact.factor_e6)
    assert np.array_equal(other.impact.forced_shares, felt.impact.forced_shares)


def test_later_prices_change_nothing_before_them(
    feel: Callable[..., Felt], felt: Felt, lab_market: Market
) -> None:
    panel, cut = lab_market[0], 300
    assert felt.impact.forced_shares[:cut].any()
    close, pre = panel.close.copy(), panel.pre_close.copy()
    later = close[cut:] > 0
    close[cut:][later] = close[cut:][later] * 8 // 1000 * 100
    pre[cut:][later] = pre[cut:][later] * 9 // 1000 * 100
    other = feel(replace(panel, close=close, pre_close=pre))
    assert np.array_equal(other.moved.market.close[:cut], felt.moved.market.close[:cut])
    limit = panel.close_at[cut].astype("datetime64[us]")
    one, two = tables(felt.moved), tables(other.moved)
    for name in one:
        kept = [
            t.filter(pa.array(np.asarray(t["event_at"]) < limit)) for t in (one[name], two[name])
        ]
        assert kept[0].num_rows > 0
        assert kept[0].equals(kept[1]), name
    assert not one["balances"].equals(two["balances"])


@pytest.fixture(scope="module")
def run(lab_market: Market, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., BookRun]:
    panel, rules = with_volumes(lab_market[0], 20_000), lab_market[1]
    market = tmp_path_factory.mktemp("thin") / "market"
    write_market(panel, market)
    days = panel.sessions[10].item(), panel.sessions[-30].item()

    def go(out: Path, impact: float = 1.0, threads: int = 1, block: int | None = None) -> BookRun:
        return run_book(
            load_panel(market), rules, market, out, clients=CLIENTS, seed=5, first=days[0],
            last=days[1], impact=impact, threads=threads, block=block,
        )  # fmt: skip

    return go


def test_a_lake_with_impact_is_sound_and_says_so(
    run: Callable[..., BookRun], lab_market: Market, tmp_path: Path
) -> None:
    made = run(tmp_path / "lake")
    info = lake_info(tmp_path / "lake")
    assert info.flags == made.flags == ("impact",)
    assert check_lake(tmp_path / "lake").quarantined == 0
    bars = read_table(tmp_path / "lake", "bars")
    assert max(bars["session"].to_pylist()) == lab_market[0].sessions[-30].item()
    moved = load_panel(tmp_path / "lake")
    assert (moved.close != lab_market[0].close)[: len(moved.close)].any()
    assert worst(tmp_path / "lake", moved)[0] == 0
    assert (
        "were" not in made.text() or "the book's own forced sales moved the prices" in made.text()
    )


@pytest.mark.parametrize("impact", [0.0, 1.0])
def test_threads_and_blocks_change_no_row(
    run: Callable[..., BookRun], tmp_path: Path, impact: float
) -> None:
    one, two, small = (
        run(tmp_path / name, impact=impact, threads=threads, block=block)
        for name, threads, block in (("one", 1, None), ("two", 2, None), ("small", 2, 80))
    )
    assert hashes(one.out) == hashes(two.out)
    for name in one.rows:
        whole, parts = (read_table(r.out, name) for r in (one, small))
        keys = [(c, "ascending") for c in (*TABLES[name].key, "known_at")]
        assert whole.sort_by(keys).equals(parts.sort_by(keys)), name
    assert one.rows == small.rows
    if impact == 0.0:
        assert lake_info(one.out).flags == ()


def test_a_market_without_volumes_cannot_be_moved(lab_market: Market) -> None:
    panel, rules = lab_market
    stage = set_stage(panel, rules, 5, panel.sessions[0].item(), panel.sessions[-1].item())
    with pytest.raises(InputError, match="no volumes"):
        feel_impact(stage, 40, strength=1.0)
    with pytest.raises(InputError, match="from 0 to 5"):
        feel_impact(stage, 40, strength=-1.0)
