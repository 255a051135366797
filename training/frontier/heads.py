"""The learned part: what the lender sees of a client, beside what its portfolio says.

    log-odds of a forced sale within the term = alpha + beta x structural log-odds(leverage) + h(x)

``alpha`` and ``beta`` are fitted first, h is a LightGBM under the project's pairwise constraints with
the rest as its offset, so that leverage and portfolio act through the structure alone and h can only
move a client against others. With h at nought the heads stand at their base rate. Clients of the
teaching windows got limits drawn at random: leverage and behaviour are not confounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from features.sets import BEHAVIOURAL
from training.fit import as_floats
from training.frontier.vintage import Openings

LEAST_EVENTS: Final = 50
STOP_EVERY: Final = 5
MOST_ROUNDS: Final = 300
_SETTINGS: Final[dict[str, Any]] = {
    "objective": "binary", "verbosity": -1, "deterministic": True, "force_row_wise": True,
    "monotone_constraints_method": "basic", "max_bin": 63, "lambda_l2": 10.0,
    "learning_rate": 0.06, "metric": "binary_logloss",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """alpha + beta s: the structural log-odds brought to the frequencies that were seen."""

    alpha: float
    beta: float

    def of(self, log_odds: FloatArray) -> FloatArray:
        """Calibrated log-odds."""
        return np.asarray(self.alpha + self.beta * log_odds)


@dataclass(frozen=True)
class Head:
    """h, its offset, and what taught it."""

    line: Line
    booster: lgb.Booster
    use: lgb.Booster
    mean_use: float
    columns: str
    rows: int
    events: int
    trees: int
    auc_offset: float
    auc: float

    def of(self, book: Openings) -> FloatArray:
        """h of each client, log-odds, centred on the teaching rows."""
        return np.asarray(self.booster.predict(design(book, self.columns)[0], raw_score=True))

    def usage(self, book: Openings) -> FloatArray:
        """Debt a client is expected to carry over the term, in units of the mean client's.

        Risk is weighed against the credit that is really used: a client who hardly borrows what it
        may is no cheaper a borrower.
        """
        seen = np.asarray(self.use.predict(design(book, self.columns)[0]))
        return np.asarray(np.clip(seen / self.mean_use, 0.5, 2.0))


def ranked_pairs(booster: lgb.Booster, count: int) -> list[tuple[int, int]]:
    """Pairs by the gain of splits directly below a split on another feature."""
    gain: dict[tuple[int, int], float] = {}

    def visit(node: dict[str, Any]) -> None:
        for side in ("left_child", "right_child"):
            child = node[side]
            if "split_feature" not in child:
                continue
            i, j = sorted((int(node["split_feature"]), int(child["split_feature"])))
            if i != j:
                gain[i, j] = gain.get((i, j), 0.0) + float(child["split_gain"])
            visit(child)

    for tree in booster.dump_model()["tree_info"]:
        if "split_feature" in tree["tree_structure"]:
            visit(tree["tree_structure"])
    return sorted(gain, key=lambda p: (-gain[p], p))[:count]


def design(book: Openings, columns: str) -> tuple[FloatArray, list[int]]:
    """Columns and their monotone directions: ``seen`` by the lender, or the ``truth`` as well."""
    values = [as_floats(book.features), book.desired[:, None]]
    directions: list[int] = [*(int(f.direction) for f in BEHAVIOURAL.features), 1]
    if columns == "truth":
        values.append(book.parameters)
        directions += [0] * book.parameters.shape[1]
    if columns == "systemic":
        values.append(np.stack([book.beta, book.crowding, book.trend], axis=1))
        directions += [1, 1, 0]
    return np.concatenate(values, axis=1), directions


def fit_line(log_odds: FloatArray, label: IntArray) -> Line:
    """Logistic regression on one variable, by Newton's method with a small ridge.

    Raises
    ------
    InputError
        With fewer than 50 events.
    """
    events = int(label.sum())
    if events < LEAST_EVENTS:
        raise InputError(
            f"only {events} forced sales before the window; at least {LEAST_EVENTS} are needed to"
            " learn from: give more clients or earlier prices"
        )
    x = np.stack([np.ones(len(log_odds)), log_odds], axis=1)
    theta = np.array([np.log(events / max(len(label) - events, 1)), 0.0])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-x @ theta))
        slope = x.T @ (label - p) - 1e-6 * theta
        bend = (x * (p * (1.0 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        move = np.linalg.solve(bend, slope)
        theta = theta + move
        if float(np.abs(move).max()) < 1e-10:
            break
    return Line(float(theta[0]), float(max(theta[1], 0.05)))


def auc(score: FloatArray, label: IntArray) -> float:
    """Area under the ROC curve, ties as halves."""
    order = np.argsort(score, kind="stable")
    ranked, y = score[order], label[order]
    _, start, count = np.unique(ranked, return_index=True, return_counts=True)
    mid = np.repeat(start + (count - 1) / 2.0, count)
    ones = float(y.sum())
    if ones == 0 or ones == len(y):
        return float("nan")
    return float((mid[y == 1].sum() - ones * (ones - 1) / 2.0) / (ones * (len(y) - ones)))


def fit_head(
    book: Openings,
    log_odds: FloatArray,
    label: IntArray,
    used: FloatArray,
    columns: str,
    seed: int,
    threads: int,
) -> Head:
    """Fit alpha, beta and h on clients of earlier windows.

    Parameters
    ----------
    log_odds : structural log-odds at the leverage each account opened with
    label : 1 where the account was sold by force within the term
    used : debt carried over the term over the debt of the opening kept throughout
    """
    line = fit_line(log_odds, label)
    offset = line.of(log_odds)
    values, directions = design(book, columns)
    k = values.shape[1]
    stop = book.number % (STOP_EVERY * 40) < 40
    settings = {
        **_SETTINGS, "seed": seed, "num_threads": threads, "monotone_constraints": directions,
        "min_data_in_leaf": max(100, len(label) // 500),
    }  # fmt: skip

    def part(rows: Any) -> lgb.Dataset:
        return lgb.Dataset(
            values[rows], label[rows].astype(np.float64), init_score=offset[rows],
            free_raw_data=False,
        )  # fmt: skip

    scout = lgb.train({**settings, "num_leaves": 4}, part(~stop), num_boost_round=60)
    pairs = ranked_pairs(scout, k)
    booster = lgb.train(
        {
            **settings,
            "num_leaves": 8,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "interaction_constraints": [[i] for i in range(k)] + [list(p) for p in pairs],
        },
        part(~stop),
        num_boost_round=MOST_ROUNDS,
        valid_sets=[part(stop)],
        callbacks=[lgb.early_stopping(30, verbose=False)],
    )
    plain = {k: v for k, v in settings.items() if k not in ("monotone_constraints",)}
    use = lgb.train(
        {
            **plain,
            "objective": "regression",
            "metric": "l2",
            "num_leaves": 8,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "interaction_constraints": [[i] for i in range(k)],
        },
        lgb.Dataset(values[~stop], used[~stop]),
        num_boost_round=100,
    )
    whole = offset[stop] + np.asarray(booster.predict(values[stop], raw_score=True))
    return Head(
        line, booster, use, float(max(used[~stop].mean(), 1e-6)), columns, int((~stop).sum()), int(label[~stop].sum()),
        int(booster.best_iteration), auc(offset[stop], label[stop]), auc(whole, label[stop]),
    )  # fmt: skip
