"""From tallies to a frame of the ``flows`` set, without a book."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from data_contracts.feature_frame import FeatureFrame
from data_contracts.units import IntArray
from features.book import BookAsOf
from features.sets import FLOWS, feature_set_sha256
from features.tallies.full import LakeTallies
from features.tallies.values import Tallies

CLIENTS_AT_ONCE: Final = 16_384
"""So many columns of floats stay in a core's own cache."""


@dataclass(frozen=True)
class _FlowBook:
    """The part of a book that the features of the ``flows`` set read."""

    clients: int
    tallies: Tallies


def flow_values(lake: LakeTallies, threads: int = 1) -> IntArray:
    """The quantised flow features of all clients, one column a feature, in Fortran order."""
    clients = len(lake.client_ids)
    values = np.empty((clients, len(FLOWS.features)), dtype=np.int64, order="F")

    def block(start: int) -> None:
        some = slice(start, min(start + CLIENTS_AT_ONCE, clients))
        tallies = lake.tallies.part(some)
        book = cast(BookAsOf, _FlowBook(some.stop - start, tallies))
        for k, feature in enumerate(FLOWS.features):
            values[some, k] = feature.values(book)

    # A client's features need no other's, and a block is one thread's: threads change no value.
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        list(pool.map(block, range(0, clients, CLIENTS_AT_ONCE)))
    return values


def flow_frame(lake: LakeTallies, threads: int = 1) -> FeatureFrame:
    """The frame of the ``flows`` set, by bucket then client number."""
    return FeatureFrame(
        feature_set=FLOWS.label,
        feature_set_sha256=feature_set_sha256(FLOWS),
        names=FLOWS.names,
        client_ids=tuple(lake.client_ids.to_pylist()),
        as_of=lake.session,
        values=np.ascontiguousarray(flow_values(lake, threads)),
    )
