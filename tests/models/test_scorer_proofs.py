"""Proofs on what is served: monotone or a witness; and shap refused where it does not add up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL, FloatArray
from models.scorer import FloatTables, compile_float_booster
from models.scorer import kernel as scorer_kernel
from models.scorer.front import ZERO
from models.scorer.trees import tree_monotone_witnesses
from training import estimator_bags, fit
from training.estimator import AdditiveBoosterClassifier
from training.explain import explain_any, refuse_advanced

VECTORS = Path(__file__).parent.parent / "vectors"
COMMON = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1}


def _counter_example() -> tuple[dict[str, object], lgb.Booster]:
    path = VECTORS / "lightgbm_advanced_monotone_violation.json"
    vector = json.loads(path.read_text())
    return vector, lgb.Booster(model_str=vector["model_txt"])


def test_the_advanced_constraint_method_is_refused():
    _, booster = _counter_example()
    with pytest.raises(InputError, match="advanced can break the constraints it is given"):
        refuse_advanced(booster)
    x = np.random.default_rng(0).normal(size=(300, 2))
    y = (x[:, 0] > 0).astype(np.float64)
    for method, kept in (("basic", True), ("intermediate", True), ("advanced", False)):
        parameters = {
            **COMMON,
            "monotone_constraints": [1, 0],
            "monotone_constraints_method": method,
        }
        trained = lgb.train(parameters, lgb.Dataset(x, y), 2)
        if kept:
            refuse_advanced(trained)
        else:
            with pytest.raises(InputError):
                refuse_advanced(trained)


def test_no_training_path_compiles_a_booster_of_the_advanced_method(monkeypatch):
    rng = np.random.default_rng(1)
    values = rng.integers(-100, 100, size=(1200, 3))
    label = (values[:, 0] + rng.normal(0, 30, 1200) > 0).astype(np.int64)
    lesson = fit.Lesson(values, label, np.arange(1200))
    name, method = "monotone_constraints_method", "advanced"
    usual = estimator_bags._parameters
    monkeypatch.setattr(
        estimator_bags, "_parameters", lambda *given: {**usual(*given), name: method}
    )
    with pytest.raises(InputError, match="advanced can break the constraints it is given"):
        fit.fit_default_60(lesson, ["a", "b", "c"], [1, 0, 0], values[:200], 1)
    model = AdditiveBoosterClassifier(n_bags=2, max_rounds=5, monotone={0: 1}, random_state=1)
    with pytest.raises(InputError, match="advanced can break the constraints it is given"):
        model.fit(values, label)


def test_the_counter_example_is_caught_leaf_against_leaf_with_two_rows_that_show_it():
    vector, booster = _counter_example()
    known = vector["witness"]
    assert isinstance(known, dict)
    found = tree_monotone_witnesses(booster.dump_model(), [1, -1, 1, 1, 1])
    assert [(w.tree, w.feature) for w in found] == [(known["tree"], known["feature"])]
    witness = found[0]
    assert witness.drop == pytest.approx(known["tree_leaf_drop"], abs=1e-15)
    rows = np.array([witness.low, witness.high])
    assert np.flatnonzero(rows[0] != rows[1]).tolist() == [known["feature"]]
    assert rows[0, known["feature"]] < rows[1, known["feature"]]
    alone = np.asarray(
        booster.predict(rows, raw_score=True, start_iteration=witness.tree, num_iteration=1)
    )
    assert alone[0] - alone[1] == pytest.approx(witness.drop, abs=1e-15)


def test_basic_constraints_pass_the_leaf_check_and_free_trees_do_not():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1500, 3))
    y = (x[:, 0] + np.sin(3 * x[:, 1]) + rng.normal(size=1500) > 0).astype(np.float64)
    held = lgb.train({**COMMON, "monotone_constraints": [1, 1, 0]}, lgb.Dataset(x, y), 20)
    assert tree_monotone_witnesses(held.dump_model(), [1, 1, 0]) == []
    free = lgb.train(COMMON, lgb.Dataset(x, y), 20)
    assert tree_monotone_witnesses(free.dump_model(), [1, 1, 0])


def _constrained() -> tuple[FloatTables, FloatArray]:
    """A direction on feature 0, missing values on both, a category as feature 2."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3000, 3))
    x[:, 2] = rng.integers(0, 6, 3000)
    x[rng.random(x.shape) < 0.2] = np.nan
    z = np.nan_to_num(x[:, 0], nan=3.0) + np.sin(np.nan_to_num(x[:, 1])) + (x[:, 2] == 3)
    y = (rng.random(3000) < 1 / (1 + np.exp(-z))).astype(np.float64)
    parameters = {
        **COMMON,
        "num_leaves": 8,
        "monotone_constraints": [1, 0, 0],
        "interaction_constraints": [[0, 1], [0, 2], [1, 2]],
    }
    data = lgb.Dataset(x, y, categorical_feature=[2])
    compiled = compile_float_booster(lgb.train(parameters, data, 40).dump_model(), x[:500], "h")
    return compiled.served, x


def test_missing_values_stand_outside_the_order_that_is_proved():
    served, x = _constrained()
    assert served.monotone_violations((1, 0, 0)) == []
    known = x[~np.isnan(x[:, 0])]
    higher = known + np.array([0.7, 0.0, 0.0])
    assert (served.score(higher) >= served.score(known)).all()
    missing = known.copy()
    missing[:, 0] = np.nan
    assert (served.score(missing) > served.score(known + np.array([-9.0, 0.0, 0.0]))).any()


def test_a_planted_cell_is_found_in_raw_numbers_and_a_category_has_no_direction():
    served, _ = _constrained()
    at = next(k for k, e in enumerate(served.tables.effects) if e.features == (0, 1))
    effect = served.tables.effects[at]
    score = effect.score.copy()
    score[2, 1] += 3 * LOG_ODDS_ONE
    effects = list(served.tables.effects)
    effects[at] = replace(effect, score=score)
    planted = FloatTables(served.front, replace(served.tables, effects=tuple(effects)))
    witnesses = planted.monotone_violations((1, 0, 0))
    assert len(witnesses) == 1
    lower = float(witnesses[0].split("from ")[1].split(" to ")[0])
    assert -5 < lower < 5
    with pytest.raises(InputError, match="feature 2 is a category; it cannot have a direction"):
        served.monotone_violations((1, 0, 1))


def test_shap_is_refused_where_its_values_do_not_add_up_to_the_prediction():
    """shap reads float32: values that differ beyond 24 bits fall on the wrong side of a split."""
    rng = np.random.default_rng(0)
    near = np.round(rng.normal(size=(2000, 4)) * 20)
    y = (near[:, 0] * near[:, 1] > 0).astype(np.float64)
    good = lgb.train({**COMMON, "num_leaves": 15}, lgb.Dataset(near, y), 20)
    told = explain_any(good, near[:100], near[:50])
    assert told.largest_gap < 1e-6
    assert np.abs(told.base + told.phi.sum(axis=1) - told.prediction).max() < 1e-6
    far = near + 1e9
    wrong = lgb.train({**COMMON, "num_leaves": 15}, lgb.Dataset(far, y), 20)
    with pytest.raises(InputError, match="they explain something else and are refused"):
        explain_any(wrong, far[:100], far[:50])
    assert explain_any(wrong, far[:100]).largest_gap < 1e-9  # LightGBM's own, in float64


def test_the_kernels_constants_are_those_of_the_project():
    assert int(scorer_kernel._NULL) == NULL
    assert float(scorer_kernel._ZERO_VALUE) == ZERO


def test_reading_tables_loads_no_compiler():
    code = "import sys, models.bundle; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
