"""Generated markets are distributed, cluster and lock as their source does."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.units import NULL
from features.panel import PricePanel
from tests.lab.markets import (
    DAY,
    UNSCALED,
    autocorrelation,
    locked,
    mean_correlation,
)
from training.lab.generated import (
    GeneratedMarket,
    Settings,
    generate,
    generate_traced,
    sessions_of,
)
from training.lab.generated.source import market_variances


def test_locked_falls_go_on_far_more_often_than_independent_ones(
    rough: PricePanel, made: GeneratedMarket
) -> None:
    def again(panel: PricePanel) -> tuple[float, float]:
        down = locked(panel)[1]
        return float(down[1:][down[:-1]].mean()), float(down.mean())

    (kept, share), (source_kept, source_share) = again(made.panel), again(rough)
    assert share > 0.001
    assert kept > 5 * share
    assert kept > 0.5 * source_kept
    assert 0.7 < share / source_share < 2.5  # scaled moves are cut off more often


def test_locks_crowd_as_in_the_source(rough: PricePanel, made: GeneratedMarket) -> None:
    worst = [np.quantile(locked(p)[1].mean(axis=1), 0.995) for p in (rough, made.panel)]
    assert worst[0] > 0.2
    assert worst[1] > 0.6 * worst[0]


def test_blocks_last_twenty_sessions_on_average(made: GeneratedMarket) -> None:
    heads = made.market_row[1:] != made.market_row[:-1] + 1
    assert 17 < 1 / heads.mean() < 23


@pytest.mark.parametrize("name", ["rough", "sample"])
def test_index_returns_are_distributed_as_in_the_source(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Over 100 years: volatility within 15 %, mean within 0.05 volatilities, kurtosis by half."""
    panel = request.getfixturevalue(name)
    was = panel.index_returns()
    was = was[~np.isnan(was)]
    now = generate(panel, 11, sessions=sessions_of(100), first_day=DAY).index_returns()
    now = now[~np.isnan(now)]
    assert abs(now.std() / was.std() - 1) < 0.15
    assert abs(now.mean() - was.mean()) < 0.05 * was.std()
    kurtosis = [float(np.mean(((x - x.mean()) / x.std()) ** 4)) for x in (was, now)]
    assert kurtosis[0] / 2 < kurtosis[1] < kurtosis[0] * 2
    assert kurtosis[1] > 3.5


@pytest.mark.parametrize("name", ["rough", "sample"])
def test_names_move_together_as_in_the_source(name: str, request: pytest.FixtureRequest) -> None:
    """Mean correlation of two names within 0.08."""
    panel = request.getfixturevalue(name)
    now = generate(panel, 12, sessions=sessions_of(60), first_day=DAY)
    assert abs(mean_correlation(now) - mean_correlation(panel)) < 0.08


def test_turbulent_days_cluster_as_in_the_source(sample: PricePanel) -> None:
    """At a lag of 1, 5 and 10 half of the source's autocorrelation of |r| or more, never 0.1 more.

    Rescaling keeps some of it past the blocks: at 20 sessions more than blocks alone keep.
    """
    was = np.abs(sample.index_returns()[1:])
    far = {}
    for name, settings in (("scaled", Settings()), ("unscaled", UNSCALED)):
        r = [
            np.abs(
                generate(
                    sample, s, sessions=sessions_of(100), first_day=DAY, settings=settings
                ).index_returns()[1:]
            )
            for s in (1, 2, 3)
        ]
        near = {lag: float(np.mean([autocorrelation(x, lag) for x in r])) for lag in (1, 5, 10, 20)}
        far[name] = near[20]
        for lag in (1, 5, 10):
            assert 0.5 * autocorrelation(was, lag) < near[lag] < autocorrelation(was, lag) + 0.1
    assert far["scaled"] > far["unscaled"] > 0


def test_unscaled_and_unlimited_returns_are_the_returns_of_the_source(sample: PricePanel) -> None:
    drawn = generate_traced(sample, 4, sessions=250, first_day=DAY, settings=UNSCALED)
    moves = sample.simple_returns()[drawn.row, drawn.name]
    tick = 10 / drawn.panel.pre_close
    assert np.all(np.abs(drawn.panel.simple_returns() - moves) <= 0.51 * tick + 1e-6)
    index = sample.index_returns()[drawn.market_row]
    assert np.allclose(drawn.panel.index_returns()[1:], index[1:], atol=1e-6)
    assert np.all(drawn.panel.price_limit == NULL)


def test_a_factor_never_leaves_its_bounds(sample: PricePanel) -> None:
    drawn = generate_traced(sample, 4, sessions=5000, first_day=DAY)
    was, now = sample.index_returns()[drawn.market_row], drawn.panel.index_returns()
    large = np.abs(was) > 1e-3
    large[0] = False
    factor = now[large] / was[large]
    assert factor.min() > 0.5 - 1e-3
    assert factor.max() < 2.0 + 1e-3
    assert factor.min() < 0.6
    assert factor.max() > 1.6


def test_the_variance_of_a_session_is_known_before_it(sample: PricePanel) -> None:
    returns = sample.index_returns()[:400]
    changed = returns.copy()
    changed[200:] *= 9
    for was, now in zip(market_variances(returns), market_variances(changed), strict=True):
        assert np.array_equal(was[:201], now[:201])
        assert np.all(was[201:] != now[201:])
