"""``AdditiveBoosterClassifier``: a scikit-learn classifier that is exactly a set of tables.

Every path of every tree uses at most two columns, so the bagged booster is a sum of tables over
one or two columns. ``fit`` compiles them, ``predict_proba`` and ``explain`` look them up; the
boosters stay at hand in ``bagged_`` for the proof that both are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, FloatArray, IntArray
from models.scorer import FloatTables, compile_float_booster
from models.scorer.reference import LEAST_CELL
from training.estimator_bags import Bagged, Sample, clusters_of, fit_bags
from training.explain import refuse_advanced
from training.recipe import FROZEN, Recipe
from training.table_encode import declared, levels_in

REFERENCE_ROWS = 5000
HEAD = "default"


class AdditiveBoosterClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Binary classifier: main effects and pairs of a bagged LightGBM, compiled into tables.

    Parameters that are None are those of the frozen recipe (``training.recipe``). Features are
    named by column name, or by position (as text, or as a number) where the input has no names.

    Parameters
    ----------
    n_bags : boosters that are averaged in log-odds
    max_rounds : most boosting rounds; held-out rows end them earlier
    learning_rate : shrinkage
    pairs_per_feature : pairs that may interact, as a multiple of the columns; 0 for main effects
    monotone : direction by feature, +1 if a higher value makes the second class likelier
    categorical : features that are categories; anything may stand for a level
    special : by feature, codes that are no numbers; directions do not hold across them
    recipe : all other settings
    random_state : seed of everything random
    n_jobs : bags grown at the same time; results never depend on it
    """

    def __init__(
        self,
        n_bags: int | None = None,
        max_rounds: int | None = None,
        learning_rate: float | None = None,
        pairs_per_feature: float | None = None,
        monotone: Mapping[Any, int] | None = None,
        categorical: Sequence[Any] | None = None,
        special: Mapping[Any, Sequence[float]] | None = None,
        recipe: Recipe | None = None,
        random_state: Any = None,
        n_jobs: int = 1,
    ) -> None:
        self.n_bags = n_bags
        self.max_rounds = max_rounds
        self.learning_rate = learning_rate
        self.pairs_per_feature = pairs_per_feature
        self.monotone = monotone
        self.categorical = categorical
        self.special = special
        self.recipe = recipe
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags

    def _recipe(self) -> Recipe:
        names = ("n_bags", "max_rounds", "learning_rate", "pairs_per_feature")
        given = {n: getattr(self, n) for n in names if getattr(self, n) is not None}
        recipe = replace(self.recipe or FROZEN, **given)
        if recipe.n_bags < 1 or recipe.max_rounds < 1 or recipe.pairs_per_feature < 0:
            raise ValueError("n_bags and max_rounds are at least 1, pairs_per_feature at least 0")
        return recipe

    def _seed(self) -> int:
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state) % 2**30
        from sklearn.utils import check_random_state

        return int(check_random_state(self.random_state or 0).randint(2**30))

    def _positioned(self, X: Any, levels: Mapping[str, tuple[str | None, ...]] | None) -> Any:
        """X with its categories as positions, and the levels (those found, where None is given)."""
        names = {str(c): c for c in self.categorical or ()}
        if not names:
            return X, {}
        framed = hasattr(X, "columns")
        out: Any = X.copy() if framed else np.array(X, dtype=object)
        there = [str(c) for c in (X.columns if framed else range(out.shape[1]))]
        found: dict[str, tuple[str | None, ...]] = {}
        for name in names:
            if name not in there:
                raise InputError(f"categorical names {name!r}, which is no feature of the table")
            k = there.index(name)
            values = out.iloc[:, k].astype(object).to_numpy() if framed else out[:, k]
            found[name] = levels_in(values) if levels is None else levels[name]
            encoder = declared([name], {name: found[name]}, {}, {})
            positions = encoder.features[0].positions(values)
            if framed:
                out[X.columns[k]] = positions
            else:
                out[:, k] = positions
        return out, found

    def _matrix(self, X: Any, reset: bool, y: Any = None) -> Any:
        options: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": False, "reset": reset}
        return validate_data(self, X, y, **options) if reset else validate_data(self, X, **options)

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> AdditiveBoosterClassifier:
        """Fit and compile.

        Parameters
        ----------
        X : (N, features), a frame or an array; NaN is missing
        y : (N,), two classes; the second in sorted order is the one scored
        sample_weight : (N,), rows of weight zero are left out
        groups : (N,), rows of one group are never divided between learning and stopping
        """
        self._compile(self._grown(X, y, sample_weight, groups))
        return self

    def search_loss(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> float | None:
        """Log-loss on rows that no bag learns from, without compiling; None if there are none."""
        self._grown(X, y, sample_weight, groups)
        return self.validation_loss_

    def _grown(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> FloatArray:
        """Grow the boosters; returns the columns that they learnt from."""
        recipe = self._recipe()
        X, levels = self._positioned(X, None)
        values, y = self._matrix(X, True, y)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}."
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, values, ensure_non_negative=True)
        kept = np.ones(len(y), dtype=bool) if sample_weight is None else sample_weight > 0
        self.classes_ = np.unique(y)
        labels = np.searchsorted(self.classes_, y).astype(np.int64)[kept]
        if len(np.unique(labels)) < 2:
            raise ValueError("the target holds one class only; two classes are needed")
        if groups is not None:
            groups = np.asarray(groups)
            if groups.shape != (len(y),):
                raise ValueError(f"groups has shape {groups.shape}, not {(len(y),)}")
            groups = groups[kept]
        names = [str(n) for n in getattr(self, "feature_names_in_", range(values.shape[1]))]
        self.encoder_ = declared(
            names,
            levels,
            {str(k): v for k, v in (self.monotone or {}).items()},
            {str(k): v for k, v in (self.special or {}).items()},
        )
        columns = self.encoder_.encode(values[kept])
        weights = None if sample_weight is None else sample_weight[kept]
        sample = Sample(columns, labels, weights, clusters_of(columns, groups))
        self.recipe_ = recipe
        self.bagged_: Bagged = fit_bags(
            sample,
            self.encoder_.directions,
            self.encoder_.categorical,
            recipe,
            self._seed(),
            self.n_jobs,
        )
        self.n_iter_ = self.bagged_.rounds
        self.validation_loss_ = self.bagged_.held_out_loss
        return columns

    def _compile(self, columns: FloatArray) -> None:
        for booster in self.bagged_.boosters:
            refuse_advanced(booster)
        rows = np.random.default_rng(self._seed()).permutation(len(columns))[:REFERENCE_ROWS]
        self.reference_ = columns[np.sort(rows)]
        self.compiled_ = compile_float_booster(
            self.bagged_.dumps(), self.reference_, HEAD, least_cell=LEAST_CELL
        )
        self.tables_ = self.compiled_.served

    def bags_tables(self) -> list[FloatTables]:
        """The tables of each booster alone, whose mean is served: for bands in pictures."""
        check_is_fitted(self)
        return [
            compile_float_booster([dump], self.reference_, HEAD, least_cell=LEAST_CELL).served
            for dump in self.bagged_.dumps()
        ]

    def encoded(self, X: Any) -> FloatArray:
        """The columns that boosters and tables read."""
        check_is_fitted(self)
        levels = {f.name: f.levels for f in self.encoder_.features if f.levels is not None}
        values = self._matrix(self._positioned(X, levels)[0], False)
        return self.encoder_.encode(values)

    def decision_function(self, X: Any) -> FloatArray:
        """Log-odds of the second class, from the tables."""
        return np.asarray(self.tables_score(X) / LOG_ODDS_ONE, dtype=np.float64)

    def tables_score(self, X: Any) -> IntArray:
        """Log-odds as integers in 2**-40."""
        columns = self.encoded(X)
        return self.tables_.score(columns)

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities of both classes, (N, 2)."""
        p = 1.0 / (1.0 + np.exp(-self.decision_function(X)))
        return np.column_stack([1.0 - p, p])

    def predict(self, X: Any) -> Any:
        """The likelier class."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(np.int64)]

    def explain(self, X: Any) -> tuple[float, FloatArray]:
        """Base and attributions (N, features) in log-odds; their sum is ``decision_function``.

        They are interventional Shapley values against a sample of the training rows.
        """
        columns = self.encoded(X)
        phi = self.encoder_.by_feature(self.tables_.score_and_attributions(columns)[1])
        return self.tables_.base_attribution / LOG_ODDS_ONE, phi / LOG_ODDS_ONE

    @property
    def effects_(self) -> list[tuple[str, ...]]:
        """The terms of the sum: names of one or two features each."""
        check_is_fitted(self)
        columns = self.encoder_.columns
        found = [
            tuple(
                dict.fromkeys(self.encoder_.features[columns[c].feature].name for c in e.features)
            )
            for e in self.tables_.tables.effects
        ]
        return list(dict.fromkeys(found))
