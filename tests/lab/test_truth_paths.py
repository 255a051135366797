"""Inner paths: the market they live on, and the hazards that are counted on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.units import NULL, IntArray
from features.panel import PricePanel
from training.lab import MarginRules
from training.lab.behaviour import LEVERAGE, MARGIN_IS_ON, MARGIN_ON
from training.lab.generated import SUSPENDED, continuations, generate, generate_traced, state_after
from training.lab.generated.kernel import Trace
from training.lab.generated.markets import GeneratedState, _volume, weekdays
from training.lab.market import Market, prepare
from training.lab.mechanics import ACCRUED, CASH, DEBT, HOLDINGS, LOANS, SHARES, SYMBOL
from training.lab.simulate import Stage, cast_of, set_stage
from training.lab.truth import OUTCOMES, Standing, joined, realised, some, stand, true_hazards
from training.lab.truth.onward import Continued, carry_on, past_of, room_of

SESSIONS, AT = 260, 190


@dataclass(frozen=True)
class Outer:
    """A generated market, its rules, where it stands, and clients in debt there."""

    source: PricePanel
    rules: MarginRules
    stage: Stage
    panel: PricePanel
    generated: GeneratedState
    standing: Standing


@pytest.fixture(scope="module")
def source(lab_market: tuple[PricePanel, MarginRules]) -> PricePanel:
    """The laboratory's market; the Chinese one with volumes, haircuts and special treatment."""
    panel = lab_market[0]
    if panel.currency == "USD":
        return panel
    rng = np.random.default_rng(4)
    volume = rng.integers(20_000, 900_000, panel.close.shape)
    special = np.zeros(panel.close.shape, dtype=bool)
    special[100:300, 5] = True
    return replace(
        panel,
        volume_shares=np.where(panel.close == NULL, NULL, np.where(panel.suspended, 0, volume)),
        haircut=np.where(special, 0, rng.choice([NULL, 500_000, 650_000], panel.close.shape)),
        special_treatment=special,
        collateral_eligible=~special,
    )


def outer_market(source: PricePanel, rules: MarginRules, seed: int, clients: int = 140) -> Outer:
    first = source.sessions[0].item()
    panel = generate(source, seed, sessions=SESSIONS, first_day=first)
    ratio, rate = rules.initial_ratio_e6[:SESSIONS], rules.rate_bps[:SESSIONS]
    rules = replace(rules, initial_ratio_e6=ratio, rate_bps=rate)
    days = panel.sessions
    stage = set_stage(panel, rules, seed, days[0].item(), days[-1].item())
    who = cast_of(stage, stage.people(0, clients))
    generated = state_after(source, seed, session=AT)
    owes = stand(stage, generated, who, AT).state.totals[:, DEBT] > 0
    standing = stand(stage, generated, some(who, np.flatnonzero(owes)), AT)
    return Outer(source, rules, stage, panel, generated, standing)


@pytest.fixture(scope="module")
def outer(source: PricePanel, lab_market: tuple[PricePanel, MarginRules]) -> Outer:
    return outer_market(source, lab_market[1], 21)


def copied(standing: Standing, places: IntArray | None = None) -> Standing:
    chosen = np.arange(len(standing.who.number)) if places is None else places
    state = type(standing.state)._make(x[chosen].copy() for x in standing.state)
    who = some(standing.who, chosen)
    return replace(standing, who=who._replace(parameters=who.parameters.copy()), state=state)


