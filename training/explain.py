"""Explaining any tree model by the shap library, and checks of what it says.

The black-box challenger is explained here; our own tables have their own exact values, which this
is the independent check of. An explanation that does not add up to the prediction explains
something else, so it is refused.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray

ADDITIVITY: Final = 1e-6
"""Sums of some thousand float64 terms differ near 1e-12; float32 leaves near 1e-6."""


@dataclass(frozen=True)
class Explanation:
    """Attributions (N, K), base (N,) and prediction (N,), in the model's raw output."""

    phi: FloatArray
    base: FloatArray
    prediction: FloatArray
    largest_gap: float


def _raw(model: Any, values: FloatArray) -> FloatArray:
    """The raw output that Shapley values of trees add up to."""
    if isinstance(model, lgb.Booster):
        return np.asarray(model.predict(values, raw_score=True), dtype=np.float64)
    if isinstance(model, lgb.LGBMModel):
        return np.asarray(model.predict(values, raw_score=True), dtype=np.float64)
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(values), dtype=np.float64)
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(values)[:, 1], dtype=np.float64)
    return np.asarray(model.predict(values), dtype=np.float64)


def explain_any(
    model: Any,
    values: FloatArray,
    reference: FloatArray | None = None,
    *,
    tolerance: float = ADDITIVITY,
) -> Explanation:
    """Shapley values of any tree model that shap reads, refused if they do not add up.

    Parameters
    ----------
    model : a LightGBM booster, or a scikit-learn-like tree model of one output or two classes
    values : float (N, K), rows to explain
    reference : float (R, K), for interventional values; without it they are path-dependent
    tolerance : largest gap between base + sum of attributions and the prediction

    Raises
    ------
    InputError
        If shap cannot read the model, or the gap is larger anywhere; the row is named.
    """
    import shap

    try:
        if reference is None:
            explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
        else:
            masker = shap.maskers.Independent(reference, max_samples=len(reference))
            explainer = shap.TreeExplainer(
                model, data=masker, feature_perturbation="interventional"
            )
        with warnings.catch_warnings():
            # a remark on the form of shap's answer, which is read below whatever it is
            warnings.filterwarnings("ignore", "LightGBM binary classifier", UserWarning, "shap")
            answer = explainer.shap_values(values, check_additivity=False)
        phi = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError) as error:
        raise InputError(f"shap cannot explain this model: {error}") from None
    expected = np.atleast_1d(np.asarray(explainer.expected_value, dtype=np.float64))
    if phi.ndim == 3:  # one array a class: the second
        phi = phi[:, :, -1]
    base = np.full(len(values), expected[-1])
    prediction = _raw(model, values)
    gap = np.abs(base + phi.sum(axis=1) - prediction)
    worst = int(np.argmax(np.where(np.isnan(gap), np.inf, gap))) if len(gap) else 0
    largest = float(gap[worst]) if len(gap) else 0.0
    if not largest <= tolerance:
        raise InputError(
            f"the attributions of row {worst} miss the prediction by {largest:.3g}, more than"
            f" {tolerance:g}; they explain something else and are refused"
        )
    return Explanation(phi, base, prediction, largest)


def refuse_advanced(booster: lgb.Booster) -> None:
    """Refuse a booster trained with ``monotone_constraints_method=advanced``.

    LightGBM's advanced method can break its constraints (found in 4.7.0, as a counter-example in
    the tests shows); ``basic`` and ``intermediate`` hold them.
    """
    method = re.search(
        r"^\[monotone_constraints_method: (\w+)\]$", booster.model_to_string(), re.MULTILINE
    )
    chosen = str(booster.params.get("monotone_constraints_method", ""))
    if chosen == "advanced" or (method is not None and method.group(1) == "advanced"):
        raise InputError(
            "monotone_constraints_method=advanced can break the constraints it is given; train with"
            " basic"
        )
