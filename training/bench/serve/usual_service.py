"""The usual stack: a BentoML service with its defaults around a booster and shap, nothing stored.

Served by ``bentoml serve``; ``GEARLINE_BENCH_MODEL`` names the booster's text file. Each request
brings its features; the answer is the probability and each feature's part of it.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import lightgbm as lgb
import numpy as np
import shap


@bentoml.service
class Usual:
    """Loads the booster once, explains each request with shap."""

    def __init__(self) -> None:
        self.booster = lgb.Booster(model_file=os.environ["GEARLINE_BENCH_MODEL"])
        self.explainer = shap.TreeExplainer(self.booster)

    @bentoml.api
    def decide(self, features: list[float | None]) -> dict[str, Any]:
        """Probability and attributions of one client."""
        row = np.array([[np.nan if v is None else v for v in features]], dtype=np.float64)
        probability = float(np.asarray(self.booster.predict(row))[0])
        parts = np.asarray(self.explainer.shap_values(row, check_additivity=False))[0]
        return {"probability": probability, "attributions": parts.tolist()}
