"""What a glass box saves: ours against shap on a bagged, unconstrained booster of equal accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from training.estimator import AdditiveBoosterClassifier

BAGS: Final = 8
EXPLAINED: Final = 100
"""Rows that the black box explains in a round; it explains some hundred a second."""
SETS: Final = {
    "taiwan": ("UCI_Credit_Card.csv.gz", "default.payment.next.month", "ID"),
    "gmsc": ("cs-training-100k.csv.gz", "SeriousDlqin2yrs", None),
}
"""File, target and row number of the real sets that ``--data DIR`` may hold, the first one taken."""


@dataclass(frozen=True)
class Contest:
    """Two fitted models of one split, and the rows they explain."""

    data: str
    own: AdditiveBoosterClassifier
    boosters: list[lgb.Booster]
    explainers: list[Any]
    own_auc: float
    blackbox_auc: float
    tested: FloatArray
    many: FloatArray
    out: tuple[IntArray, IntArray]

    def explain_own(self) -> None:
        """Scores and attributions of ``many`` rows by our tables."""
        self.own.tables_.score_and_attributions(self.many, out=self.out)

    def explain_blackbox(self) -> None:
        """Attributions of ``EXPLAINED`` rows by shap: the mean over the bags."""
        rows = self.tested[:EXPLAINED]
        for explainer in self.explainers:
            explainer.shap_values(rows, check_additivity=False)

    def ratio(self, seconds: Callable[[Callable[[], object]], float]) -> tuple[float, float, float]:
        """One paired round: rows a second of ours and of the black box, and their ratio."""
        own = len(self.many) / seconds(self.explain_own)
        theirs = min(EXPLAINED, len(self.tested)) / seconds(self.explain_blackbox)
        return own, theirs, own / theirs


def real_set(folder: Path) -> tuple[str, FloatArray, IntArray]:
    """Name, features and target of the first known set under the folder."""
    for name, (file, target, number) in SETS.items():
        path = folder / name / file
        if path.is_file():
            table = pd.read_csv(path)
            drop = [c for c in (target, number, "Unnamed: 0") if c in table.columns]
            values = table.drop(columns=drop).to_numpy(dtype=np.float64)
            return name, values, table[target].to_numpy(dtype=np.int64)
    raise InputError(
        f"{folder} holds no set that this benchmark knows; it looks for"
        f" {' or '.join(f'{n}/{f[0]}' for n, f in SETS.items())}"
    )


def contest(data: str, values: FloatArray, label: IntArray, rows: int, seed: int) -> Contest:
    """Fit both models on three quarters of the rows, and measure both on the rest."""
    import shap

    parts = train_test_split(values, label, test_size=0.25, random_state=seed, stratify=label)
    x, tested, y, truth = (np.asarray(p) for p in parts)
    inner = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y)
    ix, vx, iy, vy = (np.asarray(p) for p in inner)
    boosters = []
    for bag in range(BAGS):
        parameters = {
            "objective": "binary",
            "metric": "auc",
            "verbosity": -1,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "num_leaves": 31,
            "learning_rate": 0.05,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "min_data_in_leaf": 40,
            "seed": seed + bag,
        }
        train = lgb.Dataset(ix, iy.astype(np.float64))
        booster = lgb.train(
            parameters,
            train,
            num_boost_round=600,
            valid_sets=[lgb.Dataset(vx, vy.astype(np.float64), reference=train)],
            callbacks=[lgb.early_stopping(40, verbose=False)],
        )
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        boosters.append(lgb.Booster(model_str=text))
    own = AdditiveBoosterClassifier(random_state=seed).fit(x, y)
    theirs = np.mean([b.predict(tested, raw_score=True, num_threads=1) for b in boosters], axis=0)
    columns = own.encoded(tested)
    times = -(-rows // len(columns))
    many = np.ascontiguousarray(np.tile(columns, (times, 1))[:rows])
    out = np.zeros(rows, dtype=np.int64), np.zeros(many.shape, dtype=np.int64)
    return Contest(
        data,
        own,
        boosters,
        [shap.TreeExplainer(b) for b in boosters],
        float(roc_auc_score(truth, own.decision_function(tested))),
        float(roc_auc_score(truth, theirs)),
        tested,
        many,
        out,
    )
