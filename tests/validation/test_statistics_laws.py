"""What holds of the statistics for any book, and how often a test rejects where nothing is wrong."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.validation.outcomes import ROUNDING
from training.validation import calibration, curves, discrimination, scores, stability

BOOKS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=8, max_size=60).filter(
    lambda rows: 2 <= sum(y for _, y in rows) <= len(rows) - 2
)


@given(BOOKS)
@settings(max_examples=80, deadline=None)
def test_turning_the_score_round_turns_the_auc_round_and_keeps_its_variance(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    one, other = discrimination.auc_delong(s, y), discrimination.auc_delong(-s, y)
    assert one.value + other.value == pytest.approx(1.0, abs=ROUNDING)
    assert one.variance == pytest.approx(other.variance, abs=ROUNDING)
    assert curves.accuracy_ratio(s, y) == pytest.approx(2 * one.value - 1, abs=1e-9)


@given(BOOKS)
@settings(max_examples=80, deadline=None)
def test_any_increasing_map_of_the_score_changes_nothing_that_ranks(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    t = np.exp(s / 2.0) + 3.0
    assert discrimination.auc_delong(s, y) == discrimination.auc_delong(t, y)
    assert curves.kolmogorov_smirnov(s, y) == curves.kolmogorov_smirnov(t, y)
    assert curves.h_measure(s, y) == curves.h_measure(t, y)
    period = np.arange(len(s)) % 2
    assert discrimination.auc_pooled(s, y, period) == discrimination.auc_pooled(t, y, period)


@given(BOOKS)
@settings(max_examples=60, deadline=None)
def test_the_parts_of_a_proper_score_sum_to_it_and_none_is_negative(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    p = (s + 1) / 9.0
    for kind, own in (("brier", scores.brier(p, y)), ("log_loss", scores.log_loss(p, y))):
        parts = scores.corp(p, y, kind)
        assert parts.score == pytest.approx(own, abs=1e-12)
        total = parts.miscalibration - parts.discrimination + parts.uncertainty
        assert total == pytest.approx(own, abs=1e-12)
        assert parts.miscalibration >= -1e-12
        assert parts.discrimination >= -1e-12
    grades, place = np.unique(s, return_inverse=True)
    n, d = np.bincount(place), np.bincount(place, weights=y).astype(int)
    assert scores.murphy(n, d, (grades + 1) / 9.0).score == pytest.approx(scores.brier(p, y))


@given(BOOKS)
@settings(max_examples=60, deadline=None)
def test_the_h_measure_lies_between_nothing_and_all(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    assert -1e-9 <= curves.h_measure(s, y) <= 1 + 1e-9
    assert curves.h_measure(y, y) == pytest.approx(1.0)
    assert curves.h_measure(np.zeros(len(y)), y) == pytest.approx(0.0, abs=1e-12)


def test_the_pooled_auc_is_not_taken_in_by_a_shift_of_the_whole_book():
    rng = np.random.default_rng(3)
    period = np.repeat([0, 1], 2000)
    grade = rng.integers(1, 6, 4000) + 3 * period  # no discrimination within a period
    y = (rng.random(4000) < np.where(period, 0.2, 0.02)).astype(np.int64)
    naive = discrimination.auc_delong(grade, y).value
    pooled = discrimination.auc_pooled(grade, y, period)
    assert naive > 0.65
    assert pooled.low < 0.5 < pooled.high or abs(pooled.value - 0.5) < 0.03


def test_the_expected_and_the_first_population_of_a_psi_may_change_places():
    a, b = np.array([40, 30, 30]), np.array([10, 50, 40])
    assert stability.psi(a, b).value == pytest.approx(stability.psi(b, a).value, abs=ROUNDING)


def test_an_empty_cell_does_not_make_the_psi_explode():
    found = stability.psi(np.array([500, 480, 20]), np.array([510, 490, 0]))
    assert found.adjusted
    assert found.value < 0.2
    with_floor = sum(
        (a - e) * math.log(a / e) for e, a in ((0.5, 0.51), (0.48, 0.49), (0.02, 1e-10))
    )
    assert with_floor > 0.3


@pytest.mark.long
@pytest.mark.parametrize("statistic", ["psi", "spiegelhalter", "ratio", "initial", "grades"])
def test_under_the_null_a_test_at_five_percent_rejects_about_five_in_a_hundred(statistic):
    rng = np.random.default_rng(11)
    rejected, runs = 0, 400
    for _ in range(runs):
        p = rng.beta(1.5, 9, 1500)
        y = (rng.random(1500) < p).astype(np.int64)
        grade = np.digitize(p, [0.03, 0.08, 0.15, 0.25])
        if statistic == "psi":
            test = stability.psi(
                np.bincount(rng.integers(0, 8, 4000), minlength=8),
                np.bincount(rng.integers(0, 8, 1500), minlength=8),
            ).test
        elif statistic == "spiegelhalter":
            test = calibration.spiegelhalter(p, y)
        elif statistic == "ratio":
            test = calibration.observed_to_expected(p, y)[1]
        elif statistic == "initial":
            test = discrimination.auc_initial_current(TRUE_AUC, grade, y)
        else:
            n = np.bincount(grade, minlength=5)
            mean = np.bincount(grade, weights=p, minlength=5) / n
            d = np.bincount(grade, weights=y, minlength=5).astype(int)
            test = calibration.hosmer_lemeshow(n, d, mean)
        rejected += test.p_value < 0.05
    low, high = stats.binom.interval(0.999, runs, 0.05)
    assert low <= rejected <= high


TRUE_AUC = 0.7160
"""AUC of the five grades of the beta(1.5, 9) book, over four million draws, as the test below finds."""


@pytest.mark.long
def test_the_true_auc_of_the_grades_is_what_the_test_above_takes_it_for():
    rng = np.random.default_rng(1)
    p = rng.beta(1.5, 9, 4_000_000)
    y = (rng.random(len(p)) < p).astype(np.int64)
    found = discrimination.auc_delong(np.digitize(p, [0.03, 0.08, 0.15, 0.25]), y)
    assert found.value == pytest.approx(TRUE_AUC, abs=1e-3)


def test_the_stated_power_is_what_a_simulation_finds():
    rng = np.random.default_rng(4)
    n, pd = 600, 0.03
    shift = calibration.binomial(n, 20, pd).detectable
    draws = rng.binomial(n, pd + shift, 20_000)
    found = np.mean([calibration.binomial(n, int(d), pd).p_value <= 0.05 for d in draws[:4000]])
    assert found == pytest.approx(0.8, abs=0.03)


def test_the_shift_that_hosmer_lemeshow_finds_is_found_as_often_as_stated():
    rng = np.random.default_rng(6)
    n, pd = np.array([800, 900, 700]), np.array([0.05, 0.1, 0.2])
    shift = calibration.hosmer_lemeshow(n, np.array([40, 90, 140]), pd).detectable
    found = 0
    for _ in range(1500):
        d = rng.binomial(n, pd * (1 + shift))
        found += calibration.hosmer_lemeshow(n, d, pd).p_value < 0.05
    assert found / 1500 == pytest.approx(0.8, abs=0.05)


def test_one_bad_period_of_many_is_one_observation_and_not_as_many_as_it_has_cases():
    p = np.full(500, 0.05)
    y = np.zeros(500, dtype=np.int64)
    y[:80] = 1
    alone = calibration.observed_to_expected(p, y)[1]
    period = np.zeros(500, dtype=np.int64)
    shared = calibration.observed_to_expected(p, y, period, periods=6)[1]
    assert alone.p_value < 1e-20
    assert shared.p_value == pytest.approx(2 * stats.t(5).sf(1.0), abs=1e-9)


def test_a_shift_in_every_period_is_found_though_events_share_their_market():
    p = np.full(2400, 0.05)
    period = np.repeat(np.arange(8), 300)
    y = (np.arange(2400) % 10 == 0).astype(np.int64)  # a tenth in every period
    found = calibration.observed_to_expected(p, y, period)
    assert found[0] == pytest.approx(2.0)
    assert found[1].p_value < 1e-4
