"""The training sample: features and labels of many as-of sessions of a lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, IntArray
from features.asof import BookHistory
from features.build import build_frame
from features.sets import FeatureSet
from training.labels import (
    YEAR_SESSIONS,
    Outcomes,
    call_within,
    cohort_of,
    default_within,
    forced_within,
    noncure,
    relever_within,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Sample:
    """Rows of (client, as-of). Labels are 1, 0 or -1 for censored.

    Attributes
    ----------
    values : int64, shape (N, K), quantised features
    client : int64, shape (N,), client number within the outcomes
    cluster : int64, shape (N,), the same for clients ever linked by related groups
    session : int64, shape (N,), panel row of the as-of
    default_60, default_year, call_20, forced_60, relever_20 : int64, shape (N,)
    noncure : int64, shape (N,), -1 but for clients called in the session
    """

    values: IntArray
    client: IntArray
    cluster: IntArray
    session: IntArray
    default_60: IntArray
    default_year: IntArray
    call_20: IntArray
    forced_60: IntArray
    relever_20: IntArray
    noncure: IntArray

    def take(self, chosen: BoolArray | IntArray) -> Sample:
        """Some of the rows."""
        return Sample(*(getattr(self, n)[chosen] for n in self.__dataclass_fields__))


def build_sample(
    histories: Sequence[BookHistory],
    outcomes: Outcomes,
    rows: Sequence[int],
    feature_set: FeatureSet,
    progress: Progress | None = None,
) -> Sample:
    """Features and labels of every bucket at the given panel rows."""
    parts = []
    for k, t in enumerate(rows):
        for history in histories:
            book = history.as_of(history.panel.sessions[t].astype("datetime64[D]").item())
            cohort = cohort_of(outcomes, book)
            labels = (
                default_within(outcomes, cohort),
                default_within(outcomes, cohort, YEAR_SESSIONS),
                call_within(outcomes, cohort),
                forced_within(outcomes, cohort),
                relever_within(outcomes, cohort),
                noncure(outcomes, cohort),
            )
            parts.append(
                (
                    build_frame(book, feature_set).values,
                    cohort.client,
                    outcomes.cluster[cohort.client],
                    np.full(book.clients, t, dtype=np.int64),
                    *(head.label for head in labels),
                )
            )
        if progress:
            progress(k + 1, len(rows))
    if not parts:
        raise InputError("no as-of sessions to learn from: the lake's period is too short")
    return Sample(*(np.concatenate(c) for c in zip(*parts, strict=True)))
