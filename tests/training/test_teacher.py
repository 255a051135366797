"""The teacher of the head, and the head's fit: who teaches whom, and that nothing leaks."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL, RATIO_ONE
from features.definitions.risk import REFERENCE_CALL_RATIO
from training.evaluate import auc
from training.fit import HEAD_RECIPE, Lesson, as_floats, fit_default_60
from training.teacher import RIDGE, fit_teacher, lessons, structure

NAMES = ["maintenance_ratio", "distance_to_call_sigma", "habit"]
LINE = 1.45
"""A call line that is not the reference of the distance: the teacher is not told of it."""


def _clients(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and true log-odds of clients whose risk is the distance to ``LINE``."""
    rng = np.random.default_rng(seed)
    ratio = rng.uniform(1.5, 4.0, rows)
    sigma = rng.uniform(0.02, 0.3, rows)
    habit = rng.normal(0.0, 1.0, rows)
    truth = -1.0 - 1.2 * np.log(ratio / LINE) / sigma / 1.7 + 0.8 * habit
    label = (rng.random(rows) < 1.0 / (1.0 + np.exp(-truth))).astype(np.int64)
    distance = np.log(ratio / REFERENCE_CALL_RATIO) / sigma
    values = np.rint(np.stack([ratio, distance, habit], axis=1) * RATIO_ONE).astype(np.int64)
    return values, label, truth


def test_the_columns_of_the_structure_give_back_the_volatility_that_the_distance_was_measured_in():
    values, _, _ = _clients(500, 1)
    columns = structure(as_floats(values), NAMES)
    ratio, distance = values[:, 0] / RATIO_ONE, values[:, 1] / RATIO_ONE
    sigma = np.log(ratio / REFERENCE_CALL_RATIO) / distance
    inside = (1.0 / sigma < 60) & (np.log(ratio) / sigma < 30)
    np.testing.assert_allclose(columns[inside, 0], (np.log(ratio) / sigma)[inside], rtol=1e-9)
    np.testing.assert_allclose(columns[inside, 1], (1.0 / sigma)[inside], rtol=1e-9)
    assert structure(as_floats(values), ["a", "b", "c"]).shape == (500, 0)


def test_a_client_who_owes_nothing_is_as_far_from_a_call_as_one_can_be():
    values, _, _ = _clients(300, 2)
    values[0, :2] = NULL
    columns = structure(as_floats(values), NAMES)
    assert np.isfinite(columns).all()
    assert columns[0, 2] == columns[:, 2].max()


def test_the_teacher_finds_a_call_line_that_the_distance_was_not_measured_from():
    values, label, _ = _clients(20_000, 3)
    unseen, _, unseen_truth = _clients(5_000, 4)
    said = fit_teacher(as_floats(values), label, NAMES).log_odds(as_floats(unseen))
    near = unseen[:, 0] < 2.2 * RATIO_ONE
    rank = np.corrcoef(np.argsort(np.argsort(said)), np.argsort(np.argsort(unseen_truth)))[0, 1]
    assert rank > 0.98
    by_distance = np.argsort(np.argsort(-unseen[near, 1]))
    true_rank = np.argsort(np.argsort(unseen_truth[near]))
    assert (
        np.corrcoef(np.argsort(np.argsort(said[near])), true_rank)[0, 1]
        > np.corrcoef(by_distance, true_rank)[0, 1] + 0.05
    )


def test_the_teacher_is_the_ridge_logistic_regression_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    values, label, _ = _clients(2_000, 5)
    names = ["a", "b", "c"]
    x = as_floats(values)
    scaled = np.clip((x - x.mean(axis=0)) / x.std(axis=0), -5, 5)
    other = LogisticRegression(C=1.0 / RIDGE, tol=1e-10, max_iter=1000).fit(scaled, label)
    mine = fit_teacher(x, label, names).log_odds(x)
    np.testing.assert_allclose(mine, other.decision_function(scaled), atol=1e-4)


def test_a_row_is_told_only_what_others_clusters_taught():
    values, label, _ = _clients(1_500, 6)
    cluster = np.arange(1_500) // 3
    first = lessons(as_floats(values), label, cluster, NAMES, 7)
    changed = values.copy()
    mine = cluster == 11
    changed[mine, 2] *= -50
    again = lessons(as_floats(changed), label, cluster, NAMES, 7)
    part_of_mine = np.abs(first - again) == 0
    # the clusters of the same part learnt from others alone, who are as they were
    assert part_of_mine[~mine].sum() > 200
    assert not part_of_mine[mine].all()
    assert ((first > 0) & (first < 1)).all()


def test_lessons_say_the_base_rate_where_the_other_parts_hold_one_outcome_only():
    values, _, _ = _clients(100, 8)
    label = np.zeros(100, dtype=np.int64)
    label[3] = 1
    said = lessons(as_floats(values), label, np.arange(100), NAMES, 7)
    assert (np.abs(said) < 0.5).all()


def test_the_head_ranks_clients_it_has_not_seen_and_keeps_its_directions():
    values, label, _ = _clients(6_000, 9)
    unseen, outcome, truth = _clients(6_000, 10)
    cluster = np.arange(6_000) // 2
    bagged, compiled = fit_default_60(
        Lesson(values, label, cluster), NAMES, [-1, -1, 1], values[:500], 7
    )
    score = compiled.tables.score(unseen)
    found, best = auc(score, outcome), auc(truth, outcome)
    assert found == pytest.approx(best, abs=0.01)
    assert len(bagged.boosters) == HEAD_RECIPE.n_bags
    riskier = unseen.copy()
    riskier[:, 2] += RATIO_ONE
    assert (compiled.tables.score(riskier) >= score).all()
    again = fit_default_60(Lesson(values, label, cluster), NAMES, [-1, -1, 1], values[:500], 7)[
        1
    ].tables.score(unseen)
    assert (again == score).all()
    assert np.abs(score / LOG_ODDS_ONE).max() < 20


def test_too_few_defaults_are_refused_with_the_way_out():
    values, label, _ = _clients(400, 11)
    label[:] = 0
    label[:29] = 1
    with pytest.raises(InputError, match="only 29 defaults among 400 training rows; at least 30"):
        fit_default_60(Lesson(values, label, np.arange(400)), NAMES, [0, 0, 0], values, 7)
