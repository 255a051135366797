"""The training sample: features and labels of many as-of sessions of a lake."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, IntArray
from features.asof import BookHistory
from features.build import build_frame
from features.panel import PricePanel
from features.sets import FeatureSet
from training.labels import HORIZON_SESSIONS, YEAR_SESSIONS, Outcomes, default_labels

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Sample:
    """Rows of (client, as-of). Labels are 1, 0 or -1 for censored.

    Attributes
    ----------
    values : int64, shape (N, K), quantised features
    client : int64, shape (N,), client number within the outcomes; ``cluster`` is the related group's
    session : int64, shape (N,), panel row of the as-of
    default_60, default_year : int64, shape (N,)
    """

    values: IntArray
    client: IntArray
    cluster: IntArray
    session: IntArray
    default_60: IntArray
    default_year: IntArray

    def take(self, chosen: BoolArray | IntArray) -> Sample:
        """Some of the rows."""
        return Sample(*(getattr(self, n)[chosen] for n in self.__dataclass_fields__))


def cluster_numbers(book_groups: Sequence[str], client_ids: Sequence[str]) -> IntArray:
    """A stable number for each related group, or for the client without one."""
    names = [g or c for g, c in zip(book_groups, client_ids, strict=True)]
    return np.array([stable_number(n) for n in names], dtype=np.int64)


def stable_number(name: str) -> int:
    """63 bits of SHA-256: the same on every machine and run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def as_of_rows(panel: PricePanel, first: int, last: int, step: int) -> list[int]:
    """Panel rows from first to last every ``step`` sessions, counted back from the last."""
    return list(range(last, first - 1, -step))[::-1]


def build_sample(
    histories: Sequence[BookHistory],
    outcomes: Outcomes,
    rows: Sequence[int],
    feature_set: FeatureSet,
    progress: Progress | None = None,
) -> Sample:
    """Features and labels of every bucket at the given panel rows."""
    parts = []
    index = {c: k for k, c in enumerate(outcomes.client_ids)}
    for k, t in enumerate(rows):
        for history in histories:
            book = history.as_of(history.panel.sessions[t].astype("datetime64[D]").item())
            parts.append(
                (
                    build_frame(book, feature_set).values,
                    np.array([index[c] for c in book.client_ids], dtype=np.int64),
                    cluster_numbers(list(book.related_group), book.client_ids),
                    np.full(book.clients, t, dtype=np.int64),
                    default_labels(outcomes, book, HORIZON_SESSIONS),
                    default_labels(outcomes, book, YEAR_SESSIONS),
                )
            )
        if progress:
            progress(k + 1, len(rows))
    if not parts:
        raise InputError("no as-of sessions to learn from: the lake's period is too short")
    return Sample(*(np.concatenate(c) for c in zip(*parts, strict=True)))
