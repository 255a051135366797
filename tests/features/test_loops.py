"""The compiled loops over paths give what their NumPy forms give, bit for bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data_contracts.units import NULL
from features import loops

SHAPE = (7, 4)
unhurried = settings(deadline=None)
"""The first call compiles."""
money = st.one_of(st.just(NULL), st.integers(-(10**13), 10**13))
paths = arrays.arrays(np.int64, SHAPE, elements=money)
returns = arrays.arrays(
    np.float64, SHAPE, elements=st.one_of(st.just(np.nan), st.floats(-1, 1, width=32))
)


def growth(nav, flows):
    known = nav != NULL
    numbers = np.where(known, nav, 0).astype(np.float64)
    usable = known[1:] & known[:-1] & (nav[:-1] > 0)
    before = np.where(usable, numbers[:-1], 1.0)
    factor = np.where(usable, np.maximum((numbers[1:] - flows[1:]) / before, 0.0), 1.0)
    return np.cumprod(np.concatenate([np.ones((1, SHAPE[1])), factor]), axis=0)


@unhurried
@given(paths, arrays.arrays(np.int64, SHAPE, elements=st.integers(-(10**12), 10**12)))
def test_growth_and_its_largest_fall_are_those_of_numpy(nav, flows):
    made = loops.grown(nav, flows, NULL)
    np.testing.assert_array_equal(made, growth(nav, flows))
    fall = np.max(1.0 - made / np.maximum.accumulate(made, axis=0), axis=0)
    np.testing.assert_array_equal(loops.largest_fall(made), fall)


@unhurried
@given(returns, st.integers(2, 6))
def test_the_deviation_adds_one_value_after_another(values, at_least):
    expected = np.full(SHAPE[1], np.nan)
    for k in range(SHAPE[1]):
        known = [v for v in values[:, k].tolist() if not np.isnan(v)]
        if len(known) >= at_least:
            mean = sum(known, 0.0) / len(known)
            total = 0.0
            for v in known:
                total += (v - mean) * (v - mean)
            expected[k] = np.sqrt(total / (len(known) - 1))
    np.testing.assert_array_equal(loops.spread_of(values, at_least), expected)


@unhurried
@given(paths, paths, paths, paths)
def test_assets_and_equity_are_empty_where_cash_is(securities, cash, debt, accrued):
    securities, debt, accrued = (np.where(x == NULL, 0, x) for x in (securities, debt, accrued))
    assets, nav = loops.assets_and_nav(securities, cash, debt, accrued, NULL)
    np.testing.assert_array_equal(assets, np.where(cash == NULL, NULL, cash + securities))
    owed = np.where(cash == NULL, 0, debt + accrued)
    np.testing.assert_array_equal(nav, np.where(cash == NULL, NULL, assets - owed))


@unhurried
@given(paths, st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_a_client_has_the_sum_of_its_accounts_that_have_a_value(by_account, client):
    owner = np.array(client, dtype=np.int64)
    made = loops.summed(by_account, owner, 3, NULL)
    for s in range(SHAPE[0]):
        for c in range(3):
            values = [v for v, o in zip(by_account[s].tolist(), client, strict=True) if o == c]
            known = [v for v in values if v != NULL]
            assert made[s, c] == (sum(known) if known else NULL)


@unhurried
@given(paths)
def test_a_missing_session_carries_the_one_before_it(cash):
    first, second, third = cash.copy(), cash.copy() + 1, cash.copy() + 2
    loops.carry(first, second, third, NULL)
    for k in range(SHAPE[1]):
        last = NULL
        for s in range(SHAPE[0]):
            last = cash[s, k] if cash[s, k] != NULL else last
            assert first[s, k] == last
            if last != NULL:
                assert (second[s, k], third[s, k]) == (last + 1, last + 2)


@unhurried
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=9).map(sorted),
    returns,
    st.integers(0, 10**6),
)
def test_returns_of_holdings_are_weighted_over_what_is_known(held, moved, worth):
    client = np.array([c for c, _ in held], dtype=np.int64)
    symbol = np.array([s for _, s in held], dtype=np.int64)
    value = np.arange(len(held)) * 1000.0 + worth
    made = loops.weighted_returns(client, symbol, value, np.ascontiguousarray(moved.T), 3)
    for c in range(3):
        for s in range(SHAPE[0]):
            gain = base = 0.0
            for k in np.flatnonzero(client == c).tolist():
                if not np.isnan(moved[s, symbol[k]]):
                    gain += moved[s, symbol[k]] * value[k]
                    base += value[k]
            np.testing.assert_equal(made[s, c], gain / base if base > 0 else np.nan)
