"""Accounts opened with a portfolio at a leverage: what is common to all rules, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lab.markets import rough_panel
from training.lab.openings import (
    FORCED,
    FORCED_EVER,
    LIVE,
    LOAN_DAYS_OF_EQUITY,
    OPENED,
    Cast,
    live_on,
    with_portfolios,
)
from training.lab.rules import cn_rules
from training.lab.simulate import set_stage

PANEL = rough_panel()
RULES = cn_rules(len(PANEL.sessions), ratio_e6=500_000)
DAYS = PANEL.sessions.astype("datetime64[D]")
STAGE = set_stage(PANEL, RULES, 5, DAYS[80].item(), DAYS[590].item())
CLIENTS = 400


@pytest.fixture(scope="module")
def cast():
    people = STAGE.people(0, CLIENTS)
    opens = np.arange(CLIENTS, dtype=np.int64) % 300 + 5
    made = Cast(
        people.numbers, people.group, people.parameters, opens,
        np.minimum(opens + 121, STAGE.sessions), np.full(CLIENTS, 2.0),
        np.arange(CLIENTS, dtype=np.int64) % 15 + 1, np.zeros((CLIENTS, 1), dtype=np.int64),
        np.zeros((CLIENTS, 1)),
    )  # fmt: skip
    return with_portfolios(STAGE.market, STAGE.seed, made)


def fates(cast, limit, **more):
    limits = np.broadcast_to(limit, len(cast.number)).copy()
    return live_on(STAGE.market, STAGE.terms, STAGE.seed, cast, limits, **more)


def test_a_portfolio_is_one_to_fifteen_different_names_whose_weights_sum_to_one(cast):
    assert len(cast.number) > 0.9 * CLIENTS
    for k in range(len(cast.number)):
        names = cast.symbol[k][cast.symbol[k] >= 0]
        assert 1 <= len(names) == len(set(names.tolist())) == cast.names[k] <= 15
    assert cast.weight.sum(axis=1) == pytest.approx(1.0)


def test_an_account_opens_at_the_smaller_of_its_limit_and_its_wish(cast):
    assert fates(cast, 1.5).of(OPENED) == pytest.approx(1.5)
    assert fates(cast, 2.9).of(OPENED) == pytest.approx(2.0)


def test_the_debt_of_the_first_session_is_that_of_the_opening_leverage(cast):
    one_day = cast._replace(ends=cast.opens + 1)
    rich = cast.parameters[:, 0] > 50_000_000  # lots of 100 shares hide little in a large account
    debt = fates(one_day, 1.8).of(LOAN_DAYS_OF_EQUITY)[rich]
    assert float(np.median(debt)) == pytest.approx(0.8, abs=0.03)
    assert np.all(debt <= 0.85)


def test_equal_limits_give_equal_fates_on_any_number_of_threads(cast):
    one, two = fates(cast, 1.8, threads=1), fates(cast, 1.8, threads=2)
    assert np.array_equal(one.figures, two.figures)


def test_a_clients_fate_does_not_depend_on_who_else_is_there(cast):
    whole = fates(cast, 1.8).figures
    part = fates(cast.some(slice(100, 140)), 1.8).figures
    assert np.array_equal(whole[100:140], part)


def test_more_credit_lends_more_and_more_accounts_are_sold_by_force(cast):
    low, high = fates(cast, 1.4), fates(cast, 2.0)
    assert low.of(LOAN_DAYS_OF_EQUITY).sum() < high.of(LOAN_DAYS_OF_EQUITY).sum()
    assert low.of(FORCED).sum() < high.of(FORCED).sum()


def test_only_what_happens_from_the_counted_session_on_is_counted(cast):
    late = fates(cast, 2.0, count_from=250)
    gone = cast.ends <= 250
    assert gone.any()
    assert np.all(late.of(LIVE)[gone] == 0)
    assert np.all(late.of(FORCED)[gone] == 0)
    assert np.array_equal(late.of(FORCED_EVER), fates(cast, 2.0).of(FORCED_EVER))
