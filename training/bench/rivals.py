"""The methods of ``bench accuracy``, each behind one function; a library is imported by its own.

Every method gets the same training rows, the same categories and one thread. Boosters that stop
early hold out the same seventh of the training rows, divided as the outer folds are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from data_contracts.units import FloatArray, IntArray
from training.estimator import AdditiveBoosterClassifier
from training.estimator_bags import parts_of

ROUNDS: Final = 2000
PATIENCE: Final = 50
INNER_PARTS: Final = 7


@dataclass(frozen=True)
class Task:
    """One fit: training and test rows of a set, and the seconds that a search may take."""

    train: pd.DataFrame
    label: IntArray
    clusters: IntArray
    test: pd.DataFrame
    categories: tuple[str, ...]
    seed: int
    seconds: float

    @property
    def numbers(self) -> list[str]:
        """Columns that are no categories."""
        return [str(c) for c in self.train if c not in self.categories]

    def held_out(self) -> Any:
        """Rows of the training part that stop a booster."""
        clusters = np.unique(self.clusters, return_inverse=True)[1].astype(np.int64)
        return parts_of(self.label, clusters, INNER_PARTS, self.seed) == 0

    def typed(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Training and test features with pandas categories of the training levels."""
        train, test = self.train.copy(), self.test.copy()
        for c in self.categories:
            kind = pd.CategoricalDtype(sorted(train[c].unique()))
            train[c], test[c] = train[c].astype(kind), test[c].astype(kind)
        return train, test


def logistic(task: Task) -> FloatArray:
    """Logistic regression: one-hot, medians with an indicator, scaled."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = make_column_transformer(
        (numbers, task.numbers), (OneHotEncoder(handle_unknown="ignore"), list(task.categories))
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=2000))
    model.fit(task.train, task.label)
    return np.asarray(model.predict_proba(task.test)[:, 1])


def scorecard(task: Task) -> FloatArray:
    """Weight-of-evidence scorecard: optimal bins, then a logistic regression on them."""
    from optbinning import BinningProcess
    from sklearn.linear_model import LogisticRegression

    bins = BinningProcess(list(task.train.columns), categorical_variables=list(task.categories))
    bins.fit(task.train, task.label)
    options = {"metric": "woe", "metric_missing": "empirical"}
    model = LogisticRegression(max_iter=2000)
    model.fit(np.asarray(bins.transform(task.train, **options)), task.label)
    test = np.asarray(bins.transform(task.test, **options))
    return np.asarray(model.predict_proba(test)[:, 1])


def ebm(task: Task) -> FloatArray:
    """Explainable boosting machine, with as many outer bags as ours."""
    from interpret.glassbox import ExplainableBoostingClassifier

    kinds = ["nominal" if c in task.categories else "continuous" for c in task.train]
    model = ExplainableBoostingClassifier(
        feature_types=kinds, outer_bags=8, n_jobs=1, random_state=task.seed
    )
    model.fit(task.train, task.label)
    return np.asarray(model.predict_proba(task.test)[:, 1])


def lightgbm(task: Task) -> FloatArray:
    """LightGBM, 31 leaves, learning rate 0.05, stopped early."""
    import lightgbm as lgb

    train, test = task.typed()
    held = task.held_out()
    model = lgb.LGBMClassifier(
        n_estimators=ROUNDS, learning_rate=0.05, n_jobs=1, random_state=task.seed, verbosity=-1
    )
    model.fit(
        train[~held],
        task.label[~held],
        eval_set=[(train[held], task.label[held])],
        eval_metric="binary_logloss",
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return np.asarray(model.predict_proba(test))[:, 1]


def xgboost(task: Task) -> FloatArray:
    """XGBoost, depth 6, learning rate 0.05, stopped early."""
    import xgboost as xgb

    train, test = task.typed()
    held = task.held_out()
    model = xgb.XGBClassifier(
        n_estimators=ROUNDS, learning_rate=0.05, n_jobs=1, random_state=task.seed,
        enable_categorical=True, tree_method="hist", early_stopping_rounds=PATIENCE,
        eval_metric="logloss",
    )  # fmt: skip
    held_out = [(train[held], task.label[held])]
    model.fit(train[~held], task.label[~held], eval_set=held_out, verbose=False)
    return np.asarray(model.predict_proba(test)[:, 1])


def catboost(task: Task) -> FloatArray:
    """CatBoost with its defaults, stopped early."""
    from catboost import CatBoostClassifier

    held = task.held_out()
    model = CatBoostClassifier(
        iterations=1000, thread_count=1, random_seed=task.seed, verbose=False,
        allow_writing_files=False, cat_features=list(task.categories),
    )  # fmt: skip
    model.fit(
        task.train[~held],
        task.label[~held],
        eval_set=(task.train[held], task.label[held]),
        early_stopping_rounds=PATIENCE,
    )
    return np.asarray(model.predict_proba(task.test)[:, 1])


def frozen(task: Task) -> FloatArray:
    """Ours with the frozen recipe."""
    model = AdditiveBoosterClassifier(categorical=task.categories, random_state=task.seed)
    model.fit(task.train, task.label, groups=task.clusters)
    return np.asarray(model.predict_proba(task.test)[:, 1])


def tuned(task: Task) -> FloatArray:
    """Ours after an Optuna search inside the training rows, for the seconds of the task."""
    from training.estimator_tune import tune

    model = AdditiveBoosterClassifier(categorical=task.categories, random_state=task.seed)
    found = tune(
        model, task.train, task.label, groups=task.clusters, trials=20,
        seconds=task.seconds, seed=task.seed,
    )  # fmt: skip
    return np.asarray(found.model.predict_proba(task.test)[:, 1])


Method = Callable[[Task], FloatArray]
GLASS: Final[dict[str, Method]] = {
    "logistic": logistic,
    "scorecard": scorecard,
    "ebm": ebm,
    "ours_frozen": frozen,
    "ours_tuned": tuned,
}
BLACK: Final[dict[str, Method]] = {"lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost}
NEEDS: Final = {
    "scorecard": "optbinning", "ebm": "interpret", "xgboost": "xgboost", "catboost": "catboost",
    "ours_tuned": "optuna",
}  # fmt: skip
"""The library that a method needs beyond those of the project."""
