"""Fills kept beside the lake, by account: a few clients are summed again without reading the lake.

A segment holds the fills that one build counted for the first time, and an index of their trade
numbers' hashes, so that a new version of an old fill is found. Segments are only ever added.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_contracts.units import BoolArray, IntArray
from features.tallies.days import FillColumns
from features.tallies.kernel import UInt8Array, UInt32Array, copy_ranges, find_hashes
from features.tallies.scan import UInt64Array, text_codes
from features.tallies.store import text_arrays, texts_of
from features.versions import NEVER, combine, supersede

Records = npt.NDArray[np.void]
RECORD: Final = np.dtype(
    [
        ("known", "<i8"),
        ("event", "<i8"),
        ("value", "<i8"),
        ("source", "<i8"),
        ("symbol", "<i4"),
        ("length", "<u4"),
        ("buy", "?"),
        ("financed", "?"),
    ]
)
"""A fill; ``length`` is that of its trade number in bytes, ``source`` see ``source_code``."""
HASH_SHIFT: Final = np.uint64(32)
"""The index keeps the upper half of a hash: what is found by it is compared as text later."""
LOOKED_UP_AT_ONCE: Final = 16_384
"""Fewer trade numbers than that are looked up by one thread."""


@dataclass(frozen=True)
class FillSegment:
    """Fills by account, in order of source within each.

    Attributes
    ----------
    accounts : codes of the accounts that have fills here, ascending
    edges, text_edges : where each account's records, and the bytes of its trade numbers, begin
    hashes : upper half of the hashes of the trade numbers, ascending within a bucket
    places : the record of each hash; ``hash_edges`` says where each bucket's hashes begin
    """

    accounts: IntArray
    edges: IntArray
    text_edges: IntArray
    records: Records
    text: UInt8Array
    hashes: UInt32Array
    places: UInt32Array
    hash_edges: IntArray

    @staticmethod
    def of(
        columns: FillColumns,
        known: IntArray,
        source: IntArray,
        trade_ids: pa.Array,
        ids: UInt64Array,
        bucket: IntArray,
        buckets: int,
    ) -> FillSegment:
        """The segment of some fills, in any order; ``bucket`` is each fill's."""
        if bool(np.all(source[1:] > source[:-1])):  # as they are scanned
            order = np.argsort(columns.account, kind="stable")
        else:
            order = np.lexsort((source, columns.account))
        records = np.empty(len(order), dtype=RECORD)
        texts = trade_ids.take(pa.array(order)).cast(pa.large_string())
        for name, values in (
            ("known", known),
            ("event", columns.event),
            ("value", columns.value),
            ("source", source),
            ("symbol", columns.symbol),
            ("buy", columns.buy),
            ("financed", columns.financed),
        ):
            records[name] = values[order]
        starts, text = text_arrays("text", texts).values()
        records["length"] = np.diff(starts)
        accounts, first = np.unique(columns.account[order], return_index=True)
        edges = np.append(first, len(order)).astype(np.int64)
        whose = bucket[order].astype(np.uint64)
        half = (ids[order] >> HASH_SHIFT).astype(np.uint32)
        by_hash = np.argsort((whose << HASH_SHIFT) | half, kind="stable")
        hash_edges = np.searchsorted(whose[by_hash], np.arange(buckets + 1).astype(np.uint64))
        return FillSegment(
            accounts=accounts.astype(np.int64),
            edges=edges,
            text_edges=starts[edges],
            records=records,
            text=text,
            hashes=half[by_hash],
            places=by_hash.astype(np.uint32),
            hash_edges=hash_edges.astype(np.int64),
        )

    def find(
        self, ids: UInt64Array, bucket: IntArray, threads: int = 1
    ) -> tuple[IntArray, IntArray]:
        """Pairs of a trade number, by position, and an account with a fill of an equal half hash.

        What is found need not be the same trade number; what is the same is found.
        """
        half = (ids >> HASH_SHIFT).astype(np.uint32)
        place, count = np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.int64)
        step = max(-(-len(ids) // max(threads, 1)), LOOKED_UP_AT_ONCE)

        def look(start: int) -> None:
            some = slice(start, start + step)
            find_hashes(
                half[some], bucket[some], self.hashes, self.hash_edges, place[some], count[some]
            )

        # The index lies on disk: most of the time goes into waiting for its pages.
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            list(pool.map(look, range(0, len(ids), step)))
        found = np.flatnonzero(count)
        rows = np.repeat(found, count[found])
        record = self.places[ranges(place[found], place[found] + count[found])]
        account = self.accounts[np.searchsorted(self.edges, record, side="right") - 1]
        return rows, account

    def take(self, accounts: IntArray) -> FillRows:
        """All fills of some accounts, ascending."""
        at = np.searchsorted(self.accounts, accounts)
        here = np.flatnonzero(at < len(self.accounts))
        here = here[self.accounts[at[here]] == accounts[here]]
        at = at[here]
        start, stop = self.edges[at], self.edges[at + 1]
        records = np.empty(int((stop - start).sum()), dtype=RECORD)
        size = RECORD.itemsize
        copy_ranges(self.records.view(np.uint8), start * size, stop * size, records.view(np.uint8))
        low, high = self.text_edges[at], self.text_edges[at + 1]
        text = np.empty(int((high - low).sum()), dtype=np.uint8)
        copy_ranges(self.text, low, high, text)
        starts = np.zeros(len(records) + 1, dtype=np.int64)
        np.cumsum(records["length"], out=starts[1:])
        return FillRows(np.repeat(accounts[here], stop - start), records, texts_of(starts, text))

    @staticmethod
    def together(parts: Sequence[FillSegment]) -> FillSegment:
        """Several segments as one."""
        rows = FillRows.together([part.take(part.accounts) for part in parts])
        buckets = len(parts[0].hash_edges) - 1
        size = [len(part.records) for part in parts]
        half = np.zeros(sum(size), dtype=np.uint64)
        bucket = np.zeros(sum(size), dtype=np.int64)
        for part, start in zip(parts, np.cumsum([0, *size]), strict=False):
            half[start + part.places] = part.hashes
            owner = np.repeat(np.arange(buckets), np.diff(part.hash_edges))
            bucket[start + part.places] = owner
        return FillSegment.of(
            rows.columns(), rows.records["known"], rows.records["source"], rows.trade_ids,
            half << HASH_SHIFT, bucket, buckets,
        )  # fmt: skip


def ranges(start: IntArray, stop: IntArray) -> IntArray:
    """The integers of some ranges, one after the other.

    >>> ranges(np.array([3, 9]), np.array([5, 10])).tolist()
    [3, 4, 9]
    """
    length = stop - start
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    out: IntArray = np.arange(total) + np.repeat(start - (ends - length), length)
    return out


@dataclass(frozen=True)
class FillRows:
    """Fills read from segments: account code, record and trade number of each."""

    account: IntArray
    records: Records
    trade_ids: pa.Array

    @staticmethod
    def together(parts: Sequence[FillRows]) -> FillRows:
        """Several, one after the other."""
        return FillRows(
            np.concatenate([part.account for part in parts]),
            np.concatenate([part.records for part in parts]),
            pa.concat_arrays([part.trade_ids for part in parts]),
        )

    def columns(self) -> FillColumns:
        """What sums are made of."""
        r = self.records
        return FillColumns(
            account=self.account,
            symbol=r["symbol"].astype(np.int64),
            event=np.ascontiguousarray(r["event"]),
            buy=np.ascontiguousarray(r["buy"]),
            value=np.ascontiguousarray(r["value"]),
            financed=np.ascontiguousarray(r["financed"]),
        )

    def keys(self, bucket: IntArray) -> IntArray:
        """Equal numbers for versions of the same trade; ``bucket`` is each account's."""
        texts = text_codes(self.trade_ids)
        return combine((bucket[self.account], 1), (texts, len(texts) + 1))

    def current(self, key: IntArray, rank: IntArray, rows: IntArray, cut: int) -> IntArray:
        """Those of some rows that count at an instant, if there were no others.

        ``rank`` is each file's place among all, in the order in which rows are read from a lake.
        """
        r = self.records[rows]
        known = r["known"]
        visible = np.maximum(known, r["event"])
        superseded = np.full(len(rows), NEVER, dtype=np.int64)
        several = repeated(key[rows])
        file, row = r["source"][several] >> 32, r["source"][several] & 0xFFFFFFFF
        # Of versions known at one instant the last read counts.
        several = several[np.lexsort((row, rank[file]))]
        superseded[several] = supersede(
            key[rows[several]], known[several], visible[several]
        ).superseded_at
        counts: IntArray = rows[(visible <= cut) & (superseded > cut)]
        return counts


def repeated(key: npt.NDArray[np.integer[Any]]) -> IntArray:
    """Positions of the keys that stand there more than once, ascending."""
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    return np.unique(np.concatenate([order[again], order[again + 1]]))


def shared_accounts(key: IntArray, account: IntArray) -> IntArray:
    """Pairs of accounts (n, 2) that share a trade: the fills of one need those of the other."""
    rows = repeated(key)
    pair = np.unique(np.stack([key[rows], account[rows]], axis=1), axis=0)
    same = np.flatnonzero(pair[1:, 0] == pair[:-1, 0])
    return pairs_of(pair[same, 1], pair[same + 1, 1])


def pairs_of(left: IntArray, right: IntArray) -> IntArray:
    """Pairs (n, 2) of different accounts, each once."""
    apart = left != right
    pair = np.stack([np.minimum(left, right)[apart], np.maximum(left, right)[apart]], axis=1)
    return np.unique(pair.astype(np.int64), axis=0)


def with_partners(chosen: BoolArray, pairs: IntArray) -> BoolArray:
    """The chosen accounts and all that share a trade with one of them, over any number of steps."""
    out = chosen.copy()
    while len(pairs):
        hit = out[pairs[:, 0]] | out[pairs[:, 1]]
        more = pairs[hit]
        pairs = pairs[~hit]
        if not len(more):
            break
        out[more.ravel()] = True
    return out
