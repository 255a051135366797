"""Capital: the firm's tail, each client's part of its expected shortfall, and the charge for it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.case import Book, Holding
from data_contracts.snapshot import SUSPENDED
from data_contracts.units import PROB_ONE, RATIO_ONE
from models.decide.body import decisions
from models.decide.columns import decide_columns
from models.margin.book import book_columns
from models.margin.limits import book_limits
from models.margin.paths import UNIT, path_risk, walked
from models.price import capital
from models.price.capital import (
    MARKET,
    capital_columns,
    drawn_share,
    expected_shortfall,
    firm_losses,
    firm_tail,
    market_tail,
    path_losses,
    quota,
    tail_charge_bps,
    tail_of,
    tail_totals,
)
from models.price.rate import loss_given_default, risk_components, stressed_pd
from tests.models.builders import (
    BUNDLE,
    SYMBOLS,
    TYPICAL,
    cases,
    make_frame,
    make_loan,
    make_market,
    make_paths,
    make_policy,
    under,
)

WILD = make_paths(5, seed=3)
WILD = replace(
    WILD,
    moves=np.where(WILD.moves == SUSPENDED, SUSPENDED, WILD.moves * 3),
    limit=np.full(5, 300_000),
)
"""Moves so large that a sale after a call often leaves something bare."""
POLICY, MARKET_NOW = make_policy("us"), make_market("us", paths=WILD)
PATHS = WILD
BUDGET = POLICY.vector("structural_chance_by_tier_ratio")[3]
POSITIONS = st.lists(
    st.tuples(st.sampled_from(SYMBOLS[:4]), st.integers(1, 5_000)),
    max_size=4,
    unique_by=lambda p: p[0],
)
CLIENTS = st.lists(
    st.tuples(
        POSITIONS,
        st.integers(0, 30_000_00),
        st.integers(0, 40_000_00),
        st.integers(1, PROB_ONE),
        st.integers(1, 7),
    ),
    min_size=1,
    max_size=8,
)


def columns_of(clients, market=MARKET_NOW, policy=POLICY):
    """Books, limits, PD, LGD, tier and exposure of clients as the first pass has them."""
    books = book_columns(
        [
            Book(
                cash,
                tuple(Holding(s, q) for s, q in sorted(held)),
                (make_loan(debt),) if debt else (),
            )
            for held, cash, debt, _, _ in clients
        ],
        market,
    )
    limits = book_limits(books, market, policy)
    pd, tier = (np.array([c[k] for c in clients], dtype=np.int64) for k in (3, 4))
    lgd = loss_given_default(limits.portfolio_gap, policy)
    ead = capital.exposure_amt(limits, books.debt, np.full(books.n, 700_000), policy)
    return books, limits, pd, lgd, tier, ead


def on_path(books, share, lgd, p, paths=PATHS, policy=POLICY, pd=1):
    """Whether path p sells each book, and what a default then costs per unit lent, 1e-6."""
    only = (np.arange(paths.paths) == p).astype(np.int64)
    rows = tail_totals(
        books, np.array(share), np.array(lgd), np.full(books.n, pd), paths, only, policy
    )
    return rows[:, 1], rows[:, 2] + rows[:, 3]


def in_default(ead, rate):
    return -(-ead * rate // PROB_ONE)


def loss_by_hand(held, share, lgd, market=MARKET_NOW, policy=POLICY):
    """On each path whether it is sold, by the rule's text, and the loss per unit lent."""
    values = walked(market.paths)
    rows = [(market.index[s], q * int(market.price[market.index[s]]) // 100) for s, q in held]
    rows = [(k, v) for k, v in rows if v > 0]
    total = sum(v for _, v in rows)
    whole, out = 65_536, []
    owed = Fraction(share, RATIO_ONE)
    call, force = (Fraction(policy[f"{n}_line_ratio"], RATIO_ONE) for n in ("call", "force"))
    kept = 1 - Fraction(policy["liquidation_cost_ratio"], RATIO_ONE)
    unrecovered = 1 - Fraction(policy["unsecured_recovery_ratio"], RATIO_ONE)
    for p in range(market.paths.paths):
        along = [
            Fraction(sum(v * whole // total * int(values[k, h, p]) for k, v in rows), whole * UNIT)
            for h in range(market.paths.sessions)
        ]
        today = Fraction(sum(v * whole // total for _, v in rows), whole)
        below = policy["call_deadline_sessions"] if today < owed * call else 0
        lost, sold = Fraction(0), False
        for h, worth in enumerate(along):
            below = below + 1 if worth < owed * call else 0
            if worth < owed * force or below > policy["call_deadline_sessions"]:
                at = min(h + 1, len(along) - 1)
                lost = max(1 - along[at] * kept / owed, Fraction(0)) * unrecovered
                sold = True
                break
        out.append((sold, max(lost, Fraction(lgd, RATIO_ONE))))
    return out


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(SYMBOLS[:4]), st.integers(1, 5_000)),
        min_size=1,
        max_size=4,
        unique_by=lambda p: p[0],
    ),
    st.integers(300_000, RATIO_ONE),
    st.integers(20_000, 200_000),
)
def test_the_loss_on_a_path_is_what_the_sale_after_the_unanswered_call_leaves_bare(
    held, share, lgd
):
    books = book_columns([Book(0, tuple(Holding(s, q) for s, q in sorted(held)), ())], MARKET_NOW)
    by_hand = loss_by_hand(held, share, lgd)
    for p in range(0, PATHS.paths, 5):
        sold, found = on_path(books, [share], [lgd], p)
        assert bool(sold[0]) is by_hand[p][0]
        # cover is rounded down twice, in millionths of the debt
        assert 0 <= Fraction(int(found[0]), RATIO_ONE) - by_hand[p][1] <= Fraction(5, RATIO_ONE)


def test_some_of_those_losses_are_above_the_floor():
    held = [("AAA", 100)]
    floor = Fraction(20_000, RATIO_ONE)
    assert max(loss_by_hand(held, 950_000, 20_000))[1] > floor
    assert min(loss_by_hand(held, 600_000, 20_000)) == (False, floor)


@settings(max_examples=40, deadline=None)
@given(POSITIONS.filter(bool), st.integers(1, RATIO_ONE))
def test_a_path_sells_the_account_where_the_path_limit_counts_it_as_sold(held, share):
    books = book_columns([Book(0, tuple(Holding(s, q) for s, q in sorted(held)), ())], MARKET_NOW)
    risk = path_risk(books, MARKET_NOW, POLICY)
    surviving = min(share, RATIO_ONE - int(risk.at(None, POLICY).margin[0]))
    blended = (3 * PATHS.weight + PATHS.stress_weight) // 4
    every = np.array([on_path(books, [surviving], [20_000], p)[0][0] for p in range(64)])
    assert int(blended[every > 0].sum()) <= BUDGET * PATHS.paths
    if surviving < share:
        more = np.array([on_path(books, [surviving + 1], [20_000], p)[0][0] for p in range(64)])
        assert int(blended[more > 0].sum()) > BUDGET * PATHS.paths
        assert bool(np.all(more >= every))


@settings(max_examples=40, deadline=None)
@given(POSITIONS.filter(bool), st.integers(300_000, RATIO_ONE), st.integers(1, PROB_ONE))
def test_all_defaults_of_the_year_fall_on_the_paths_that_sell_the_account(held, share, pd):
    books = book_columns([Book(0, tuple(Holding(s, q) for s, q in sorted(held)), ())], MARKET_NOW)
    sold = np.array([on_path(books, [share], [20_000], p)[0][0] for p in range(64)]) > 0
    rows = tail_totals(
        books, np.array([share]), np.array([20_000]), np.array([pd]), PATHS, PATHS.weight, POLICY
    )
    rate, stressed = int(rows[0, 0]), int(stressed_pd(np.array([pd]), POLICY)[0])
    if not sold.any():
        assert rate == stressed
        return
    share_sold = Fraction(int(PATHS.weight[sold].sum()), int(PATHS.weight.sum()))
    assert rate == min(max(ceil(pd / share_sold), stressed), PROB_ONE)
    assert rows[0, 1] == PATHS.weight[sold].sum()


@settings(max_examples=60, deadline=None)
@given(CLIENTS)
def test_the_parts_sum_to_the_firms_expected_shortfall_exactly(clients):
    books, limits, pd, lgd, tier, ead = columns_of(clients)
    summed = path_losses(books, limits, pd, lgd, tier, ead, MARKET_NOW, POLICY)
    losses = firm_losses(summed)
    tail = firm_tail(PATHS, POLICY, losses)
    weight = market_tail(PATHS, POLICY) if tail is None else tail
    assert int(weight.sum()) == quota(PATHS, POLICY)
    share = drawn_share(limits, books.debt, POLICY)
    rows = tail_totals(books, share, lgd, pd, PATHS, weight, POLICY).tolist()
    stressed = stressed_pd(pd, POLICY).tolist()
    total = sum(
        in_default(e, rate) * lost + in_default(e, s) * rest
        for e, s, (rate, _, lost, rest) in zip(ead.tolist(), stressed, rows, strict=True)
    )
    assert total == sum(x * w for x, w in zip(losses, weight.tolist(), strict=True))
    assert expected_shortfall(losses, weight) == ceil(Fraction(total, int(weight.sum())))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**15), min_size=64, max_size=64))
