"""From a fitted table's score to a probability: a strictly increasing map, chosen by evidence.

The map is fitted on rows that neither taught nor stopped the boosters. Four candidates are compared
by their log-loss over folds of those rows: the score as it is, a logistic map, a beta map (Kull,
Silva Filho & Flach 2017), and an isotonic map that keeps a small slope. The simplest whose loss is
within one standard error of the least is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, FloatArray, IntArray

KNOTS: Final = 129
LEAST_SLOPE: Final = 0.05
ISOTONIC_SHARE: Final = 0.9
"""What is left to the logistic map gives the isotonic one its slope."""
FOLDS: Final = 5
Map = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class ProbabilityMap:
    """Calibrated log-odds at knots of the score, both in 2**-40; straight lines between and beyond.

    Attributes
    ----------
    knots, values : int64, strictly increasing
    method : which candidate it is
    log_loss : held-out loss of each candidate
    rows : rows that it was fitted on
    """

    knots: IntArray
    values: IntArray
    method: str
    log_loss: Mapping[str, float]
    rows: int

    def __post_init__(self) -> None:
        if len(self.knots) < 2 or self.knots.shape != self.values.shape:
            raise InputError("calibration: at least two knots with one value each are needed")
        if bool(np.any(np.diff(self.knots) <= 0)) or bool(np.any(np.diff(self.values) <= 0)):
            raise InputError("calibration: knots and values must be strictly increasing")

    def probability(self, score: IntArray) -> FloatArray:
        """Probability of each integer score."""
        k, v = self.knots.astype(np.float64), self.values.astype(np.float64)
        at = np.clip(np.searchsorted(self.knots, score, side="right") - 1, 0, len(k) - 2)
        slope = (v[at + 1] - v[at]) / (k[at + 1] - k[at])
        z = (v[at] + (score - k[at]) * slope) / LOG_ODDS_ONE
        return np.asarray(1.0 / (1.0 + np.exp(-z)))

    def to_json(self) -> dict[str, Any]:
        """The map as a document of integers and decimal strings."""
        return {
            "unit": "2**-40 log-odds",
            "knots": self.knots.tolist(),
            "values": self.values.tolist(),
            "method": self.method,
            "log_loss": {m: f"{v:.6f}" for m, v in self.log_loss.items()},
            "rows": self.rows,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> ProbabilityMap:
        """Read a map written by ``to_json``; one that does not increase is refused."""
        return ProbabilityMap(
            np.array(document["knots"], dtype=np.int64),
            np.array(document["values"], dtype=np.int64),
            str(document["method"]),
            {m: float(v) for m, v in document["log_loss"].items()},
            int(document["rows"]),
        )


def _newton(design: FloatArray, label: IntArray) -> FloatArray:
    """Coefficients of a logistic regression with a faint ridge towards the score as it is."""
    start = np.zeros(design.shape[1])
    start[1:] = 1.0
    w = start.copy()
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-design @ w))
        gradient = design.T @ (label - p) - 1e-3 * (w - start)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-3 * np.eye(len(w))
        step = np.linalg.solve(hessian, gradient)
        w = w + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-10:
            break
    return np.asarray(w)


def _identity(score: FloatArray, label: IntArray) -> Map:
    return lambda s: s


def _logistic(score: FloatArray, label: IntArray) -> Map:
    a, b = _newton(np.column_stack([np.ones(len(score)), score]), label)
    slope = max(float(b), LEAST_SLOPE)
    return lambda s: a + slope * s


def _beta(score: FloatArray, label: IntArray) -> Map:
    def parts(s: FloatArray) -> tuple[FloatArray, FloatArray]:
        return -np.logaddexp(0.0, -s), np.logaddexp(0.0, s)  # log p and -log(1 - p)

    c, a, b = _newton(np.column_stack([np.ones(len(score)), *parts(score)]), label)
    if min(a, b) < LEAST_SLOPE:  # one side does not rise: the logistic map does
        return _logistic(score, label)
    return lambda s: c + a * parts(s)[0] + b * parts(s)[1]


def _isotonic(score: FloatArray, label: IntArray) -> Map:
    """Pooled adjacent violators on log-odds, mixed with the logistic map for its slope."""
    order = np.argsort(score, kind="stable")
    blocks: list[list[float]] = []  # sum of labels, rows, sum of scores
    for s, y in zip(score[order], label[order], strict=True):
        blocks.append([float(y), 1.0, float(s)])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [x + z for x, z in zip(blocks[-1], last, strict=True)]
    positives, rows, total = np.array(blocks).T
    p = (positives + 0.5) / (rows + 1.0)
    at, level = total / rows, np.maximum.accumulate(np.log(p / (1 - p)))
    line = _logistic(score, label)
    return lambda s: ISOTONIC_SHARE * np.interp(s, at, level) + (1 - ISOTONIC_SHARE) * line(s)


CANDIDATES: Final[dict[str, Callable[[FloatArray, IntArray], Map]]] = {
    "identity": _identity,
    "logistic": _logistic,
    "beta": _beta,
    "isotonic": _isotonic,
}
"""From the simplest to the freest."""


def _losses(z: FloatArray, label: IntArray) -> FloatArray:
    return np.asarray(np.logaddexp(0.0, z) - label * z)


def fit_probability(score: IntArray, label: IntArray, seed: int) -> ProbabilityMap:
    """Compare the candidates over folds, then fit the chosen one on all rows.

    Raises
    ------
    InputError
        If a class has fewer rows than there are folds.
    """
    if min(int(label.sum()), int((1 - label).sum())) < FOLDS:
        raise InputError(
            f"calibration needs at least {FOLDS} held-out rows of each class; give a larger table"
        )
    z = score / LOG_ODDS_ONE
    fold = np.empty(len(z), dtype=np.int64)
    rng = np.random.default_rng(seed)
    for c in (0, 1):
        rows = rng.permutation(np.flatnonzero(label == c))
        fold[rows] = np.arange(len(rows)) % FOLDS
    losses = {}
    for name, fit in CANDIDATES.items():
        held = np.empty(len(z))
        for f in range(FOLDS):
            out = fold == f
            held[out] = _losses(fit(z[~out], label[~out])(z[out]), label[out])
        losses[name] = held
    least = min(losses, key=lambda m: float(losses[m].mean()))
    for method in CANDIDATES:  # the first, that is the simplest, which is as good
        gap = losses[method] - losses[least]
        if gap.mean() <= gap.std() / np.sqrt(len(gap)):
            break
    chosen = CANDIDATES[method](z, label)
    knots = np.unique(np.rint(np.linspace(z.min() - 1, z.max() + 1, KNOTS) * 2**20)).astype(
        np.int64
    )
    values = np.rint(chosen(knots / 2**20) * LOG_ODDS_ONE).astype(np.int64)
    return ProbabilityMap(
        knots << 20, values, method, {m: float(v.mean()) for m, v in losses.items()}, len(z)
    )
