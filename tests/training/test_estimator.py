"""The additive booster as a scikit-learn classifier, on small made-up data."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from models.scorer.tables import monotone_violations
from training.estimator import AdditiveBoosterClassifier
from training.estimator_bags import clusters_of, parts_of
from training.recipe import PAIRS_FROM_ROWS

FAST = {"n_bags": 2, "max_rounds": 30, "random_state": 1}
ROUNDING = 1e-9


def made_up(rows=600, seed=0):
    """Two numbers that matter, a code 96 that is safe, a category, and noise."""
    rng = np.random.default_rng(seed)
    late = rng.integers(0, 6, rows).astype(float)
    income = rng.normal(size=rows)
    job = rng.choice(["clerk", "owner", "none"], rows)
    z = 0.8 * late - income + 1.5 * (job == "none") - 2.5
    late[rng.random(rows) < 0.15] = 96.0
    z[late == 96.0] = -3.0
    income[rng.random(rows) < 0.1] = np.nan
    label = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(int)
    noise = rng.normal(size=rows)
    return pd.DataFrame({"late": late, "income": income, "job": job, "noise": noise}), label


@pytest.fixture(scope="module")
def fitted():
    X, y = made_up()
    model = AdditiveBoosterClassifier(
        **FAST, categorical=["job"], monotone={"late": 1, "income": -1}, special={"late": [96]}
    )
    return model.fit(X, y), X, y


REASON_WEIGHTS = "rows are bagged and leaves need a number of rows, which weights do not count as"


def expected_failures(estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": REASON_WEIGHTS,
        "check_sample_weight_equivalence_on_sparse_data": REASON_WEIGHTS,
    }


@parametrize_with_checks(
    [AdditiveBoosterClassifier(**FAST)], expected_failed_checks=expected_failures
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def test_the_tables_equal_the_mean_of_the_boosters(fitted):
    model, X, _ = fitted
    boosters = model.bagged_.log_odds(model.encoded(X))
    assert np.abs(model.decision_function(X) - boosters).max() < ROUNDING
    p = model.predict_proba(X)[:, 1]
    assert np.abs(p - 1 / (1 + np.exp(-boosters))).max() < ROUNDING


def test_attributions_sum_to_the_log_odds(fitted):
    model, X, _ = fitted
    base, phi = model.explain(X)
    assert phi.shape == X.shape
    assert np.array_equal(base + phi.sum(axis=1), model.decision_function(X))


def test_every_term_names_one_or_two_features(fitted):
    model, X, _ = fitted
    assert model.effects_
    assert all(len(e) in (1, 2) and set(e) <= set(X) for e in model.effects_)


def test_directions_hold_on_the_served_tables(fitted):
    model, _, _ = fitted
    assert model.encoder_.directions == (1, -1, 0, 0, 0)
    assert monotone_violations(model.tables_.tables, model.encoder_.directions) == []


def test_a_special_code_stands_outside_the_direction(fitted):
    model, X, _ = fitted
    rows = X.iloc[[0] * 7].assign(late=[0.0, 1, 2, 3, 4, 5, 96])
    score = model.decision_function(rows)
    assert (np.diff(score[:6]) >= 0).all()
    assert score[6] < score[5], "the code is safer than many late payments, though 96 > 5"


def test_categories_are_learnt_and_unseen_levels_are_answered(fitted):
    model, X, _ = fitted
    rows = X.iloc[[0, 0, 0]].assign(job=["none", "clerk", "never seen"])
    score = model.decision_function(rows)
    assert score[0] > score[1]
    assert np.isfinite(score[2])


def test_missing_and_infinite_values_are_answered(fitted):
    model, X, _ = fitted
    rows = X.iloc[[0] * 3].assign(income=[np.nan, np.inf, -np.inf])
    assert np.isfinite(model.decision_function(rows)).all()


def test_bags_share_their_thresholds():
    X, y = made_up()
    model = AdditiveBoosterClassifier(**FAST | {"n_bags": 3}).fit(X[["income", "noise"]], y)
    cuts = [
        {(n["split_feature"], n["threshold"]) for t in d["tree_info"] for n in nodes(t)}
        for d in model.bagged_.dumps()
    ]
    bins = 2 * model.recipe_.max_bin
    assert len(set.union(*cuts)) <= bins
    assert len(set.union(*cuts)) < sum(map(len, cuts))


def nodes(tree):
    """All splits of a dumped tree."""
    left = [tree["tree_structure"]]
    while left:
        node = left.pop()
        if "split_index" in node:
            yield node
            left += [node["left_child"], node["right_child"]]


def test_bags_are_stopped_on_groups_that_they_do_not_learn_from():
    X, y = made_up()
    groups = np.arange(len(y)) // 3
    model = AdditiveBoosterClassifier(**FAST | {"n_bags": 5}).fit(X[["income"]], y, groups=groups)
    held = model.bagged_.held_out
    assert sorted(np.concatenate(held)) == list(range(len(y))), "each row is held out once"
    for rows in held:
        learnt = np.setdiff1d(np.arange(len(y)), rows)
        assert not set(groups[rows]) & set(groups[learnt])


def test_equal_rows_are_never_divided():
    X, y = made_up()
    numbers = X[["income", "noise"]].to_numpy()
    twice = np.vstack([numbers, numbers])
    clusters = clusters_of(twice, None)
    part = parts_of(np.tile(y, 2), clusters, 5, 0)
    assert np.array_equal(part[: len(y)], part[len(y) :])


def test_seed_decides_and_threads_do_not():
    X, y = made_up()
    one = AdditiveBoosterClassifier(**FAST, categorical=["job"]).fit(X, y)
    two = clone(one).set_params(n_jobs=2).fit(X, y)
    other = clone(one).set_params(random_state=2).fit(X, y)
    assert np.array_equal(one.tables_score(X), two.tables_score(X))
    assert not np.array_equal(one.tables_score(X), other.tables_score(X))


def test_rows_of_weight_zero_do_not_count():
    X, y = made_up()
    weight = np.ones(len(y))
    weight[:100] = 0
    weighted = AdditiveBoosterClassifier(**FAST, categorical=["job"]).fit(X, y, weight)
    without = AdditiveBoosterClassifier(**FAST, categorical=["job"]).fit(X[100:], y[100:])
    assert np.allclose(weighted.decision_function(X), without.decision_function(X), atol=1e-5)


def test_a_small_table_has_main_effects_only_and_there_weights_equal_copies():
    X, y = made_up(PAIRS_FROM_ROWS // 2)
    X = X[["late", "income", "noise"]]
    twice = AdditiveBoosterClassifier(**FAST).fit(X, y, np.full(len(y), 2.0))
    copied = AdditiveBoosterClassifier(**FAST).fit(pd.concat([X, X]), np.tile(y, 2))
    assert {len(e) for e in twice.effects_} == {1}
    gap = np.abs(twice.predict_proba(X) - copied.predict_proba(X))
    assert gap.mean() < 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"categorical": ["trade"]}, "categorical names 'trade'"),
        ({"categorical": ["job"], "monotone": {"jobs": 1}}, "monotone names 'jobs'"),
        ({"categorical": ["job"], "monotone": {"job": 1}}, "'job' is a category"),
        ({"categorical": ["job"], "monotone": {"late": 2}}, "it is 1, -1 or 0"),
        ({"categorical": ["job"], "n_bags": 0}, "n_bags and max_rounds are at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    X, y = made_up(100)
    with pytest.raises(ValueError, match=message):
        AdditiveBoosterClassifier(**FAST | settings).fit(X, y)
