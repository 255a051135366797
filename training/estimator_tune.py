"""A search over the recipe with Optuna, judged on held-out rows; fits logged to MLflow."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sklearn.base import clone

from data_contracts.errors import InputError
from training.estimator import AdditiveBoosterClassifier
from training.recipe import FROZEN, Recipe

SEARCH_BAGS: Final = 5
"""Bags of a trial: five hold out every row once, which is all that judging needs."""


@dataclass(frozen=True)
class Tuned:
    """The refitted model, and the held-out log-loss of every trial in order."""

    model: AdditiveBoosterClassifier
    losses: tuple[float, ...]
    best: int


def _drawn(trial: Any, start: Recipe) -> Recipe:
    return replace(
        start,
        learning_rate=trial.suggest_float("learning_rate", 0.03, 0.15, log=True),
        num_leaves=trial.suggest_int("num_leaves", 4, 16),
        l2=trial.suggest_float("l2", 0.5, 30.0, log=True),
        min_data_share=trial.suggest_int("min_data_share", 50, 500, log=True),
        feature_fraction=trial.suggest_float("feature_fraction", 0.3, 1.0),
        bagging_fraction=trial.suggest_float("bagging_fraction", 0.5, 1.0),
        pairs_per_feature=trial.suggest_categorical("pairs_per_feature", (0.0, 1.0, 2.0, 4.0, 8.0)),
        extra_trees=trial.suggest_categorical("extra_trees", (True, False)),
    )


def tune(
    model: AdditiveBoosterClassifier,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    groups: Any = None,
    trials: int = 30,
    seconds: float | None = None,
    seed: int = 7,
) -> Tuned:
    """Search, then refit the best recipe with all bags.

    The first trial is the frozen recipe, so the result is never worse on the rows that judge.
    With ``seconds``, of processor time, the number of trials depends on the machine; without, on
    ``trials`` alone.

    Raises
    ------
    InputError
        If Optuna is not installed, or no row can be held out.
    """
    try:
        import optuna
    except ImportError:
        raise InputError(
            "tuning needs optuna, which is not installed; install it beside gearline"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started, losses, recipes = time.process_time(), list[float](), list[Recipe]()
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    start = model.recipe or FROZEN
    while len(losses) < trials:
        trial = None if not losses else study.ask()
        recipe = start if trial is None else _drawn(trial, start)
        one = clone(model).set_params(recipe=replace(recipe, n_bags=SEARCH_BAGS), n_bags=None)
        loss = one.search_loss(X, y, sample_weight, groups)
        if loss is None:
            raise InputError(
                "too few rows of a class to hold any out; a search has nothing to go by"
            )
        if trial is not None:
            study.tell(trial, loss)
        losses.append(loss)
        recipes.append(recipe)
        spent = time.process_time() - started
        if seconds is not None and spent * (1 + 2 / len(losses)) > seconds:
            break
    best = losses.index(min(losses))
    found = clone(model).set_params(recipe=recipes[best])
    found.fit(X, y, sample_weight, groups)
    return Tuned(found, tuple(losses), best)


def log_fit(store: Path, bundle: Path, bundle_sha256: str, model: AdditiveBoosterClassifier) -> str:
    """Log a fitted model's recipe and figures with its bundle to MLflow; the run's id."""
    from training.registry import log_training

    report = {
        **model.recipe_.as_dict(),
        "rounds": model.n_iter_,
        "effects": len(model.effects_),
        "kind": "frozen" if model.recipe_ == FROZEN else "tuned",
    }
    if model.validation_loss_ is not None:
        report["held_out_log_loss"] = model.validation_loss_
    return log_training(store, bundle, bundle_sha256, report)
