"""Decisions whose outcome is known: both models' scores on the same rows, with what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data_contracts.canonical import sha256_hex
from data_contracts.lake import decimal_to_int
from data_contracts.units import PROB_ONE, BoolArray, FloatArray, IntArray
from features.panel import PricePanel
from models.bundle import Bundle
from training.labels import HORIZON_SESSIONS, Cohort, Outcomes, default_within
from training.summary import TIER_ORDER

IN_DEFAULT = len(TIER_ORDER)


@dataclass(frozen=True)
class Both:
    """One night's decisions of champion and challenger, row for row on the same clients.

    ``first`` is the champion's, ``second`` the challenger's; ``t`` is the panel's row.
    """

    t: int
    first: pa.Table
    second: pa.Table


@dataclass(frozen=True)
class Matured:
    """Rows with a known label, of nights whose outcome windows do not overlap.

    Attributes
    ----------
    scores : of champion and challenger, int64, 2**-40 log-odds
    pds : default within 60 sessions, of 1
    more, less : the challenger would have lent more, or less
    cluster : related clients
    period : number of the night
    """

    label: IntArray
    scores: tuple[IntArray, IntArray]
    pds: tuple[FloatArray, FloatArray]
    more: BoolArray
    less: BoolArray
    cluster: IntArray
    period: IntArray
    nights: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of labels and scores: what the figures are computed from."""
        parts = [self.label, *self.scores, self.cluster, self.period]
        return sha256_hex(b"|".join(np.ascontiguousarray(p).tobytes() for p in parts))


def grades(table: pa.Table) -> IntArray:
    """Tier from 1 to 7, 8 in default."""
    order = {name: k + 1 for k, name in enumerate(TIER_ORDER)}
    return np.array([order[t] for t in table["tier"].to_pylist()], dtype=np.int64)


def caps(table: pa.Table) -> IntArray:
    """The most debt allowed, in minor units."""
    return decimal_to_int(table["max_debt_amt"])


def clients_of(table: pa.Table, outcomes: Outcomes) -> IntArray:
    """Numbers of the clients in the outcomes, -1 for one they do not have."""
    names = outcomes.names
    wanted = np.array(table["client_id"].to_pylist(), dtype=np.str_)
    place = np.searchsorted(names, wanted).astype(np.int64)
    known = place < len(names)
    known[known] = names[place[known]] == wanted[known]
    return np.where(known, place, -1)


def clusters_of(table: pa.Table, outcomes: Outcomes) -> IntArray:
    """Related clients by one number; a client that the outcomes do not have is alone."""
    client = clients_of(table, outcomes)
    alone = -1 - np.arange(len(client))
    return np.where(client >= 0, outcomes.cluster[np.maximum(client, 0)], alone)


def matured(
    nights: Sequence[Both], bundles: tuple[Bundle, Bundle], outcomes: Outcomes, panel: PricePanel
) -> Matured:
    """The rows with a known default within 60 sessions.

    Only nights whose window has ended by the end of the data, so that a default is not seen sooner
    than its absence, and each at least a window after the one before. Clients in default are no
    case of either model.
    """
    parts: list[tuple[IntArray, ...]] = []
    kept: list[str] = []
    last = -HORIZON_SESSIONS
    for night in sorted(nights, key=lambda n: n.t):
        over = night.t + HORIZON_SESSIONS < outcomes.sessions
        if not over or night.t - last < HORIZON_SESSIONS:
            continue
        client = clients_of(night.first, outcomes)
        equity = decimal_to_int(night.first["equity_amt"])
        label = default_within(outcomes, Cohort(night.t, client, equity)).label
        rated = (grades(night.first) < IN_DEFAULT) & (grades(night.second) < IN_DEFAULT)
        rows = np.flatnonzero((label >= 0) & (client >= 0) & rated)
        if not len(rows):
            continue
        change = np.sign(caps(night.second) - caps(night.first))
        parts.append(
            (
                label[rows],
                np.asarray(night.first["score"])[rows],
                np.asarray(night.second["score"])[rows],
                change[rows],
                clusters_of(night.first, outcomes)[rows],
                np.full(len(rows), len(kept), dtype=np.int64),
            )
        )
        kept.append(str(panel.sessions[night.t]))
        last = night.t
    empty = [np.zeros(0, dtype=np.int64)] * 6
    label, one, two, change, cluster, period = (
        [np.concatenate(c) for c in zip(*parts, strict=True)] if parts else empty
    )
    pds = tuple(
        b.calibration.default_60_of_score(s) / PROB_ONE
        for b, s in zip(bundles, (one, two), strict=True)
    )
    return Matured(
        label, (one, two), (pds[0], pds[1]), change > 0, change < 0, cluster, period, tuple(kept)
    )
