"""The files of scorers: attributions and monotonicity, against LightGBM and shap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from training.validation.checkers.check import (
    EXACT,
    SHAP,
    Check,
    Checks,
    Document,
    floats,
    ints,
)


def _advanced(v: Document) -> Checks:
    import lightgbm as lgb

    from models.scorer.trees import tree_monotone_witnesses

    booster = lgb.Booster(model_str=v["model_txt"])
    known = v["witness"]
    rows = floats([known["x_low"], known["x_high"]])
    raw = np.asarray(booster.predict(rows, raw_score=True))
    for k in range(2):
        yield Check(f"raw score {k}", known["raw"][k], float(raw[k]), EXACT)
    found = tree_monotone_witnesses(booster.dump_model(), v["params"]["monotone_constraints"])
    here = [w for w in found if (w.tree, w.feature) == (known["tree"], known["feature"])]
    yield Check("witness found", 1.0, float(len(here)), EXACT)
    drop = here[0].drop if here else None
    yield Check("drop in the tree", known["tree_leaf_drop"], drop, EXACT)


def _implementation(v: Document) -> Checks:
    from data_contracts.units import LOG_ODDS_ONE
    from models.scorer import AdditiveTables
    from models.scorer.tables import explained_effect

    counts, score = np.zeros((3, 3), dtype=np.int64), np.zeros((3, 3), dtype=np.int64)
    for key, n in v["background_counts"].items():
        counts[1 + int(key[0]), 1 + int(key[1])] = n
    score[2, 2] = LOG_ODDS_ONE
    splits = (np.array([0]), np.array([0]))
    tables = AdditiveTables("h", 2, 0, (explained_effect((0, 1), splits, score, counts),))
    _, phi = tables.score_and_attributions(ints([v["x"]]))
    for name, result in v["results"].items():
        expected = result.get("interventional", result.get("phi"))
        for f in range(2):
            value = float(phi[0, f]) / LOG_ODDS_ONE
            yield Check(f"{name} feature {f}", expected[f], value, 1e-11)


def _bruteforce(v: Document) -> Checks:
    import itertools

    import lightgbm as lgb

    booster = lgb.Booster(model_str=v["model_txt"])
    background, x = floats(v["background"]), floats(v["x"])
    features = background.shape[1]
    raw = np.asarray(booster.predict(x, raw_score=True))
    contributions = np.asarray(booster.predict(x, pred_contrib=True))

    def worth(row: Any, taken: tuple[int, ...]) -> float:
        rows = background.copy()
        rows[:, list(taken)] = row[list(taken)]
        return float(np.asarray(booster.predict(rows, raw_score=True)).mean())

    for k, row in enumerate(x):
        yield Check(f"row {k} raw score", v["raw_score"][k], float(raw[k]), EXACT)
        yield Check(f"row {k} base", v["interventional_base"][k], worth(row, ()), SHAP)
        for f in range(features):
            others = [g for g in range(features) if g != f]
            brute = sum(
                (worth(row, (*taken, f)) - worth(row, taken))
                / (features * math.comb(features - 1, size))
                for size in range(features)
                for taken in itertools.combinations(others, size)
            )
            yield Check(f"row {k} interventional {f}", v["interventional"][k][f], brute, SHAP)
            path = float(contributions[k, f])
            yield Check(f"row {k} path-dependent {f}", v["path_dependent"][k][f], path, EXACT)


SCORERS: Final[dict[str, Callable[..., Checks]]] = {
    "lightgbm_advanced_monotone_violation": _advanced,
    "shap_implementation_dependence": _implementation,
    "shap_lightgbm_bruteforce": _bruteforce,
}
