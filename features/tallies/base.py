"""The first state of all: a full build that keeps what the nights after it need."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from data_contracts.lake import lake_info, refuse_stopped
from features.tallies.full import (
    BucketTallies,
    Calendar,
    LakeTallies,
    Progress,
    tally_buckets,
)
from features.tallies.registry import Registry
from features.tallies.scan import symbols_of
from features.tallies.state import (
    FOLDER,
    Files,
    Held,
    Segment,
    State,
    new_folder,
    only_build,
    write_state,
)
from features.tallies.store import Array, Stored, Stream
from features.tallies.values import Tallies

UNKNOWN: Final = int(np.iinfo(np.int64).max)
"""``latest`` of a file whose statistics do not tell: it is opened again every night."""


def build_with_state(
    root: Path, session: dt.date, threads: int = 1, progress: Progress | None = None
) -> LakeTallies:
    """A full build that leaves a state for the next night."""
    refuse_stopped(root)
    calendar = Calendar.read(root, session)
    buckets = lake_info(root).buckets
    with only_build(root):
        # Listed before anything is read: what is delivered meanwhile is the next night's.
        trades, accounts = Files.listed(root, "trades"), Files.listed(root, "accounts")
        of_bucket = trades.of_buckets(buckets)
        folder = new_folder(root, session)
        streams = _Streams(root / FOLDER, folder)
        parts: list[BucketTallies] = []
        files = [[root / trades.names[k] for k in mine] for mine in of_bucket]
        for part in tally_buckets(root, calendar, threads, keep=files, progress=progress):
            streams.add(part, of_bucket[len(parts)][0] if of_bucket[len(parts)] else 0)
            parts.append(replace(part, kept=None))
        stored, shared = streams.done()
        segment = Segment.read(root / FOLDER, stored, nights=0)
        known = Registry.nothing(symbols_of(root))
        known = known.with_buckets((k, part.accounts) for k, part in enumerate(parts))
        state = State(
            root=root,
            session=session,
            cut=calendar.cut,
            calendar=calendar.digest(calendar.t),
            trades=with_latest(root, trades),
            accounts=with_latest(root, accounts),
            registry=known.with_shared(shared),
            tallies=Tallies.together([part.tallies for part in parts]),
            segments=(segment,),
            held=Held(None, (stored,)),
        )
        write_state(state, folder)
    return LakeTallies.gather(session, parts)


def with_latest(root: Path, files: Files) -> Files:
    """The files with the last instant at which a row of each becomes visible."""
    latest = [_latest(root / name) for name in files.names]
    return replace(files, latest=np.array(latest, dtype=np.int64))


def _latest(path: Path) -> int:
    """From a file's statistics; ``UNKNOWN`` where it has none."""
    latest = int(np.iinfo(np.int64).min)
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        names = [metadata.schema.column(k).path for k in range(metadata.num_columns)]
        for name in ("event_at", "known_at"):
            for group in range(metadata.num_row_groups):
                found = metadata.row_group(group).column(names.index(name)).statistics
                if found is None or not found.has_min_max:
                    return UNKNOWN
                instant = np.datetime64(found.max.replace(tzinfo=None), "us")
                latest = max(latest, int(instant.astype(np.int64)))
    return latest


class _Streams:
    """The arrays of a full build's segment, written bucket by bucket."""

    def __init__(self, home: Path, folder: str) -> None:
        self.home, self.folder = home, folder
        self.streams: dict[str, Stream] = {}
        self.account = self.client = self.record = self.byte = self.hash = self.day = 0
        self.shared: list[Array] = [np.zeros((0, 2), dtype=np.int64)]

    def add(self, part: BucketTallies, first_file: int) -> None:
        """Write a bucket; ``first_file`` is the number of its first file."""
        if part.kept is None:
            raise ValueError("a state is written of buckets that were scanned with keep")
        fills, days = part.kept.fills, part.kept.days
        records = fills.records.copy()
        records["source"] += first_file << 32
        self._write("accounts", fills.accounts + self.account)
        self._write("edges", fills.edges[:-1] + self.record)
        self._write("text_edges", fills.text_edges[:-1] + self.byte)
        self._write("records", records)
        self._write("text", fills.text)
        self._write("hashes", fills.hashes)
        self._write("places", fills.places + np.uint32(self.record))
        self._write("hash_edges", fills.hash_edges[:-1] + self.hash)
        self._write("day_client", days.client + np.int32(self.client))
        self._write("day_numbers", days.numbers)
        self._write("day_count", days.count)
        self._write("day_edges", days.edges + self.day)
        self.shared.append(part.kept.shared + self.account)
        self.account += len(part.accounts.accounts)
        self.client += len(part.accounts.clients)
        self.record += len(fills.records)
        self.byte += len(fills.text)
        self.hash += len(fills.hashes)
        self.day += len(days.client)

    def done(self) -> tuple[dict[str, Stored], Array]:
        """Where the arrays are, all on disk, and the pairs of accounts that share a trade."""
        for name, end in (
            ("edges", self.record),
            ("text_edges", self.byte),
            ("hash_edges", self.hash),
        ):
            self._write(name, np.array([end], dtype=np.int64))
        stored = {name: stream.done() for name, stream in self.streams.items()}
        return stored, np.concatenate(self.shared)

    def _write(self, name: str, array: Array) -> None:
        if name not in self.streams:
            self.streams[name] = Stream(self.home, f"{self.folder}/{name}.bin")
        self.streams[name].add(array)
