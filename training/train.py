"""From a lake to a bundle: sample, split, fit, prove, calibrate, grade, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.canonical import sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, BoolArray, FloatArray, IntArray
from features.asof import BookHistory
from features.panel import PricePanel
from features.sets import BEHAVIOURAL, FeatureSet, feature_set_sha256
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables
from training.calibrate import CalibrationSample, calibrate, tier_edges
from training.evaluate import auc
from training.fit import LEAST_POSITIVES, check_against_shap, fit_default_60
from training.labels import HORIZON_SESSIONS, YEAR_SESSIONS, Outcomes
from training.sample import Sample, as_of_rows, build_sample

TRAIN_SHARE: Final = 0.53
"""Share of the period before the cut; on the 2006-2022 sample it leaves eight market years to learn from."""
LONG_PERIOD_SESSIONS: Final = 8 * YEAR_SESSIONS
CALIBRATION_SHARE: Final = 0.35
STOP_SHARE: Final = 0.15
SHAP_ROWS: Final = 200
SHAP_REFERENCE: Final = 100
REFERENCE_ROWS: Final = 5000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Split:
    """Which as-of rows teach and which judge.

    Attributes
    ----------
    train_rows, test_rows : panel rows, ascending; the labels of every training row end before the
        first test row, where the split is out of time
    horizon : sessions of the label that the test rows are judged on
    kind : ``out-of-time``, or ``by-client`` where the training period holds too few defaults
    """

    train_rows: tuple[int, ...]
    test_rows: tuple[int, ...]
    horizon: int
    kind: str


def plan_split(panel: PricePanel, first: int, last: int) -> Split:
    """Training and test as-of sessions of a period, purged by the longest label that is used.

    Raises
    ------
    InputError
        If the period is too short to hold a training label, a gap and a test label.
    """
    sessions = last - first + 1
    long_period = sessions >= LONG_PERIOD_SESSIONS
    horizon = YEAR_SESSIONS if long_period else HORIZON_SESSIONS
    step = 20 if long_period else 5
    warm_up = 60 if long_period else 10
    cut = first + int(sessions * TRAIN_SHARE)
    train = as_of_rows(panel, first + warm_up, cut - horizon - 1, step)
    test = as_of_rows(panel, cut, last - horizon - 1, HORIZON_SESSIONS if long_period else 10)
    if not train or not test:
        raise InputError(
            f"{sessions} sessions are too few to train and test on labels of {horizon} sessions;"
            " take a longer period"
        )
    return Split(tuple(train), tuple(test), horizon, "out-of-time")


def _part(cluster: IntArray) -> FloatArray:
    """A number in [0, 1) for each cluster, the same on every machine."""
    return np.asarray((cluster % 1_000_003) / 1_000_003, dtype=np.float64)


@dataclass(frozen=True)
class Trained:
    """A bundle with what is known about how good it is.

    ``test_clients`` says which clusters may be judged (all but those that taught, in a by-client split).
    """

    bundle: Bundle
    split: Split
    report: dict[str, Any]

    def may_judge(self, cluster: IntArray) -> BoolArray:
        """Rows that the scorer has not learnt from."""
        if self.split.kind == "out-of-time":
            return np.ones(len(cluster), dtype=bool)
        return _part(cluster) < 0.5


def _reference(sample: Sample) -> IntArray:
    """The reference population: rows of the training period, evenly spaced in a fixed order."""
    order = np.lexsort((sample.session, sample.client))
    count = min(REFERENCE_ROWS, len(order))
    return np.asarray(sample.values[order[np.linspace(0, len(order) - 1, count).astype(int)]])


def _fit(
    sample: Sample, feature_set: FeatureSet, seed: int
) -> tuple[AdditiveTables, dict[str, Any], IntArray]:
    known = sample.default_60 >= 0
    learn = sample.take(known)
    part = _part(learn.cluster // 7)
    stop = part < STOP_SHARE
    if int(learn.default_60[stop].sum()) == 0:
        raise InputError(
            "no default among the clients that end the boosting; simulate more clients"
        )
    reference = _reference(sample)
    directions = [f.direction for f in feature_set.features]
    booster, compiled = fit_default_60(
        (learn.values[~stop], learn.default_60[~stop]),
        (learn.values[stop], learn.default_60[stop]),
        directions,
        reference,
        seed,
    )
    shap_difference = check_against_shap(
        booster, reference[:SHAP_REFERENCE], learn.values[stop][:SHAP_ROWS]
    )
    return (
        compiled.tables,
        {
            "training_rows": int((~stop).sum()),
            "training_defaults": int(learn.default_60[~stop].sum()),
            "trees": int(booster.best_iteration),
            "largest_difference_to_shap": shap_difference,
        },
        reference,
    )


def train(
    panel: PricePanel,
    histories: Sequence[BookHistory],
    outcomes: Outcomes,
    first: int,
    last: int,
    seed: int,
    progress: Progress | None = None,
) -> Trained:
    """Fit a scorer on a lake's period and calibrate it on clients it has not seen.

    Parameters
    ----------
    first, last : panel rows of the period
    seed : of sampling and bootstrap
    """
    feature_set = BEHAVIOURAL
    split = plan_split(panel, first, last)
    step = (lambda done, of: progress("features", done, of)) if progress else None
    sample = build_sample(histories, outcomes, split.train_rows, feature_set, step)
    # clients that calibrate never teach
    holds_out = _part(sample.cluster) < CALIBRATION_SHARE
    if int((sample.default_60[~holds_out] == 1).sum()) < 2 * LEAST_POSITIVES:
        # too few defaults before the cut: learn from other clients of the whole period, and say so
        split = Split(
            (*split.train_rows, *split.test_rows), split.test_rows, split.horizon, "by-client"
        )
        sample = build_sample(histories, outcomes, split.train_rows, feature_set, step)
        sample = sample.take(_part(sample.cluster) >= 0.5)
        holds_out = _part(sample.cluster) < 0.5 + CALIBRATION_SHARE / 2
    if progress:
        progress("fit", 0, 2)
    tables, report, reference = _fit(sample.take(~holds_out), feature_set, seed)
    if progress:
        progress("fit", 1, 2)
    kept = sample.take(holds_out)
    score = tables.score(kept.values)
    calibration = calibrate(
        CalibrationSample(
            score / LOG_ODDS_ONE,
            kept.default_60,
            kept.default_year if split.horizon == YEAR_SESSIONS else np.full(len(score), -1),
            (kept.session - first) // YEAR_SESSIONS,
            kept.cluster,
        ),
        seed,
    )
    edges = tier_edges(calibration.of_score(score)[0])
    declared = [f.declaration() for f in feature_set.features]
    bundle = Bundle(
        head=tables,
        calibration=calibration,
        tier_edges=edges,
        features={
            "feature_set": feature_set.label,
            "feature_set_sha256": feature_set_sha256(feature_set),
            "features": declared,
        },
        reference={
            "sha256": sha256_hex(np.ascontiguousarray(reference).tobytes()),
            "rows": len(reference),
            "joint": Reference.of(tables.effects, reference).to_json(),
            "first_session": str(panel.sessions[split.train_rows[0]]),
            "last_session": str(panel.sessions[split.train_rows[-1]]),
        },
    )
    bundle.check_monotone()
    if progress:
        progress("fit", 2, 2)
    known = kept.default_60 >= 0
    report |= {
        "split": split.kind,
        "feature_set": feature_set.label,
        "train_first": str(panel.sessions[split.train_rows[0]]),
        "train_last": str(panel.sessions[split.train_rows[-1]]),
        "test_first": str(panel.sessions[split.test_rows[0]]),
        "test_last": str(panel.sessions[split.test_rows[-1]]),
        "horizon_sessions": split.horizon,
        "auc_calibration_clients": auc(score[known], kept.default_60[known]),
        "calibration_method": calibration.method,
        "market_years": calibration.market_years,
        "enough_market_years": calibration.enough_years,
        "calibration_tiers": np.bincount(
            tier_of_pd(calibration.of_score(score)[0], edges), minlength=8
        )[1:].tolist(),
    }
    return Trained(bundle, split, report)
