"""From a lake to a bundle: sample, split, fit, prove, calibrate, grade, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.canonical import sha256_hex
from data_contracts.provenance import TrainingRecord, settled
from data_contracts.units import LOG_ODDS_ONE, PROB_ONE, BoolArray, IntArray
from features.asof import BookHistory
from features.panel import PricePanel
from features.sets import APPLICATION, BEHAVIOURAL, FeatureSet, feature_set_sha256
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables
from models.stability import frozen_document
from training.by_month import month_spread
from training.calibrate import CalibrationSample, block_sessions, calibrate, tier_edges
from training.evaluate import auc
from training.fit import (
    HEAD_RECIPE,
    LEAST_POSITIVES,
    TEACHER_SHARE,
    Lesson,
    check_against_shap,
    fit_default_60,
)
from training.labels import YEAR_SESSIONS, Outcomes
from training.sample import Sample, build_sample
from training.splits import Split, plan_split

SHAP_ROWS: Final = 200
SHAP_REFERENCE: Final = 100
REFERENCE_ROWS: Final = 5000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Trained:
    """A bundle with what is known about how good it is.

    ``may_judge`` says which clusters may be judged (all but those that taught, in a by-client split).
    ``month_spread`` is the common factor of the calibrating clients' months (``training.by_month``),
    None where there are too few of them. ``sample`` is what taught and calibrated it.
    """

    bundle: Bundle
    split: Split
    report: dict[str, Any]
    month_spread: float | None = None
    sample: Sample | None = field(default=None, repr=False)

    def may_judge(self, cluster: IntArray) -> BoolArray:
        """Rows that the scorer has not learnt from."""
        return self.split.judges(cluster)


def write_trained(folder: Path, trained: Trained, data_sha256: str, seed: int) -> None:
    """Write a bundle with the record of its training beside it.

    Parameters
    ----------
    data_sha256 : of the lake's tables, by ``lake_sha256``
    seed : as it was given to ``train``
    """
    report = trained.report
    recipe = {
        **HEAD_RECIPE.as_dict(),
        "teacher_share": TEACHER_SHARE,
        "reference_rows": REFERENCE_ROWS,
        **{k: report[k] for k in ("feature_set", "split", "train_first", "train_last")},
    }
    trained.bundle.write(folder)
    TrainingRecord(trained.bundle.sha256, settled(recipe), data_sha256, seed).write(folder)


def _reference(sample: Sample) -> IntArray:
    """The reference population: rows of the training period, evenly spaced in a fixed order."""
    order = np.lexsort((sample.session, sample.client))
    count = min(REFERENCE_ROWS, len(order))
    return np.asarray(sample.values[order[np.linspace(0, len(order) - 1, count).astype(int)]])


def _fit(
    sample: Sample, feature_set: FeatureSet, seed: int
) -> tuple[AdditiveTables, dict[str, Any], IntArray]:
    learn = sample.take(sample.default_60 >= 0)
    reference = _reference(sample)
    bagged, compiled = fit_default_60(
        Lesson(learn.values, learn.default_60, learn.cluster),
        [f.name for f in feature_set.features],
        [f.direction for f in feature_set.features],
        reference,
        seed,
    )
    rows = np.linspace(0, len(learn.values) - 1, min(SHAP_ROWS, len(learn.values))).astype(int)
    shap_difference = check_against_shap(bagged, reference[:SHAP_REFERENCE], learn.values[rows])
    return (
        compiled.tables,
        {
            "training_rows": len(learn.values),
            "training_defaults": int(learn.default_60.sum()),
            "trees": bagged.rounds * len(bagged.boosters),
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
    feature_set: FeatureSet = BEHAVIOURAL,
) -> Trained:
    """Fit a scorer on a lake's period and calibrate it on clients it has not seen.

    Parameters
    ----------
    first, last : panel rows of the period
    seed : of sampling and bootstrap
    feature_set : what the scorer reads; of ``application`` only what an applicant states
    """
    split = plan_split(panel, first, last)
    step = (lambda done, of: progress("features", done, of)) if progress else None
    sample = build_sample(histories, outcomes, split.train_rows, feature_set, step)
    # clients that calibrate never teach
    holds_out = split.calibrates(sample.cluster)
    if int((sample.default_60[~holds_out] == 1).sum()) < 2 * LEAST_POSITIVES:
        # too few defaults before the cut: learn from other clients of the whole period, and say so
        split = split.by_client()
        sample = build_sample(histories, outcomes, split.train_rows, feature_set, step)
        sample = sample.take(split.learns(sample.cluster))
    return _teach(panel, split, sample, feature_set, first, seed, progress)


def train_application(
    panel: PricePanel,
    trained: Trained,
    first: int,
    seed: int,
    progress: Progress | None = None,
) -> Trained:
    """A scorer for those without an account, from the rows that taught the clients' scorer.

    It reads only what an applicant states and a bureau says. Its labels are those of clients who
    were accepted: nothing is known here of how the refused would have fared.

    Parameters
    ----------
    trained : the clients' scorer of the same lake, by ``train``
    first : panel row at which the period begins
    """
    assert trained.sample is not None
    names = BEHAVIOURAL.names
    columns = [names.index(name) for name in APPLICATION.names]
    sample = replace(trained.sample, values=np.ascontiguousarray(trained.sample.values[:, columns]))
    return _teach(panel, trained.split, sample, APPLICATION, first, seed, progress)


def _teach(
    panel: PricePanel,
    split: Split,
    sample: Sample,
    feature_set: FeatureSet,
    first: int,
    seed: int,
    progress: Progress | None,
) -> Trained:
    """Fit on those who teach, calibrate and grade on those who do not."""
    holds_out = split.calibrates(sample.cluster)
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
            (kept.session - first) // block_sessions(split.horizon),
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
            "monitor": frozen_document(
                [f.name for f in feature_set.features], reference, tables.score(reference)
            ),
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
        "embargo_sessions": split.embargo,
        "auc_calibration_clients": auc(score[known], kept.default_60[known]),
        "calibration_method": calibration.method,
        "market_years": calibration.market_years,
        "enough_market_years": calibration.enough_years,
        "calibration_tiers": np.bincount(
            tier_of_pd(calibration.of_score(score)[0], edges), minlength=8
        )[1:].tolist(),
    }
    months = panel.sessions[kept.session].astype("datetime64[M]")
    spread = month_spread(
        calibration.default_60_of_score(score[known]) / PROB_ONE,
        kept.default_60[known],
        months[known],
    )
    return Trained(bundle, split, report, spread, sample)
