"""The PD map recovers a known truth, each market year weighing the same."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, PROB_ONE
from training.calibrate import TIER_SHARES, CalibrationSample, calibrate, tier_edges


def sample(rows: int, years: int, seed: int = 0, shift=lambda year: 0.0) -> CalibrationSample:
    rng = np.random.default_rng(seed)
    score = rng.normal(-4.0, 1.5, rows)
    year = rng.integers(0, years, rows)
    logit = -0.5 + 0.8 * score + np.array([shift(y) for y in year])
    label = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    return CalibrationSample(score, label, label, year, np.arange(rows), year)


def test_the_map_recovers_a_known_logistic_truth_inside_its_interval():
    made = calibrate(sample(60_000, 8), seed=1)
    for score in (-6.0, -4.0, -2.0):
        at = np.array([round(score * LOG_ODDS_ONE)])
        pd, low, high = (int(v[0]) / PROB_ONE for v in made.of_score(at))
        truth = 1 / (1 + np.exp(-(-0.5 + 0.8 * score)))
        assert pd == pytest.approx(truth, rel=0.15)
        assert low <= pd <= high
        assert low * 0.99 < truth < high * 1.01 + 3e-4


def test_a_year_with_ten_times_the_rows_weighs_no_more_than_another():
    rng = np.random.default_rng(5)
    year = np.r_[np.zeros(20_000, dtype=int), np.ones(2_000, dtype=int)]
    score = np.full(22_000, -2.0) + rng.normal(0, 0.01, 22_000)
    label = (rng.random(22_000) < np.where(year == 0, 0.02, 0.20)).astype(np.int64)
    made = calibrate(CalibrationSample(score, label, label, year, np.arange(22_000), year), seed=1)
    pd = int(made.of_score(np.array([round(-2.0 * LOG_ODDS_ONE)]))[0][0]) / PROB_ONE
    assert pd == pytest.approx(0.11, abs=0.01)


def test_the_interval_is_wide_where_good_and_bad_years_differ_and_not_where_they_do_not():
    def ratio(shift):
        made = calibrate(sample(40_000, 8, shift=shift), seed=1)
        _, low, high = made.of_score(np.array([round(-3.0 * LOG_ODDS_ONE)]))
        return int(high[0]) / int(low[0])

    alike, apart = ratio(lambda year: 0.0), ratio(lambda year: 2.0 * (year % 2) - 1.0)
    assert alike < 1.3
    # years at +1 and -1 in log-odds: the mean of eight is known to about 1 / sqrt(8) * 2.36
    assert 3.0 < apart < 12.0


def test_fewer_than_eight_market_years_are_flagged():
    assert calibrate(sample(20_000, 8), 1).enough_years
    few = calibrate(sample(20_000, 3), 1)
    assert (few.market_years, few.enough_years) == (3, False)


def test_without_one_year_labels_the_sixty_session_rate_is_carried_at_a_constant_hazard():
    s = sample(20_000, 1)
    made = calibrate(
        CalibrationSample(
            s.score, s.default_60, np.full(len(s.score), -1), s.year, s.cluster, s.year
        ),
        1,
    )
    assert made.method == (
        "60-session default frequency carried to one year at a constant hazard; one stretch of the"
        " market, so the interval is that of the clients alone"
    )
    at = np.array([round(-3.0 * LOG_ODDS_ONE)])
    sixty, year = (
        int(made.default_60_of_score(at)[0]) / PROB_ONE,
        int(made.of_score(at)[0][0]) / PROB_ONE,
    )
    # the table is linear between knots, the hazard is not
    assert year == pytest.approx(1 - (1 - sixty) ** (252 / 60), rel=0.03)


def test_too_few_defaults_to_calibrate_are_refused():
    empty = np.zeros(100, dtype=np.int64)
    with pytest.raises(InputError, match="fewer than five defaults in the calibration sample"):
        calibrate(CalibrationSample(np.zeros(100), empty, empty, empty, np.arange(100), empty), 1)


def test_tier_edges_give_the_declared_shares_and_always_ascend():
    pd = np.random.default_rng(0).integers(300_000, 900_000_000, 10_000)
    edges = tier_edges(pd)
    shares = [(pd <= e).mean() for e in edges]
    assert shares == pytest.approx(TIER_SHARES, abs=0.001)
    assert np.all(np.diff(tier_edges(np.full(500, 7_000_000))) > 0)
