"""Predicted against realised by month: the common factor is found, and the interval holds."""

import numpy as np
import pytest

from training.by_month import LEAST_MONTHS, by_month, month_spread


def book(months, each, spread, seed):
    rng = np.random.default_rng(seed)
    month = np.repeat(np.arange(months), each)
    z = rng.normal(-3.5, 1.0, months * each)
    shock = rng.normal(0, spread, months)
    label = (rng.random(len(z)) < 1 / (1 + np.exp(-z - shock[month]))).astype(np.int64)
    draws = np.random.default_rng(9).normal(0, spread, 400) if spread else np.zeros(1)
    prob = np.mean(1 / (1 + np.exp(-z[:, None] - draws[None, :])), axis=1)
    return prob, label, month


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.2])
def test_the_spread_of_the_common_factor_is_found(spread):
    found = month_spread(*book(80, 400, spread, 1))
    assert found == pytest.approx(spread, abs=0.2)


def test_the_interval_holds_new_months_about_as_often_as_it_says_and_a_binomial_one_does_not():
    prob, label, month = book(60, 300, 1.0, 2)
    spread = month_spread(prob, label, month)
    assert spread is not None
    new, label, month = book(200, 300, 1.0, 3)
    rows = by_month(new, label, month, spread, 4)
    inside = np.mean([r["low"] <= r["realised"] <= r["high"] for r in rows])
    assert 0.90 <= inside <= 0.99
    alone = by_month(new, label, month, 0.0, 4)
    assert np.mean([r["low"] <= r["realised"] <= r["high"] for r in alone]) < 0.7
    assert np.mean([r["predicted"] for r in rows]) == pytest.approx(new.mean())


def test_too_few_months_say_nothing_of_the_common_factor():
    assert month_spread(*book(LEAST_MONTHS - 1, 100, 1.0, 5)) is None
