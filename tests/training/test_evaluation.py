"""AUC and Somers' D against sklearn, scipy and hand counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import somersd
from sklearn.metrics import roc_auc_score

from training.evaluate import auc, somers_d

CASES = st.lists(st.tuples(st.integers(1, 7), st.integers(0, 1)), min_size=2, max_size=60)


@given(CASES)
def test_auc_equals_sklearns_with_ties_counting_one_half(rows):
    score, label = (np.array(c) for c in zip(*rows, strict=True))
    ours = auc(score, label)
    if len(set(label.tolist())) < 2:
        assert ours is None
    else:
        assert ours == pytest.approx(roc_auc_score(label, score), abs=1e-12)


@given(CASES)
def test_somers_d_of_grades_equals_scipys_and_twice_auc_less_one(rows):
    grade, label = (np.array(c) for c in zip(*rows, strict=True))
    found = somers_d(grade, label, np.arange(len(grade)), seed=1)
    if len(set(label.tolist())) < 2:
        assert found.value is None
        return
    # scipy's D(Y|X) conditions on the outcome when the outcome is the independent variable
    if len(set(grade.tolist())) > 1:
        assert found.value == pytest.approx(somersd(label, grade).statistic, abs=1e-9)
    assert found.value == pytest.approx(2 * auc(grade, label) - 1, abs=1e-12)


def test_a_useless_rating_has_an_interval_that_holds_zero():
    rng = np.random.default_rng(3)
    grade, label = rng.integers(1, 8, 4000), (rng.random(4000) < 0.1).astype(np.int64)
    found = somers_d(grade, label, np.arange(4000), seed=1)
    assert found.low < 0 < found.high


def test_copies_of_a_client_within_its_cluster_do_not_narrow_the_interval():
    rng = np.random.default_rng(3)
    grade = rng.integers(1, 8, 500)
    label = (rng.random(500) < grade / 20).astype(np.int64)
    once = somers_d(grade, label, np.arange(500), seed=1)
    many = somers_d(np.tile(grade, 20), np.tile(label, 20), np.tile(np.arange(500), 20), seed=1)
    assert many.value == pytest.approx(once.value)
    assert many.high - many.low == pytest.approx(once.high - once.low)


def test_the_interval_depends_on_the_seed_only():
    grade, label = np.array([1, 2, 3, 4] * 20), np.array([0, 0, 1, 1] * 20)
    assert somers_d(grade, label, np.arange(80), 5) == somers_d(grade, label, np.arange(80), 5)
