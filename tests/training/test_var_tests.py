"""Tests of VaR: published regions, hand counts and the right size when the model is right."""

import numpy as np
import pytest

from training.backtest.run import board_returns, forecasts, losses_over
from training.backtest.tests_of_var import acerbi_szekely, christoffersen, independence, kupiec

REJECTED_ABOVE = 3.841459


def hits(sessions, count):
    out = np.zeros(sessions, dtype=bool)
    out[np.linspace(0, sessions - 1, count).astype(int)] = True
    return out


@pytest.mark.parametrize(
    ("sessions", "chance", "least", "most"),
    [
        (255, 0.01, 0, 6),
        (510, 0.01, 2, 10),
        (1000, 0.01, 5, 16),
        (255, 0.05, 7, 20),
        (1000, 0.05, 38, 64),
    ],
)
def test_kupiec_rejects_where_his_table_does(sessions, chance, least, most):
    """Kupiec 1995, table 3, as printed by Jorion: non-rejection regions at 5 %."""
    for count in range(least, most + 1):
        if count:
            assert kupiec(hits(sessions, count), chance).statistic < REJECTED_ABOVE
    assert kupiec(hits(sessions, most + 1), chance).statistic > REJECTED_ABOVE
    if least > 1:
        assert kupiec(hits(sessions, least - 1), chance).statistic > REJECTED_ABOVE


def test_the_right_number_of_exceedances_has_a_statistic_of_nought():
    found = kupiec(hits(500, 5), 0.01)
    assert found.statistic == pytest.approx(0.0, abs=1e-12)
    assert found.p_value == pytest.approx(1.0)


def test_independence_by_hand():
    x = np.array([0, 0, 1, 1, 0, 0, 0, 1, 0, 0], dtype=bool)
    # transitions: 00 4, 01 2, 10 2, 11 1
    alone = 3 * np.log(3 / 9) + 6 * np.log(6 / 9)
    after = 4 * np.log(4 / 6) + 2 * np.log(2 / 6) + 2 * np.log(2 / 3) + np.log(1 / 3)
    assert independence(x).statistic == pytest.approx(-2 * (alone - after))
    assert christoffersen(x, 0.3).statistic == pytest.approx(
        kupiec(x, 0.3).statistic + independence(x).statistic
    )


def test_clusters_are_found_where_spread_exceedances_are_not():
    spread, cluster = hits(1000, 10), np.zeros(1000, dtype=bool)
    cluster[500:510] = True
    assert christoffersen(spread, 0.01).p_value > 0.05
    assert independence(cluster).p_value < 1e-6


def test_tests_reject_a_right_model_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    x = rng.random((400, 1500)) < 0.05
    rejected = np.mean([kupiec(row, 0.05).p_value < 0.05 for row in x])
    assert 0.02 < rejected < 0.09


def test_z2_of_a_normal_forecast_has_the_published_critical_value():
    """Acerbi and Szekely 2014: -0.70 at 5 % for 250 sessions of a 97.5 % normal ES."""
    rng = np.random.default_rng(1)
    var, es = np.full(250, 1.959964), np.full(250, 2.337803)
    drawn = rng.standard_normal((20_000, 250))
    right = acerbi_szekely(rng.standard_normal(250), var, es, 0.025, drawn)
    assert right.p_value > 0.01
    z = np.where(drawn < -var, drawn / es, 0.0).sum(axis=1) / (250 * 0.025) + 1.0
    assert np.quantile(z, 0.05) == pytest.approx(-0.70, abs=0.04)
    worse = acerbi_szekely(1.5 * rng.standard_normal(250), var, es, 0.025, drawn)
    assert worse.p_value < 0.01
    assert worse.statistic < -0.7


def test_forecasts_of_a_steady_series_cover_as_they_say():
    rng = np.random.default_rng(2)
    made = forecasts(0.01 * rng.standard_normal(6000))
    assert made is not None
    share = np.mean(made.result < -made.var)
    assert 0.006 < share < 0.015
    assert np.all(made.es > made.var_es)


def test_a_forecast_sees_nothing_of_its_own_session():
    rng = np.random.default_rng(3)
    series = 0.01 * rng.standard_normal(700)
    later = series.copy()
    later[650:] *= 9.0
    a, b = forecasts(series), forecasts(later)
    assert a is not None
    assert b is not None
    until = int(np.searchsorted(a.row, 650)) + 1
    assert np.array_equal(a.var[:until], b.var[:until])


def test_too_short_a_history_gives_no_forecast():
    assert forecasts(np.zeros(300)) is None


def test_a_board_with_too_few_names_has_no_portfolio():
    from tests.lab.markets import rough_panel

    panel = rough_panel()
    assert np.isnan(board_returns(panel, "nowhere")).all()
    assert not np.isnan(board_returns(panel, "main")[10:]).any()


def test_a_loss_over_a_suspension_counts_at_its_resumption():
    r = np.array([[0.0], [-0.1], [np.nan], [np.nan], [-0.5], [0.0]])
    found = losses_over(r, 2)[:, 0]
    # from row 0 two rows on nothing trades: the next close is that of row 4
    assert found[:4] == pytest.approx([0.55, 0.5, 0.5, 0.5])
    assert np.isnan(found[4:]).all()
    assert np.isnan(losses_over(r[:2], 2)).all()
