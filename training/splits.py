"""Which rows teach, which calibrate, which judge: apart in time, or apart by client.

**Out of time**: all training rows come before all test rows, and no label of a training row looks
into the test period, nor to within an embargo of it. **By client**, where the time before the cut
holds too few defaults: sides differ in clusters of related clients, and so never share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, FloatArray, IntArray
from features.panel import PricePanel
from training.labels import HORIZON_SESSIONS, YEAR_SESSIONS

TRAIN_SHARE: Final = 0.53
"""Share of the period before the cut; on the 2006-2022 sample it leaves eight market years to learn from."""
LONG_PERIOD_SESSIONS: Final = 8 * YEAR_SESSIONS
CALIBRATION_SHARE: Final = 0.35
STOP_SHARE: Final = 0.15
JUDGING_SHARE: Final = 0.5
"""Share of the clusters that judge in a by-client split."""


@dataclass(frozen=True)
class Split:
    """Which as-of rows teach and which judge.

    Attributes
    ----------
    train_rows, test_rows : panel rows, ascending
    horizon : sessions of the label that the test rows are judged on
    embargo : sessions that lie at least between the end of a training label and the test rows
    kind : ``out-of-time`` or ``by-client``
    """

    train_rows: tuple[int, ...]
    test_rows: tuple[int, ...]
    horizon: int
    embargo: int
    kind: str

    def by_client(self) -> Split:
        """The split for a period that teaches too little before the cut: all rows teach."""
        return replace(self, train_rows=(*self.train_rows, *self.test_rows), kind="by-client")

    def judges(self, cluster: IntArray) -> BoolArray:
        """Rows that the scorer may be judged on, by cluster."""
        if self.kind == "out-of-time":
            return np.ones(len(cluster), dtype=bool)
        return share(cluster) < JUDGING_SHARE

    def learns(self, cluster: IntArray) -> BoolArray:
        """Rows of the training sessions that fit or calibrate."""
        if self.kind == "out-of-time":
            return np.ones(len(cluster), dtype=bool)
        return ~self.judges(cluster)

    def calibrates(self, cluster: IntArray) -> BoolArray:
        """Those among the learning rows that calibrate, and never fit."""
        if self.kind == "out-of-time":
            return share(cluster) < CALIBRATION_SHARE
        low, part = JUDGING_SHARE, share(cluster)
        return (part >= low) & (part < low + (1 - low) * CALIBRATION_SHARE)


def as_of_rows(first: int, last: int, step: int) -> list[int]:
    """Panel rows from first to last every ``step`` sessions, counted back from the last."""
    return list(range(last, first - 1, -step))[::-1]


def purged(
    rows: Sequence[int], test_rows: Sequence[int], horizon: int, embargo: int
) -> tuple[int, ...]:
    """The rows whose labels neither overlap those of the test rows nor come within the embargo.

    A row's label looks at the sessions t+1 .. t+horizon. Rows after the test period, which a
    forward split does not have, keep the same distance from its labels' end.

    >>> purged([10, 11, 12, 90], [20, 25], horizon=5, embargo=3)
    (10, 11, 90)
    """
    first, last = min(test_rows), max(test_rows) + horizon
    return tuple(t for t in rows if t + horizon + embargo < first or t > last + embargo)


def plan_split(panel: PricePanel, first: int, last: int) -> Split:
    """Training and test as-of sessions of a period, purged by the longest label that is used.

    The embargo is one sampling step: 20 sessions, or 5 in a short period.

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
    train = as_of_rows(first + warm_up, cut - horizon - 1, step)
    test = as_of_rows(cut, last - horizon - 1, HORIZON_SESSIONS if long_period else 10)
    kept = purged(train, test, horizon, step) if test else ()
    if not kept:
        raise InputError(
            f"{sessions} sessions are too few to train and test on labels of {horizon} sessions;"
            " take a longer period"
        )
    return Split(kept, tuple(test), horizon, step, "out-of-time")


def share(cluster: IntArray) -> FloatArray:
    """A number in [0, 1) for each cluster, the same on every machine."""
    return np.asarray((cluster % 1_000_003) / 1_000_003, dtype=np.float64)


def stops(cluster: IntArray) -> BoolArray:
    """Which fitting rows decide when boosting ends; another draw than ``share``, by cluster."""
    return share(cluster // 7) < STOP_SHARE