def test_no_other_choice_of_paths_of_the_tails_weight_loses_more(losses):
    tail = firm_tail(PATHS, POLICY, losses)
    if tail is None:
        assert len(set(losses)) == 1
        return
    assert int(tail.sum()) == quota(PATHS, POLICY)
    assert bool(np.all((tail >= 0) & (tail <= PATHS.weight)))
    inside = [x for x, w in zip(losses, tail.tolist(), strict=True) if w > 0]
    left = zip(losses, tail.tolist(), PATHS.weight.tolist(), strict=True)
    assert all(x <= min(inside) for x, w, most in left if w < most)


@settings(max_examples=40, deadline=None)
@given(CLIENTS, st.integers(2, 9))
def test_the_expected_shortfall_is_homogeneous_and_a_tail_does_not_move_with_its_size(
    clients, times
):
    books, limits, pd, lgd, tier, ead = columns_of(clients)
    once = path_losses(books, limits, pd, lgd, tier, ead, MARKET_NOW, POLICY)
    losses = firm_losses(once)
    many = [times * x for x in losses]
    one, other = firm_tail(PATHS, POLICY, losses), firm_tail(PATHS, POLICY, many)
    if one is None or other is None:
        assert one is other
        return
    assert np.array_equal(one, other)
    total = [sum(x * w for x, w in zip(k, one.tolist(), strict=True)) for k in (losses, many)]
    assert total[1] == times * total[0]