def worth(standing: Standing) -> IntArray:
    """Cash and holdings of each client, minor units."""
    close = standing.panel.close[standing.session]
    shares, names = standing.state.holdings[:, :, SHARES], standing.state.holdings[:, :, SYMBOL]
    there = np.arange(shares.shape[1]) < standing.state.totals[:, HOLDINGS, None]
    value: IntArray = (close[names] * shares // 100 * there).sum(axis=1)
    return value + standing.state.totals[:, CASH]


@pytest.mark.parametrize(("at", "horizon"), [(AT, 60), (40, 35), (5, 8)])
def test_a_continued_market_equals_the_prepared_panel_of_both_parts(
    outer: Outer, at: int, horizon: int
) -> None:
    first, seed = outer.panel.sessions[0].item(), 77
    generated = state_after(outer.source, 21, session=at)
    so_far = generate_traced(outer.source, 21, sessions=at + 1, first_day=first)
    rules, old = outer.rules, generated.drawn.panel
    past = past_of(outer.panel, generated, at, horizon, rules.haircut_e6)
    market, room = room_of(outer.panel, rules, at, horizon)
    paths = continuations(generated, seed, paths=4, horizon=horizon)
    for path in (0, 3, 1):
        continued = Continued(generated.drawn.source, generated.plan, generated.state, seed)
        carry_on(continued, path, past, market, room, at)
        close = np.concatenate([so_far.panel.close, paths.close[path].astype(np.int64)])
        pre = np.concatenate([so_far.panel.pre_close, close[at:-1]])
        halted = np.concatenate([so_far.panel.suspended, paths.flags[path] & SUSPENDED != 0])
        cell = (
            np.concatenate([so_far.row, room.trace.row]),
            np.concatenate([so_far.name, room.trace.donor]),
        )
        drawn = Trace(pre, *cell, np.empty(0, dtype=np.int32))
        days = weekdays(first, at + 1 + horizon)
        both = replace(
            so_far.panel, sessions=days, close_at=days.astype("datetime64[us]"), close=close,
            pre_close=pre, suspended=halted, volume_shares=_volume(old, drawn, halted, close),
            price_limit=old.price_limit[cell], haircut=old.haircut[cell],
            margin_eligible=old.margin_eligible[cell],
            collateral_eligible=old.collateral_eligible[cell],
            special_treatment=old.special_treatment[cell],
            index_close=np.full(len(days), NULL),
        )  # fmt: skip
        ratio, rate = (np.full(len(days), x[0]) for x in (rules.initial_ratio_e6, rules.rate_bps))
        wanted = prepare(both, ratio, rate, rules.haircut_e6, 0, at + horizon)
        for name in Market._fields:
            np.testing.assert_array_equal(
                getattr(market, name), getattr(wanted, name), err_msg=name
            )


def test_a_market_of_too_many_names_is_refused(outer: Outer) -> None:
    wide = replace(outer.panel, symbols=tuple(str(k) for k in range(129)))
    with pytest.raises(InputError, match="128 names"):
        past_of(wide, outer.generated, AT, 60, 0)


def test_without_debt_or_the_wish_to_borrow_nothing_happens(outer: Outer) -> None:
    safe = copied(outer.standing)
    safe.state.totals[:, CASH] = worth(safe)
    safe.state.totals[:, [DEBT, ACCRUED, HOLDINGS, LOANS]] = 0
    safe.state.mind[:, MARGIN_IS_ON] = 0.0
    safe.who.parameters[:, MARGIN_ON] = 0.0
    safe.who.parameters[:, LEVERAGE] = 0.5
    found = true_hazards(safe, 5, paths=40)
    assert not found.counts.any()
    assert not found.fresh.any()


def test_a_state_below_the_force_line_defaults(outer: Outer) -> None:
    under = copied(outer.standing)
    debt = under.state.totals[:, DEBT] + under.state.totals[:, ACCRUED]
    scale = np.minimum(0.8 * debt / worth(under), 1.0)
    under.state.totals[:, CASH] = (under.state.totals[:, CASH] * scale).astype(np.int64)
    shares = under.state.holdings[:, :, SHARES]
    under.state.holdings[:, :, SHARES] = (shares * scale[:, None]).astype(np.int64)
    found = true_hazards(under, 5, paths=40)
    assert found.of("default").mean() > 0.98
    np.testing.assert_array_equal(found.of("call"), found.of("default"))


def test_more_cash_never_raises_the_mean_hazard(outer: Outer) -> None:
    """Each step adds cash of a further share of the debt; chance and market paths are the same."""
    means = []
    for share in (0.0, 0.3, 0.8):
        richer = copied(outer.standing)
        richer.state.totals[:, CASH] += (share * richer.state.totals[:, DEBT]).astype(np.int64)
        means.append(true_hazards(richer, 5, paths=80).of("default").mean())
    assert means[0] > means[1] > means[2]


def test_the_same_on_one_thread_and_on_two_and_for_each_state_by_itself(outer: Outer) -> None:
    few = copied(outer.standing, np.arange(12))
    one, two = (true_hazards(few, 5, paths=260, threads=k) for k in (1, 2))
    np.testing.assert_array_equal(one.counts, two.counts)
    np.testing.assert_array_equal(one.fresh, two.fresh)
    alone = true_hazards(copied(outer.standing, np.array([7])), 5, paths=260, fresh=np.array([7]))
    np.testing.assert_array_equal(alone.counts[0], one.counts[7])
    np.testing.assert_array_equal(alone.fresh[0], one.fresh[7])
    twice = true_hazards(joined([few, few]), 5, paths=260, fresh=np.tile(np.arange(12), 2))
    np.testing.assert_array_equal(twice.counts, np.concatenate([one.counts, one.counts]))


def test_more_paths_add_to_the_fewer_and_narrow_the_error(outer: Outer) -> None:
    few, many = (true_hazards(outer.standing, 5, paths=p) for p in (50, 200))
    assert (many.counts >= few.counts).all()
    p = many.of("default")
    np.testing.assert_allclose(many.standard_error("default"), np.sqrt(p * (1 - p) / 200))
    both = (many.half("default", False) + many.half("default", True)) / 2
    np.testing.assert_allclose(both, p)
    assert many.standard_error("default").mean() < few.standard_error("default").mean()
    other = true_hazards(outer.standing, 6, paths=50)
    assert (other.counts != few.counts).any()


def test_a_longer_horizon_holds_what_happened_in_the_shorter(outer: Outer) -> None:
    short = true_hazards(outer.standing, 5, paths=60, horizon=20, call_horizon=10)
    long = true_hazards(outer.standing, 5, paths=60, horizon=60, call_horizon=20)
    assert (long.counts >= short.counts).all()
    assert (long.counts > short.counts).any(axis=(0, 1)).all(), OUTCOMES


def test_impossible_sizes_are_refused(outer: Outer) -> None:
    for wrong in ({"paths": 1}, {"horizon": 10}, {"horizon": 0, "call_horizon": 0}):
        with pytest.raises(InputError, match="ask for at least 2"):
            true_hazards(outer.standing, 5, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a seed is"):
        true_hazards(outer.standing, -1)
    with pytest.raises(InputError, match="beyond the market's"):
        realised(outer.standing, outer.stage, horizon=SESSIONS)


def test_the_states_are_left_as_they_were(outer: Outer) -> None:
    before = [x.copy() for x in outer.standing.state]
    true_hazards(outer.standing, 5, paths=20)
    realised(outer.standing, outer.stage)
    for x, y in zip(before, outer.standing.state, strict=True):
        np.testing.assert_array_equal(x, y)


def test_true_hazards_agree_with_how_often_it_happens(
    source: PricePanel, lab_market: tuple[PricePanel, MarginRules]
) -> None:
    """Over many outer markets the realised frequency is the mean hazard, within 3.3 errors.

    Outer outcomes of one market go together, so a market is one observation.
    """
    outer_gap, fresh_gap, spread = [], 0.0, 0.0
    for seed in range(400, 424):
        made = outer_market(source, lab_market[1], seed, clients=50)
        found = true_hazards(made.standing, seed, paths=80)
        p = found.of("default")
        outer_gap.append(float((realised(made.standing, made.stage)[:, 0] - p).sum()))
        fresh_gap += float((found.fresh[:, 0] - p).sum())
        spread += float((p * (1 - p) * (1 + 1 / 80)).sum())
    gaps = np.array(outer_gap)
    assert spread > 5
    assert abs(fresh_gap) < 3.3 * np.sqrt(spread)
    assert abs(gaps.mean()) < 3.3 * gaps.std(ddof=1) / np.sqrt(len(gaps))
