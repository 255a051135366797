"""Who and what the codes of a state stand for; codes never change from night to night."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, IntArray
from features.panel import DateArray
from features.tallies.fills import pairs_of
from features.tallies.full import BucketAccounts, Calendar
from features.tallies.kernel import UInt32Array, find_hashes, hash_texts
from features.tallies.store import Array, Stored, text_arrays, texts_of

NOBODY = -1
"""The client of an account that no version of its row gives to anybody yet."""
NO_DAY = np.datetime64("NaT", "D")
_NUMBERS = (
    "client_bucket", "account_bucket", "client", "opened_on", "closed_on", "shared", "hashes",
    "places", "hash_edges",
)  # fmt: skip


@dataclass(frozen=True)
class Registry:
    """Clients, accounts and symbols by code; newer ones come last.

    Attributes
    ----------
    client_ids, client_bucket : by client code
    account_ids, account_bucket : by account code
    client, opened_on, closed_on : of each account as known, ``NOBODY`` and ``NaT`` while unknown
    symbols : by symbol code
    shared : pairs (n, 2) of accounts that share a trade
    hashes : of the account numbers, ascending within a bucket; ``places`` are their codes and
        ``hash_edges`` says where each bucket's begin
    """

    client_ids: pa.Array
    client_bucket: IntArray
    account_ids: pa.Array
    account_bucket: IntArray
    client: IntArray
    opened_on: DateArray
    closed_on: DateArray
    symbols: pa.Array
    shared: IntArray
    hashes: UInt32Array
    places: IntArray
    hash_edges: IntArray

    @staticmethod
    def nothing(symbols: pa.Array) -> Registry:
        """Nobody yet."""
        none, no_day = np.zeros(0, dtype=np.int64), np.zeros(0, dtype="datetime64[D]")
        names = pa.array([], pa.large_string())
        pairs = np.zeros((0, 2), dtype=np.int64)
        known = symbols.cast(pa.large_string())
        return Registry(
            names, none, names, none, none, no_day, no_day, known, pairs, none.astype(np.uint32),
            none, np.zeros(2, dtype=np.int64),
        )  # fmt: skip

    def arrays(self) -> dict[str, Array]:
        """What is written."""
        out: dict[str, Array] = {}
        for name in ("client_ids", "account_ids", "symbols"):
            out |= text_arrays(name, getattr(self, name))
        for name in _NUMBERS:
            values = getattr(self, name)
            out[name] = values.astype(np.int64) if values.dtype.kind == "M" else values
        return out

    @staticmethod
    def read(root: Path, stored: dict[str, Stored]) -> Registry:
        """What was written."""
        got = {name: where.read(root) for name, where in stored.items()}
        texts = {
            name: texts_of(got[f"{name}_edges"], got[f"{name}_bytes"])
            for name in ("client_ids", "account_ids", "symbols")
        }
        days = {name: got[name].view("datetime64[D]") for name in ("opened_on", "closed_on")}
        rest = {name: got[name] for name in _NUMBERS if name not in days}
        return Registry(**texts, **days, **rest)

    def actor(self, day: np.datetime64) -> IntArray:
        """The client of each account that is opened by a day, -1 for none."""
        return np.where(self.opened_on <= day, self.client, NOBODY)

    def accounts_of(self, names: pa.Array, bucket: IntArray) -> IntArray:
        """The codes of accounts by name, each in its bucket; ``NOBODY`` for an unknown one."""
        names = names.cast(pa.large_string())
        known = bucket < len(self.hash_edges) - 1
        place, count = np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=np.int64)
        group = np.where(known, bucket, 0)
        find_hashes(text_hashes(names), group, self.hashes, self.hash_edges, place, count)
        out = np.full(len(names), NOBODY, dtype=np.int64)
        for step in range(int(count.max(initial=0))):  # more than one where hashes are equal
            rows = np.flatnonzero((count > step) & known & (out < 0))
            code = self.places[place[rows] + step]
            same = pc.equal(self.account_ids.take(pa.array(code)), names.take(pa.array(rows)))
            out[rows] = np.where(np.asarray(same), code, NOBODY)
        return out

    def listed(self, day: np.datetime64) -> BoolArray:
        """Clients with an account that is open on a day."""
        out = np.zeros(len(self.client_ids), dtype=bool)
        still = (self.client >= 0) & (self.opened_on <= day) & ~(self.closed_on <= day)
        out[self.client[still]] = True
        return out

    def with_buckets(self, read: Iterable[tuple[int, BucketAccounts]]) -> Registry:
        """The registry with the accounts of some buckets as they are known now.

        Raises
        ------
        InputError
            If an account or a client stands in two buckets.
        """
        parts = list(read)
        if not parts:
            return self
        clients = _Names(self.client_ids, self.client_bucket, "client_id")
        accounts = _Names(self.account_ids, self.account_bucket, "account_id")
        places = [
            (clients.add(found.clients, bucket), accounts.add(found.accounts, bucket))
            for bucket, found in parts
        ]
        client_ids, client_bucket = clients.together()
        account_ids, account_bucket = accounts.together()
        more = len(account_ids) - len(self.account_ids)
        owner = np.concatenate([self.client, np.full(more, NOBODY, dtype=np.int64)])
        unknown = np.full(more, NO_DAY)
        opened = np.concatenate([self.opened_on, unknown])
        closed = np.concatenate([self.closed_on, unknown])
        for (_, found), (who, which) in zip(parts, places, strict=True):
            owner[which], opened[which], closed[which] = NOBODY, NO_DAY, NO_DAY
            row = found.current
            account = which[found.rows.account[row]]
            owner[account] = who[found.rows.client[row]]
            opened[account] = found.rows.opened_on[row]
            closed[account] = found.rows.closed_on[row]
        return replace(
            self,
            client_ids=client_ids,
            client_bucket=client_bucket,
            account_ids=account_ids,
            account_bucket=account_bucket,
            client=owner,
            opened_on=opened,
            closed_on=closed,
            **_index(account_ids, account_bucket),
        )

    def changed_since(self, before: Registry, calendar: Calendar, then: np.datetime64) -> IntArray:
        """Clients of accounts that came, changed hands or opened since a session.

        Fills of an account count from the day on which it opens.
        """
        count = len(before.client)
        more = len(self.client) - count
        was = np.concatenate([before.client, np.full(more, NOBODY, dtype=np.int64)])
        opened = np.concatenate([before.opened_on, np.full(more, NO_DAY)])
        now = calendar.sessions[calendar.t]
        other = (was != self.client) | (opened.view(np.int64) != self.opened_on.view(np.int64))
        other |= (self.opened_on <= now) & (self.opened_on > then)
        clients = np.unique(np.concatenate([was[other], self.client[other]]))
        return clients[clients >= 0]

    def with_shared(self, pairs: IntArray) -> Registry:
        """With more pairs of accounts that share a trade."""
        both = np.concatenate([self.shared, pairs])
        return replace(self, shared=pairs_of(both[:, 0], both[:, 1]))


def text_hashes(texts: pa.Array) -> UInt32Array:
    """A hash of each text, the same on every machine and in every version."""
    start, held = text_arrays("", texts).values()
    out = np.empty(len(texts), dtype=np.uint32)
    hash_texts(start, held, out)
    return out


def _index(names: pa.Array, bucket: IntArray) -> dict[str, Any]:
    hashes = text_hashes(names)
    order = np.lexsort((hashes, bucket))
    buckets = int(bucket.max(initial=0)) + 1
    edges = np.searchsorted(bucket[order], np.arange(buckets + 1)).astype(np.int64)
    return {"hashes": hashes[order], "places": order, "hash_edges": edges}


class _Names:
    """Names by code, with new ones added bucket by bucket."""

    def __init__(self, names: pa.Array, bucket: IntArray, what: str) -> None:
        self.names, self.buckets, self.what = [names], [bucket], what
        self.count = len(names)
        self.in_bucket = {
            int(b): np.flatnonzero(bucket == b) for b in (np.unique(bucket) if len(bucket) else ())
        }

    def add(self, found: pa.Array, bucket: int) -> IntArray:
        """The codes of some names of a bucket."""
        found = found.cast(pa.large_string())
        mine = self.in_bucket.get(bucket, np.zeros(0, dtype=np.int64))
        known = self.names[0].take(pa.array(mine))
        place = np.asarray(pc.index_in(found, value_set=known).fill_null(-1)).astype(np.int64)
        code = np.where(place >= 0, mine[place] if len(mine) else NOBODY, NOBODY)
        fresh = np.flatnonzero(code < 0)
        code[fresh] = self.count + np.arange(len(fresh))
        self.names.append(found.take(pa.array(fresh)))
        self.buckets.append(np.full(len(fresh), bucket, dtype=np.int64))
        self.count += len(fresh)
        return code

    def together(self) -> tuple[pa.Array, IntArray]:
        """All names and their buckets."""
        names, buckets = pa.concat_arrays(self.names), np.concatenate(self.buckets)
        if len(names) > len(self.names[0]) and len(pc.unique(names)) < len(names):
            seen = pc.value_counts(names)
            twice = seen.filter(pc.greater(seen.field("counts"), 1)).field("values")[0].as_py()
            raise InputError(
                f"{self.what} {twice!r} stands in two buckets; run `gearline data check` on the"
                " lake, or leave the state out"
            )
        return names, buckets
