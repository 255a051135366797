"""The rival's model: bagged boosters of 31 leaves, fitted on the lake's own training sample.

Parameters and number of bags are those of the black box of ``bench explain``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import lake_info, read_table
from data_contracts.units import NULL, FloatArray
from features.asof import BookHistory
from features.panel import load_panel
from features.sets import feature_set
from models.bundle import Bundle
from training.evaluate import auc
from training.labels import load_outcomes
from training.sample import build_sample
from training.splits import plan_split, stops

ROUNDS: Final = 600
STOP: Final = 40
PARAMETERS: Final[dict[str, Any]] = {
    "objective": "binary",
    "metric": "auc",
    "verbosity": -1,
    "num_threads": 2,
    "deterministic": True,
    "force_row_wise": True,
    "num_leaves": 31,
    "learning_rate": 0.05,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "min_data_in_leaf": 40,
}


@dataclass(frozen=True)
class Rival:
    """The boosters' files, and both models' AUC on the same rows that neither was fitted on."""

    files: tuple[Path, ...]
    trees: int
    own_auc: float
    usual_auc: float


def as_floats(values: Any) -> FloatArray:
    """Quanta as floats, NaN where undefined."""
    return np.where(values == NULL, np.nan, values).astype(np.float64)


def fit_rival(lake: Path, out: Path, seed: int, bags: int, stages: Any) -> Rival:
    """Fit the boosters on the sample that the lake's own bundle was fitted on."""
    bundle = Bundle.read(lake / "bundle")
    panel = load_panel(lake)
    histories = []
    buckets = lake_info(lake).buckets
    for bucket in range(buckets):
        histories.append(BookHistory.load(lake, panel, bucket))
        stages("load", bucket + 1, buckets)
    outcomes = load_outcomes(lake, panel)
    opened = read_table(lake, "accounts", columns=["opened_on"])["opened_on"]
    first = panel.session_index(
        np.datetime64(max(pc.min(opened).as_py(), panel.sessions[0].item()))
    )
    split = plan_split(panel, first, len(panel.sessions) - 1)
    chosen = feature_set(str(bundle.features["feature_set"]))
    sample = build_sample(histories, outcomes, split.train_rows, chosen, None)
    taught = sample.take((sample.default_60 >= 0) & ~split.calibrates(sample.cluster))
    kept = sample.take((sample.default_60 >= 0) & split.calibrates(sample.cluster))
    stop = stops(taught.cluster)
    x, y = as_floats(taught.values[~stop]), taught.default_60[~stop]
    files, trees, theirs = [], 0, np.zeros(len(kept.default_60))
    for bag in range(bags):
        stages("fit", bag, bags)
        train = lgb.Dataset(x, y)
        watch = lgb.Dataset(
            as_floats(taught.values[stop]), taught.default_60[stop], reference=train
        )
        booster = lgb.train(
            {**PARAMETERS, "seed": seed + bag},
            train,
            num_boost_round=ROUNDS,
            valid_sets=[watch],
            callbacks=[lgb.early_stopping(STOP, verbose=False)],
        )
        best = booster.best_iteration
        files.append(out / f"usual-{bag}.txt")
        booster.save_model(str(files[-1]), num_iteration=best)
        trees += int(best)
        theirs += np.asarray(
            booster.predict(as_floats(kept.values), num_iteration=best, raw_score=True)
        )
    stages("fit", bags, bags)
    own = bundle.head.score(kept.values).astype(np.float64)
    own_auc, usual_auc = (auc(scores, kept.default_60) for scores in (own, theirs))
    if own_auc is None or usual_auc is None:
        raise InputError(f"{lake} has no default to judge on; make a demo of more clients")
    return Rival(
        tuple(files),
        trees,
        own_auc,
        usual_auc,
    )