def test_a_clients_part_is_the_derivative_of_the_expected_shortfall_in_its_exposure():
    rng = np.random.default_rng(4)
    clients = [
        (
            [
                (SYMBOLS[int(k)], int(rng.integers(50, 900)))
                for k in rng.choice(4, 2, replace=False)
            ],
            0,
            int(rng.integers(5_000_00, 20_000_00)),
            int(rng.integers(10**6, 10**8)),
            1,
        )
        for _ in range(20)
    ]
    books, limits, pd, lgd, tier, ead = columns_of(clients)
    ead = np.maximum(ead, 50_000_00) * 1_000

    def shortfall(exposures):
        summed = path_losses(books, limits, pd, lgd, tier, exposures, MARKET_NOW, POLICY)
        losses = firm_losses(summed)
        return losses, firm_tail(PATHS, POLICY, losses)

    tail = shortfall(ead)[1]
    assert tail is not None
    share = drawn_share(limits, books.debt, POLICY)
    rows = tail_totals(books, share, lgd, pd, PATHS, tail, POLICY).tolist()
    total = int(tail.sum())
    k = [
        Fraction(rate * lost + stressed * rest, PROB_ONE * total)
        for stressed, (rate, _, lost, rest) in zip(
            stressed_pd(pd, POLICY).tolist(), rows, strict=True
        )
    ]
    differ = 0
    for i in range(len(clients)):
        up, down = ead.copy(), ead.copy()
        step = int(ead[i]) // 5_000
        up[i] += step
        down[i] -= step
        higher, lower = (
            Fraction(sum(x * w for x, w in zip(ls, t.tolist(), strict=True)), total)
            for ls, t in (shortfall(up), shortfall(down))
        )
        # both in millionths of a minor unit; the amounts in default are rounded to whole ones
        assert float((higher - lower) / (2 * step)) == pytest.approx(float(k[i]), rel=1e-3)
        differ += rows[i][1] > 0
    assert differ >= 2


