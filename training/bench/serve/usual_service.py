"""The usual stack: a BentoML service with its defaults around boosters and shap, nothing stored.

Served by ``bentoml serve``; ``GEARLINE_BENCH_MODEL`` names the bags' text files. Each request
brings its features; the answer is the probability and each feature's part of it.
"""

from __future__ import annotations

import math
import os
from typing import Any

import bentoml
import lightgbm as lgb
import numpy as np
import shap


def positive(values: Any) -> Any:
    """Parts of the positive class: shap answers both classes where the objective is binary."""
    return values[-1] if isinstance(values, list) else values


@bentoml.service
class Usual:
    """Loads the boosters once, explains each request with shap."""

    def __init__(self) -> None:
        files = os.environ["GEARLINE_BENCH_MODEL"].split(os.pathsep)
        self.explainers = [shap.TreeExplainer(lgb.Booster(model_file=f)) for f in files]

    @bentoml.api
    def decide(self, features: list[float | None]) -> dict[str, Any]:
        """Probability and attributions of one client."""
        row = np.array([[np.nan if v is None else v for v in features]], dtype=np.float64)
        # one pass a bag: the parts and their base sum to its log-odds
        parts = np.mean([positive(e.shap_values(row, check_additivity=False))
                         for e in self.explainers], axis=0)[0]  # fmt: skip
        base = float(np.mean([np.ravel(e.expected_value)[-1] for e in self.explainers]))
        log_odds = base + float(parts.sum())
        return {"probability": 1 / (1 + math.exp(-log_odds)), "attributions": parts.tolist()}
