"""The search over the recipe, where optuna is installed, and what is said where it is not."""

import sys

import numpy as np
import pytest

from data_contracts.errors import InputError
from training.estimator import AdditiveBoosterClassifier
from training.estimator_tune import log_fit, tune
from training.recipe import FROZEN, RECIPE_VERSION


def made_up(rows=450):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 3))
    return X, (rng.random(rows) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)


def test_without_optuna_it_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match="tuning needs optuna"):
        tune(AdditiveBoosterClassifier(), *made_up())


def test_the_search_starts_at_the_frozen_recipe_and_is_never_worse_on_its_judges():
    pytest.importorskip("optuna", reason="optuna is an optional library")
    model = AdditiveBoosterClassifier(max_rounds=15, random_state=0)
    found = tune(model, *made_up(), trials=3, seed=1)
    again = tune(model, *made_up(), trials=3, seed=1)
    assert len(found.losses) == 3
    assert found.losses[found.best] == min(found.losses) <= found.losses[0]
    assert found.losses == again.losses
    assert found.model.recipe_.n_bags == FROZEN.n_bags


def test_a_fit_is_logged_with_its_recipe(tmp_path, monkeypatch):
    logged = {}

    def log_training(store, bundle, sha256, report):
        logged.update(report)
        return "a-run"

    monkeypatch.setattr("training.registry.log_training", log_training)
    model = AdditiveBoosterClassifier(n_bags=2, max_rounds=5, random_state=0).fit(*made_up())
    assert log_fit(tmp_path, tmp_path, "0" * 64, model) == "a-run"
    assert logged["recipe_version"] == RECIPE_VERSION
    assert logged["rounds"] == model.n_iter_
    assert logged["held_out_log_loss"] == model.validation_loss_