HAND = [[("AAA", 100)], [("BBB", 100)]]


def test_a_small_book_counted_by_hand():
    """Four paths of two sessions, two names; the firm's worst path is not the market's."""
    # AAA falls to half on path 0, BBB to 0.4 on path 1; on path 2 both fall by a tenth; 3 is calm
    moves = np.array(
        [[-500_000, 0, -100_000, 0], [0, -600_000, -100_000, 0], *[[0] * 4] * 3], dtype=np.int32
    )
    paths = replace(
        make_paths(5),
        moves=moves,
        limit=np.full(5, RATIO_ONE),
        days=np.array([[0, 3], [1, 3], [2, 3], [3, 3]], dtype=np.int32),
        weight=np.full(4, RATIO_ONE),
        stress_weight=np.array([0, 0, 4 * RATIO_ONE, 0]),
    )
    market = make_market("us", paths=paths)
    policy = under(POLICY, capital_tail_ratio=312_500)
    books = book_columns([Book(0, (Holding(s, q),), ()) for [(s, q)] in HAND], market)
    share, lgd = np.array([800_000, 800_000]), np.array([20_000, 20_000])
    # sold at 0.5 of today's less 1 %: 1 - 0.5 x 0.99 / 0.8 = 0.38125 bare, nine tenths of it lost
    half = (1 - 0.5 * 0.99 / 0.8) * 0.9
    deep = (1 - 0.4 * 0.99 / 0.8) * 0.9
    each = [
        [on_path(books, share, lgd, p, paths, policy)[1][k] / RATIO_ONE for p in range(4)]
        for k in (0, 1)
    ]
    # a step of the walked values is 1 / 16,384; a fall of a tenth and none at all are covered
    assert each[0] == pytest.approx([half, 0.02, 0.02, 0.02], abs=1e-4)
    assert each[1] == pytest.approx([0.02, deep, 0.02, 0.02], abs=1e-4)
    # today 1 < 0.8 x 1.3 is called already, and no path cures it: each of the four sells
    assert all(on_path(books, share, lgd, p, paths, policy)[0].all() for p in range(4))
    # a quarter less debt is called only by the fall of its own name: the defaults of the year,
    # 1 % of the account, all fall on that one path of four
    less = np.array([600_000, 600_000])
    rows = tail_totals(books, less, lgd, np.full(2, PROB_ONE // 100), paths, paths.weight, policy)
    assert rows[:, 1].tolist() == [RATIO_ONE] * 2
    # but never below the stressed rate, six times the mean one
    assert rows[:, 0].tolist() == [6 * PROB_ONE // 100] * 2
    half, deep = (1 - 0.5 * 0.99 / 0.6) * 0.9, (1 - 0.4 * 0.99 / 0.6) * 0.9
    assert (rows[:, 2] / RATIO_ONE**2).tolist() == pytest.approx([half, deep], abs=1e-4)
    # 1,000 lent against AAA and 100 against BBB: path 0 loses most, then path 1
    firm = [1_000 * int(1e6 * half) + 100 * 20_000, 1_000 * 20_000 + 100 * int(1e6 * deep)]
    calm = 1_100 * 20_000
    tail = firm_tail(paths, policy, [*firm, calm, calm])
    assert tail is not None
    # 5/16 of four paths is one and a quarter; the market's worst is another path
    assert tail.tolist() == [RATIO_ONE, RATIO_ONE // 4, 0, 0]
    assert market_tail(paths, policy).tolist() == [0, 0, 1_250_000, 0]
    rows = tail_totals(books, less, lgd, np.full(2, PROB_ONE // 100), paths, tail, policy)
    parts = (rows[:, 2] + rows[:, 3]) / (1.25 * RATIO_ONE**2)
    assert parts.tolist() == pytest.approx(
        [(half + 0.005) / 1.25, (0.02 + deep / 4) / 1.25], abs=1e-4
    )
    # BBB's own fall is the deeper, but it is not when the firm falls
    assert deep > half
    assert parts[0] > parts[1]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, PROB_ONE), st.integers(1, PROB_ONE), st.integers(20_000, RATIO_ONE),
    st.integers(1, 100), st.integers(0, RATIO_ONE),
)  # fmt: skip
def test_the_charge_is_exact_never_below_the_one_without_a_tail_and_never_falls_with_pd(
    one, other, lgd, times, sold
):
    low, high = sorted((one, other))

    def stressed(pd):
        return int(stressed_pd(np.array([pd]), POLICY)[0])

    def femto(pd):
        rate = min(max(times * pd, stressed(pd)), PROB_ONE)
        return (rate * sold + stressed(pd) * (RATIO_ONE - sold)) * lgd // RATIO_ONE

    def charge(pd, k=None):
        one = [np.array([x], dtype=np.int64) for x in (pd, lgd)]
        held = None if k is None else np.array([k], dtype=np.int64)
        return sum(int(c[0]) for c in risk_components(one[0], one[1], POLICY, held))

    h, el = Fraction(POLICY["hurdle_bps"], 10_000), Fraction(low * lgd, 10**15)
    k = max(Fraction(femto(low), 10**15), Fraction(stressed(low) * lgd, 10**15))
    assert charge(low, femto(low)) == ceil((el + h * (k - el)) * 10_000)
    assert charge(low, stressed(low) * lgd) == charge(low)
    assert charge(low) <= charge(low, femto(low)) <= charge(high, femto(high))


@settings(max_examples=30, deadline=None)
@given(CLIENTS, st.integers(1, PROB_ONE), st.integers(1, PROB_ONE))
def test_capital_rises_with_pd_is_never_below_the_stressed_loss_and_its_loss_knows_no_score(
    clients, one, other
):
    books, limits, _, lgd, _, _ = columns_of(clients)
    low, high = (
        capital_columns(books, limits, np.full(books.n, p), lgd, MARKET_NOW, POLICY)
        for p in sorted((one, other))
    )
    assert np.array_equal(low.tail_loss, high.tail_loss)
    assert bool(np.all(low.tail_loss >= lgd))
    assert bool(np.all(low.tail_loss <= RATIO_ONE))
    assert bool(np.all(low.femto <= high.femto))
    assert np.array_equal(low.sold_ratio, high.sold_ratio)
    first, last = sorted((one, other))
    for made, pd in ((low, first), (high, last)):
        assert bool(np.all(made.femto >= stressed_pd(np.full(books.n, pd), POLICY) * lgd))
        assert bool(np.all(made.femto <= PROB_ONE * RATIO_ONE))
    assert low.source == MARKET


@settings(max_examples=30, deadline=None)
@given(CLIENTS, st.data())
def test_the_order_and_grouping_of_clients_change_no_sum(clients, data):
    books, limits, pd, lgd, tier, ead = columns_of(clients)
    together = path_losses(books, limits, pd, lgd, tier, ead, MARKET_NOW, POLICY)
    mixed = data.draw(st.permutations(clients))
    cut = data.draw(st.integers(0, len(clients)))
    total = np.zeros_like(together)
    for part in (mixed[:cut], mixed[cut:]):
        if part:
            b, li, p, g, t, e = columns_of(part)
            total += path_losses(b, li, p, g, t, e, MARKET_NOW, POLICY)
    assert firm_losses(total) == firm_losses(together)
    assert np.array_equal(total[2:], together[2:])


@settings(max_examples=30, deadline=None)
@given(CLIENTS)
def test_what_the_tail_adds_to_the_tiers_charges_is_what_their_clients_pay(clients):
    books, limits, pd, lgd, tier, ead = columns_of(clients)
    summed = path_losses(books, limits, pd, lgd, tier, ead, MARKET_NOW, POLICY)
    made = capital_columns(books, limits, pd, lgd, MARKET_NOW, POLICY)
    added = tail_charge_bps(summed, market_tail(PATHS, POLICY), POLICY)
    with_tail = np.sum(risk_components(pd, lgd, POLICY, made.femto), axis=0)
    without = np.sum(risk_components(pd, lgd, POLICY), axis=0)
    for k in range(1, 8):
        mine = tier == k
        # each client's charge is rounded up, the sum over the tier down
        paid = int((with_tail - without)[mine].sum())
        assert abs(int(added[k - 1]) - paid) <= int(mine.sum()) + 1


def test_the_share_of_debt_after_a_draw_down_holds_for_the_largest_books():
    limits = columns_of([([("AAA", 100)], 0, 0, 1, 1)])[1]
    largest = np.array([9 * 10**12])
    big = replace(
        limits, equity=largest, statutory=largest, line=largest, concentration=largest,
        structural=largest,
    )  # fmt: skip
    drawn = 9 * 10**12 // 2
    assert drawn_share(big, np.array([0]), POLICY)[0] == ceil(
        Fraction(drawn * RATIO_ONE, 9 * 10**12 + drawn)
    )
    assert drawn_share(replace(big, equity=np.array([-1])), largest, POLICY)[0] == RATIO_ONE
    nothing = replace(big, statutory=np.array([0]))
    assert drawn_share(nothing, np.array([0]), POLICY)[0] == 0


@settings(max_examples=10, deadline=None)
@given(cases())
def test_a_decision_says_its_capital_whose_tail_it_is_and_of_how_many_paths(case):
    frame = make_frame(BUNDLE, [case.client_id], TYPICAL)
    firm = np.where(np.arange(PATHS.paths) < 3, RATIO_ONE, 0)
    for market, source, paths in (
        (MARKET_NOW, "market", int((market_tail(PATHS, POLICY) > 0).sum())),
        (replace(MARKET_NOW, tail_weight=firm), "firm", 3),
        (replace(MARKET_NOW, paths=None), None, 0),
    ):
        d = decide_columns([case], frame, BUNDLE, POLICY, market)
        said = decisions(d)[0].body["capital"]
        assert (said["tail"], said["tail_paths"]) == (source, paths)
        assert said["ratio"] == ceil(Fraction(int(d.capital.femto[0]), 10**9))
        assert said["sold_pd"] >= int(stressed_pd(d.pd, POLICY)[0])
        found = tail_of(market, POLICY)
        assert (found is None) == (source is None)
        if source is None:
            assert said["tail_loss_ratio"] == int(d.lgd[0])
            assert said["sold_ratio"] == 0
