"""The figures of a comparison: differences with their intervals, counts by cells and tiers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.challenge.compare import score_cells, tier_migration
from training.challenge.statistics import auc_difference, brier_difference, clustered_mean
from training.validation.discrimination import auc_delong


def book(n: int = 4000, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    return risk, (rng.random(n) < 1 / (1 + np.exp(3 - 1.2 * risk))).astype(np.int64)


def integers(score: np.ndarray) -> np.ndarray:
    return np.rint(score * 1e6).astype(np.int64)


def test_the_interval_is_the_estimate_and_its_paired_error_to_both_sides():
    risk, label = book()
    rng = np.random.default_rng(5)
    worse = integers(risk + rng.normal(size=len(risk)))
    found = auc_difference(worse, integers(risk), label)
    one, two = (auc_delong(s, label).value for s in (worse, integers(risk)))
    assert one is not None and two is not None and found.value is not None  # noqa: PT018
    assert found.low is not None and found.high is not None and found.test is not None  # noqa: PT018
    assert found.value == pytest.approx(two - one)
    half = (found.high - found.low) / 2
    # the paired test's z is the same estimate over the same error
    assert found.test.statistic == pytest.approx(found.value / (half / 1.959964), rel=1e-5)
    assert found.low > 0


def test_a_model_against_itself_differs_by_nothing():
    risk, label = book()
    found = auc_difference(integers(risk), integers(risk), label)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    p = 1 / (1 + np.exp(3 - risk))
    same = brier_difference((p, p), label, np.arange(len(p)))
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_without_defaults_there_is_no_difference_to_state():
    found = auc_difference(np.arange(5), np.arange(5), np.zeros(5, dtype=np.int64))
    assert (found.value, found.low, found.high) == (None, None, None)


def test_the_interval_by_clusters_covers_as_often_as_it_says():
    rng = np.random.default_rng(11)
    hit = 0
    cluster = np.repeat(np.arange(60), 4)
    for _ in range(1000):
        values = rng.normal(size=60)[cluster] + rng.normal(size=240)
        found = clustered_mean(values, cluster)
        assert found.low is not None and found.high is not None  # noqa: PT018
        hit += found.low <= 0 <= found.high
    # binomial, 1000 draws at 95 %: three standard errors are 2.1 %
    assert 929 <= hit <= 971


def test_copies_of_a_cluster_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    values = rng.normal(size=50)
    once = clustered_mean(values, np.arange(50))
    thrice = clustered_mean(np.repeat(values, 3), np.repeat(np.arange(50), 3))
    assert [thrice.low, thrice.high] == pytest.approx([once.low, once.high])


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=200))
def test_cells_hold_every_score_of_both_models(scores):
    one = np.array(scores, dtype=np.int64)
    mine, theirs = score_cells(one, one + 5)
    assert mine.sum() == theirs.sum() == len(one)


def test_a_migration_counts_each_client_once_by_both_tiers():
    counts = tier_migration(np.array([1, 1, 7, 8]), np.array([1, 2, 7, 8]))
    assert counts.sum() == 4
    assert (counts[0, 0], counts[0, 1], counts[6, 6], counts[7, 7]) == (1, 1, 1, 1)
