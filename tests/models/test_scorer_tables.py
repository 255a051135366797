"""The compiled tables against LightGBM and the shap library, and the proof of monotonicity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import orjson
import pytest
import shap
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL, FloatArray, IntArray
from models.scorer import AdditiveTables, Effect, compile_booster
from models.scorer.tables import explained_effect, monotone_violations

# Sums of some hundred float64 leaves differ near 1e-14; 1e-9 leaves room and hides nothing.
PROOF = 1e-9
# The shap library reads features as float32 in its interventional algorithm.
SHAP = 1e-5
ROWS = 1500
DIRECTIONS = (1, -1, 0, 0)
PAIRS = [[0], [1], [2], [3], [0, 1], [0, 2], [1, 3]]


def _floats(values: IntArray) -> FloatArray:
    return np.where(values == NULL, np.nan, values.astype(np.float64))


def _sample(seed: int, missing: bool = True) -> tuple[IntArray, IntArray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(-50, 200, size=(ROWS, 4))
    x[:, 2] = rng.integers(-3, 4, size=ROWS)
    x[:, 3] *= 1_000_003
    log_odds = x[:, 0] / 60 - x[:, 1] / 80 + np.sin(x[:, 2]) * (x[:, 0] > 50) - 1
    y = rng.random(ROWS) < 1 / (1 + np.exp(-log_odds))
    if missing:
        x[rng.random(x.shape) < 0.1] = NULL
    return x, y.astype(np.int64)


def _train(
    x: IntArray,
    y: IntArray,
    rounds: int = 40,
    stop: bool = False,
    category: Any = "auto",
    **changes: Any,
) -> lgb.Booster:
    parameters: dict[str, Any] = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_leaves": 8,
        "min_data_in_leaf": 10,
        "learning_rate": 0.2,
        "monotone_constraints": list(DIRECTIONS),
        "interaction_constraints": PAIRS,
        "seed": 3,
        **changes,
    }
    data = lgb.Dataset(
        _floats(x), y.astype(np.float64), categorical_feature=category, free_raw_data=False
    )
    if not stop:
        return lgb.train(parameters, data, num_boost_round=rounds)
    vx, vy = _sample(99)
    return lgb.train(
        {**parameters, "metric": "binary_logloss"},
        data,
        num_boost_round=400,
        valid_sets=[lgb.Dataset(_floats(vx), vy.astype(np.float64), reference=data)],
        callbacks=[lgb.early_stopping(5, verbose=False)],
        keep_training_booster=True,  # else the trees past the best iteration are dropped
    )


def _dump(booster: lgb.Booster) -> dict[str, Any]:
    best = booster.best_iteration if booster.best_iteration > 0 else -1
    return dict(booster.dump_model(num_iteration=best))


def _thresholds(dump: dict[str, Any]) -> list[tuple[int, float]]:
    found = []

    def visit(node: dict[str, Any]) -> None:
        if "split_index" in node:
            found.append((int(node["split_feature"]), float(node["threshold"])))
            visit(node["left_child"])
            visit(node["right_child"])

    for tree in dump["tree_info"]:
        visit(tree["tree_structure"])
    return found


def _difference(booster: lgb.Booster, reference: IntArray, values: IntArray) -> float:
    compiled = compile_booster(_dump(booster), reference, "default_60")
    own = np.asarray(booster.predict(_floats(values), pred_contrib=True, num_threads=1))
    return float(np.abs(own - compiled.path_dependent(values)).max())


@pytest.mark.parametrize(
    ("missing", "changes"),
    [
        (True, {}),
        (False, {}),
        (True, {"extra_trees": True, "feature_fraction": 0.7}),
        (True, {"bagging_fraction": 0.6, "bagging_freq": 1}),
        (True, {"monotone_constraints": [0, 0, 0, 0], "max_bin": 15}),
        (True, {"use_missing": False}),
        (True, {"boosting": "dart"}),
        (True, {"data_sample_strategy": "goss"}),
        (True, {"path_smooth": 5.0, "lambda_l2": 10.0}),
        (True, {"max_depth": 1}),
        (True, {"max_depth": 2, "interaction_constraints": ""}),
    ],
)
def test_path_dependent_values_equal_the_boosters_own(missing, changes):
    x, y = _sample(1, missing)
    other = _sample(2)[0]
    assert _difference(_train(x, y, **changes), x, other) < PROOF


def test_an_early_stopped_booster_compiles_at_its_best_iteration():
    x, y = _sample(1)
    booster = _train(x, y, stop=True)
    assert 0 < booster.best_iteration < booster.current_iteration()
    assert _difference(booster, x, _sample(2)[0]) < PROOF


def test_a_booster_of_a_single_leaf_keeps_its_constant():
    x, y = _sample(1)
    booster = _train(x, y, rounds=1, min_data_in_leaf=ROWS)
    assert _difference(booster, x, x[:50]) < PROOF


def test_values_exactly_at_and_next_to_thresholds_fall_as_in_lightgbm():
    x, y = _sample(4)
    booster = _train(x, y)
    rows: list[IntArray] = []
    for feature, threshold in _thresholds(_dump(booster)):
        if abs(threshold) > 1e15:
            continue
        for value in (int(np.floor(threshold)) + d for d in (-1, 0, 1)):
            row = x[len(rows) % ROWS].copy()
            row[feature] = value
            rows.append(row)
    values = np.array(rows)
    assert _difference(booster, x, values) < PROOF
    compiled = compile_booster(_dump(booster), x, "default_60")
    raw = np.asarray(booster.predict(_floats(values), raw_score=True))
    assert np.abs(compiled.tables.score(values) / LOG_ODDS_ONE - raw).max() < PROOF


@pytest.mark.parametrize("missing", [True, False])
def test_attributions_equal_the_shap_librarys_against_the_same_reference(missing):
    x, y = _sample(5, missing)
    booster = _train(x, y)
    reference, values = x[:80], x[80:200]
    tables = compile_booster(_dump(booster), reference, "default_60").tables
    masker = shap.maskers.Independent(_floats(reference), max_samples=len(reference))
    explainer = shap.TreeExplainer(booster, data=masker, feature_perturbation="interventional")
    theirs = np.asarray(explainer.shap_values(_floats(values), check_additivity=False))
    ours = tables.score_and_attributions(values)[1] / LOG_ODDS_ONE
    assert np.abs(ours - theirs).max() < SHAP


def test_base_and_attributions_sum_to_the_score_as_integers():
    x, y = _sample(6)
    tables = compile_booster(_dump(_train(x, y)), x[:300], "default_60").tables
    score, phi = tables.score_and_attributions(x)
    assert np.array_equal(tables.base_attribution + phi.sum(axis=1), score)
    assert np.array_equal(tables.score(x), score)


cell = st.integers(-(2**44), 2**44)


@st.composite
def pair_effects(draw: st.DrawFn) -> Effect:
    """Any pair table, attributed against any reference counts."""
    shape = (draw(st.integers(2, 4)), draw(st.integers(2, 4)))
    size = shape[0] * shape[1]
    score = np.array(draw(st.lists(cell, min_size=size, max_size=size))).reshape(shape)
    counts = np.array(draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))).reshape(
        shape
    )
    counts[0, 0] += 1
    splits = tuple(np.arange(n - 2, dtype=np.int64) * 10 for n in shape)
    return explained_effect((0, 1), splits, score, counts)


@given(pair_effects(), st.lists(st.tuples(st.integers(-5, 25), st.integers(-5, 25)), min_size=1))
@settings(max_examples=100, deadline=None)
def test_any_table_splits_its_cells_without_remainder(effect, rows):
    tables = AdditiveTables("h", 2, 12345, (effect,))
    score, phi = tables.score_and_attributions(np.array(rows, dtype=np.int64))
    assert np.array_equal(tables.base_attribution + phi.sum(axis=1), score)
    document = orjson.loads(canonical_bytes(tables.to_json()))
    again = AdditiveTables.from_json(document)
    assert canonical_bytes(again.to_json()) == canonical_bytes(tables.to_json())
    assert np.array_equal(again.score(np.array(rows, dtype=np.int64)), score)


def _planted(tables: AdditiveTables) -> AdditiveTables:
    """One cell of a pair raised far above its neighbours."""
    at = next(k for k, e in enumerate(tables.effects) if e.features == (0, 1))
    effect = tables.effects[at]
    score = effect.score.copy()
    score[1, 1] += LOG_ODDS_ONE
    changed = replace(effect, score=score)
    return replace(tables, effects=(*tables.effects[:at], changed, *tables.effects[at + 1 :]))


def test_a_constrained_booster_is_proved_monotone_and_a_planted_cell_is_found():
    x, y = _sample(7)
    tables = compile_booster(_dump(_train(x, y)), x, "default_60").tables
    assert monotone_violations(tables, DIRECTIONS) == []
    witnesses = monotone_violations(_planted(tables), DIRECTIONS)
    assert witnesses
    assert witnesses[0].startswith("feature 0: from ")
    assert witnesses[0].endswith("against its direction +1")


def test_an_unconstrained_booster_is_not_proved_monotone():
    x, y = _sample(8)
    booster = _train(x, 1 - y, monotone_constraints=[0, 0, 0, 0])
    tables = compile_booster(_dump(booster), x, "default_60").tables
    assert monotone_violations(tables, DIRECTIONS)


def test_the_proof_agrees_with_moving_every_feature_over_random_rows():
    x, y = _sample(9)
    tables = compile_booster(_dump(_train(x, y)), x, "default_60").tables
    rng = np.random.default_rng(0)
    for feature in (0, 1):
        known = x[x[:, feature] != NULL]
        moved = known.copy()
        moved[:, feature] += rng.integers(1, 100, size=len(known)) * DIRECTIONS[feature]
        assert (tables.score(moved) >= tables.score(known)).all()


def _refusal(dump: dict[str, Any], reference: IntArray) -> str:
    with pytest.raises(InputError) as caught:
        compile_booster(dump, reference, "default_60")
    return str(caught.value)


def test_a_path_over_three_features_is_refused():
    x, y = _sample(1)
    said = _refusal(_dump(_train(x, y, interaction_constraints="", num_leaves=31)), x)
    assert said.startswith("a path of tree ")
    assert said.endswith("features; a glass-box path uses at most two")


def test_categorical_zero_as_missing_linear_and_averaged_boosters_are_refused():
    x, y = _sample(1)
    category = _train(np.abs(x) % 7, y, category=[2], monotone_constraints=[0, 0, 0, 0])
    assert _refusal(_dump(category), x) == (
        "a categorical split cannot be compiled by this version; encode the category"
    )
    zero = _dump(_train(x, y, zero_as_missing=True))
    assert _refusal(zero, x) == "zero_as_missing models are refused: zero is a value here"
    linear = _train(*_sample(1, False), linear_tree=True, monotone_constraints=None, max_depth=1)
    assert _refusal(_dump(linear), x) == (
        "linear trees cannot be compiled: a leaf must hold one value"
    )
    forest = _train(x, y, boosting="rf", bagging_fraction=0.5, bagging_freq=1)
    assert _refusal(_dump(forest), x) == (
        "averaged forests and boosters of several classes cannot be compiled; train a binary"
        " booster whose trees are summed"
    )


def test_an_empty_or_narrow_reference_is_refused():
    x, y = _sample(1)
    dump = _dump(_train(x, y, rounds=2))
    assert _refusal(dump, x[:0]) == (
        "the reference population has shape (0, 4); it needs at least one row of the booster's 4"
        " features"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": [1, 0]}, "[1, 0]: a table has one feature, or two ascending ones"),
        ({"splits": [[5, 5], [1]]}, "[0, 1]: splits must be strictly ascending"),
        ({"splits": [[5], []]}, "[0, 1]: shape (3, 3) does not fit its splits"),
    ],
)
def test_a_damaged_table_is_refused(change, said):
    good = {
        "features": [0, 1],
        "splits": [[5], [1]],
        "constant": 0,
        "score": [[0] * 3] * 3,
        "first": [[0] * 3] * 3,
    }
    assert Effect.from_json(good).features == (0, 1)
    with pytest.raises(InputError) as caught:
        Effect.from_json({**good, **change})
    assert str(caught.value) == f"scorer table of features {said}"


def test_a_single_feature_whose_attribution_is_not_its_score_is_refused():
    with pytest.raises(InputError) as caught:
        Effect.from_json(
            {"features": [2], "splits": [[]], "constant": 1, "score": [5, 6], "first": [4, 6]}
        )
    assert str(caught.value) == (
        "scorer table of features [2]: attributions do not sum to the score"
    )


def test_tables_that_a_decision_could_not_hold_are_refused():
    splits = (np.array([], dtype=np.int64),)
    score = np.array([0, 2**53])
    big = Effect((0,), splits, 0, score, score)
    with pytest.raises(InputError, match="can pass 8192 log-odds; a decision cannot hold that"):
        AdditiveTables("h", 1, 0, (big,))
    small = Effect((3,), splits, 0, np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(InputError, match="names a feature outside the 1 there are"):
        AdditiveTables("h", 1, 0, (small,))
