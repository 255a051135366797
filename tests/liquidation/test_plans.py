"""Plans of forced sales: they restore the target or say why not, and never sell what cannot be."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.case import Book, Holding
from data_contracts.errors import InputError
from models.liquidation import Distressed, SaleMarket, plan
from models.liquidation.impact import impact_ratio
from tests.models.builders import MARKETS, POLICIES, SYMBOLS, make_loan

CN, ONE = MARKETS["cn"], 10**6
LOOSE = SaleMarket(dict.fromkeys(SYMBOLS, 10**9), dict.fromkeys(SYMBOLS, 20_000))
TARGET = POLICIES["cn"]["target_line_ratio"]


def _book(debt: int, cash: int = 0, **shares: int) -> Book:
    held = tuple(Holding(s, q) for s, q in shares.items())
    return Book(cash, held, (make_loan(debt),) if debt else ())


def _suspend(*symbols: str):
    return replace(CN, suspended=np.array([s in symbols for s in SYMBOLS]))


def test_a_plan_sells_half_first_and_the_rest_the_next_session():
    made = plan([Distressed("a", _book(8_000_000, AAA=10_000))], CN, POLICIES["cn"], LOOSE)
    first, second = made.slices
    assert (first.session, second.session) == (0, 1)
    account = made.accounts[0]
    assert account.restored
    assert account.needed_amt is not None
    assert abs(first.value_amt - account.needed_amt / 2) <= 100_000
    assert account.ratio_after is not None
    assert TARGET <= account.ratio_after < TARGET + 30_000
    assert account.why == {}


def test_below_the_immediate_close_line_all_is_sold_at_once():
    made = plan([Distressed("a", _book(9_500_000, AAA=10_000))], CN, POLICIES["cn"], LOOSE)
    assert {s.session for s in made.slices} == {0}
    assert made.accounts[0].restored


def test_an_account_above_the_target_sells_nothing():
    made = plan([Distressed("a", _book(1_000_000, AAA=10_000))], CN, POLICIES["cn"], LOOSE)
    assert made.slices == ()
    assert made.accounts[0].restored


def test_what_is_suspended_locked_unsettled_or_restricted_is_not_sold_and_is_named():
    book = _book(46_000_000, AAA=10_000, BBB=5_000, DDD=1_000)
    market = _suspend("AAA")
    sale = replace(LOOSE, locked=frozenset({"BBB"}))
    account = Distressed("a", book, bought_today={"BBB": 5_000}, restricted={"DDD": 400})
    made = plan([account], market, POLICIES["cn"], sale)
    assert {s.symbol for s in made.slices if s.session == 0} == {"DDD"}
    sold = sum(s.quantity_shares for s in made.slices if s.symbol == "DDD")
    assert sold == 600
    why = made.accounts[0].why
    assert not made.accounts[0].restored
    assert why["suspended"] == 10_000_000
    assert why["restricted"] == 400 * 12_345


def test_all_accounts_together_keep_to_a_share_of_the_volume_and_net_inside_the_firm():
    thin = SaleMarket({"AAA": 20_000}, {"AAA": 20_000}, crossable_shares={"AAA": 3_000})
    accounts = [Distressed(f"a{k}", _book(9_500_000, AAA=10_000)) for k in range(4)]
    made = plan(accounts, CN, POLICIES["cn"], thin)
    for session in (0, 1):
        market = sum(
            s.quantity_shares - s.crossed_shares for s in made.slices if s.session == session
        )
        assert market <= 2_000
    assert sum(s.crossed_shares for s in made.slices) == 3_000
    assert not all(a.restored for a in made.accounts)
    assert all(set(a.why) == {"volume"} for a in made.accounts if not a.restored)


def test_the_name_that_frees_most_margin_for_its_cost_is_sold_first_unless_the_client_ranks():
    book = _book(8_000_000, AAA=5_000, CCC=16_000)
    made = plan([Distressed("a", book)], CN, POLICIES["cn"], LOOSE)
    assert {s.symbol for s in made.slices if s.session == 0} == {"CCC"}
    wished = plan([Distressed("a", book, prefers=("AAA",))], CN, POLICIES["cn"], LOOSE)
    assert {s.symbol for s in wished.slices if s.session == 0} == {"AAA"}


def test_where_the_firms_own_selling_moves_the_price_a_person_looks_first():
    thin = SaleMarket({"AAA": 60_000}, {"AAA": 60_000})
    made = plan([Distressed("a", _book(9_500_000, AAA=10_000))], CN, POLICIES["cn"], thin)
    assert made.person_first == {"AAA": "impact"}
    calm = plan([Distressed("a", _book(9_500_000, AAA=10_000))], CN, POLICIES["cn"], LOOSE)
    assert calm.person_first == {}


def test_a_hopeless_account_says_that_even_all_is_too_little():
    made = plan([Distressed("a", _book(20_000_000, AAA=10_000))], CN, POLICIES["cn"], LOOSE)
    account = made.accounts[0]
    assert account.needed_amt is None
    assert not account.restored
    assert account.why == {"too_little": 0}
    assert sum(s.quantity_shares for s in made.slices) == 10_000


def test_a_name_without_volume_or_price_is_not_sold():
    book = _book(20_000_000, AAA=10_000, NOPRICE=5)
    made = plan([Distressed("a", book)], CN, POLICIES["cn"])
    assert made.slices == ()
    assert made.accounts[0].why == {"volume": 10_000_000, "no_price": 0}


def test_nonsense_is_refused():
    book = _book(1, AAA=1)
    with pytest.raises(InputError) as caught:
        plan([Distressed("a", book), Distressed("a", book)], CN, POLICIES["cn"])
    assert str(caught.value) == "two accounts to sell from have the same account_id"
    with pytest.raises(InputError) as caught:
        plan([Distressed("a", book, restricted={"AAA": -1})], CN, POLICIES["cn"])
    assert "count shares, not less than none" in str(caught.value)


@pytest.mark.parametrize("shares", [1, 100, 12_345, 10**9])
def test_impact_is_the_square_root_of_the_share_of_volume_rounded_up(shares):
    made = impact_ratio(shares, 10**6, 30_000)
    exact = 30_000 * (shares / 10**6) ** 0.5
    assert min(exact, ONE) <= made <= exact + 2
    assert impact_ratio(shares, 0, 30_000) == ONE
    assert impact_ratio(0, 0, 30_000) == 0


@st.composite
def distressed(draw: st.DrawFn, name: str) -> Distressed:
    """A random book in trouble, parts of it unsettled or restricted."""
    symbols = draw(st.lists(st.sampled_from((*SYMBOLS, "UNKNOWN")), unique=True, max_size=5))
    held = {s: draw(st.integers(0, 30_000)) for s in symbols}
    prices = {s: int(p) for s, p in zip(SYMBOLS, CN.price, strict=True) if p > 0}
    value = sum(q * prices.get(s, 0) // 100 for s, q in held.items())
    cash = draw(st.integers(-100_000, 1_000_000))
    debt = value * draw(st.integers(0, 1_300)) // 1_000
    fresh = {s: draw(st.integers(0, q)) for s, q in held.items() if draw(st.booleans())}
    kept = {s: draw(st.integers(0, q)) for s, q in held.items() if draw(st.booleans())}
    return Distressed(name, _book(debt, cash, **held), fresh, kept)


sale_markets = st.builds(
    SaleMarket,
    adv_shares=st.dictionaries(st.sampled_from(SYMBOLS), st.integers(0, 10**7)),
    volatility_ratio=st.dictionaries(st.sampled_from(SYMBOLS), st.integers(0, 100_000)),
    locked=st.frozensets(st.sampled_from(SYMBOLS), max_size=3),
    crossable_shares=st.dictionaries(st.sampled_from(SYMBOLS), st.integers(0, 10**4)),
)


@given(
    st.data(),
    st.integers(1, 4),
    sale_markets,
    st.frozensets(st.sampled_from(SYMBOLS), max_size=3),
    st.sampled_from(["cn", "us"]),
)
@settings(max_examples=300, deadline=None)
def test_no_plan_raises_exposure_sells_what_cannot_be_sold_or_hides_a_shortfall(
    data, count, sale, suspended, kind
):
    market, policy = _suspend(*suspended), POLICIES[kind]
    market = replace(market, currency=MARKETS[kind].currency)
    accounts = [data.draw(distressed(f"a{k}")) for k in range(count)]
    made = plan(accounts, market, policy, sale)
    price = {s: max(int(p), 0) for s, p in zip(SYMBOLS, market.price, strict=True)}
    used: dict[tuple[int, str], int] = {}
    for s in made.slices:
        assert s.quantity_shares > 0
        assert 0 <= s.crossed_shares <= s.quantity_shares
        assert s.symbol not in suspended
        assert not (s.session == 0 and s.symbol in sale.locked)
        key = (s.session, s.symbol)
        used[key] = used.get(key, 0) + s.quantity_shares - s.crossed_shares
    for (_, symbol), shares in used.items():
        assert shares * 10 <= sale.adv_shares.get(symbol, 0)
    for symbol in SYMBOLS:
        crossed = sum(s.crossed_shares for s in made.slices if s.symbol == symbol)
        assert crossed <= sale.crossable_shares.get(symbol, 0)
    for account, result in zip(accounts, made.accounts, strict=True):
        mine = [s for s in made.slices if s.account_id == account.account_id]
        held = {p.symbol: p.quantity_shares for p in account.book.positions}
        for symbol, have in held.items():
            sold = [s for s in mine if s.symbol == symbol]
            total = sum(s.quantity_shares for s in sold)
            assert total <= have - account.restricted.get(symbol, 0)
            if kind == "cn":
                first = sum(s.quantity_shares for s in sold if s.session == 0)
                fresh = account.bought_today.get(symbol, 0)
                assert first <= max(have - account.restricted.get(symbol, 0) - fresh, 0)
        value = sum(s.value_amt for s in mine)
        assert value == result.planned_amt
        owed = account.book.debt_amt + max(-account.book.cash_amt, 0)
        assets = sum(q * price.get(s, 0) // 100 for s, q in held.items())
        assets += max(account.book.cash_amt, 0)
        target = Fraction(policy["target_line_ratio"], ONE)
        if result.restored:
            assert result.why == {}
            if result.ratio_after is not None:
                assert result.ratio_after >= policy["target_line_ratio"] - 1
            if not mine:
                assert assets >= target * owed
        else:
            assert result.why
            assert result.ratio_after is not None
            assert result.ratio_after < policy["target_line_ratio"]


@given(st.integers(8_000_000, 9_800_000))
@settings(max_examples=50, deadline=None)
def test_no_more_is_sold_than_the_target_asks_for_by_more_than_a_lot(debt):
    made = plan([Distressed("a", _book(debt, AAA=10_000))], CN, POLICIES["cn"], LOOSE)
    last = made.slices[-1]
    value = made.accounts[0].planned_amt - 2 * 100 * last.value_amt // last.quantity_shares
    # two lots less, at no more than the planned cost, would not have been enough
    gained = Fraction(TARGET, ONE) * (1 - Fraction(10_000, ONE)) - 1
    short = Fraction(TARGET, ONE) * debt - 10_000_000
    assert value * gained <= short * Fraction(102, 100)
