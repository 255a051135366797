"""A delivery (CSV, Parquet or PostgreSQL) as rows of a contract table, converted exactly.

Every value is read as text or as the type it has, and becomes the declared type without a float in
between. What has more places than the unit holds is rounded half to even and counted. A row with a
value that cannot be read is set aside in ``LAKE/quarantine/import-TABLE.parquet`` and the others go
on, up to the table's share of bad rows. Rows are appended as a new file of each bucket, so a later
delivery stands behind an earlier one. A delivery that is refused leaves the lake as it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.conversion import Converter, Unreadable
from data_contracts.errors import InputError
from data_contracts.lake import (
    MAX_BUCKETS,
    QUARANTINE,
    LakeInfo,
    bucket_of,
    create_lake,
    lake_info,
    write_parquet,
)
from data_contracts.readers import Delivered, open_delivery
from data_contracts.tables import TABLES, Table

Progress = Callable[[str, int, int], None]
CURRENCIES: Final = ("USD", "CNY")


@dataclass(frozen=True)
class Delivery:
    """What to bring in: a file or a database, the contract table, and how to read it."""

    source: str
    table: str
    mapping: tuple[str, ...] = ()
    encoding: str | None = None
    source_table: str | None = None
    zone: str | None = None
    known_at: str | None = None


@dataclass
class Imported:
    """What came in. ``inexact`` counts rounded values by column, ``by_column`` unreadable ones."""

    rows: int = 0
    unreadable: int = 0
    inexact: dict[str, int] = field(default_factory=dict)
    by_column: dict[str, int] = field(default_factory=dict)
    encoding: str | None = None
    files: int = 0


def import_table(
    delivery: Delivery, root: Path, market: str | None = None, progress: Progress | None = None
) -> Imported:
    """Append a delivery to a table of a lake; ``market``, its currency and MIC, makes a new lake.

    Raises
    ------
    InputError
        If the source cannot be read, a column is missing or named wrongly, or more rows than the
        table's share cannot be read. The lake is as before then.
    """
    if delivery.table not in TABLES:
        raise InputError(
            f"--table {delivery.table!r} is no contract table; use one of {', '.join(TABLES)}"
        )
    spec = TABLES[delivery.table]
    delivered = open_delivery(
        delivery.source, delivery.source_table or spec.name, delivery.encoding
    )
    columns = match_columns(spec, delivered.columns, delivery.mapping, delivery.known_at)
    info = _lake(root, market)
    place = _Buckets(root, spec, info)
    writer = _Writer(root, spec)
    report = Imported(encoding=delivered.encoding)
    try:
        _copy(delivery, delivered, columns, place, writer, report, progress)
        limit = spec.max_bad_percent
        if report.unreadable * 100 > (report.rows + report.unreadable) * limit:
            worst = writer.bad[0]
            raise InputError(
                f"{delivery.source}: {report.unreadable} of {report.rows + report.unreadable} rows"
                f" cannot be read (at most {limit} % may), for example row {worst['row']}, column"
                f" {worst['column']!r}: {worst['value']!r} is {worst['why']}; correct the source"
                " or --map"
            )
        if not (root / "lake.json").is_file():
            create_lake(root, info)
        report.files = writer.publish()
    finally:
        writer.discard()
    return report


def match_columns(
    spec: Table, have: list[str], mapping: tuple[str, ...], known_at: str | None
) -> dict[str, str]:
    """Their column for each of ours. A nullable column may be absent; every other must be there."""
    names = [c.name for c in spec.columns]
    chosen: dict[str, str] = {}
    for pair in mapping:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise InputError(f"--map {pair!r}: write OURS=THEIRS, such as trade_id=fill_no")
        if ours not in names:
            raise InputError(
                f"--map {pair!r}: table {spec.name} has no column {ours!r};"
                f" it has {', '.join(names)}"
            )
        if theirs not in have:
            raise InputError(
                f"--map {pair!r}: the source has no column {theirs!r}; it has {', '.join(have)}"
            )
        if ours in chosen:
            raise InputError(f"--map {pair!r}: {ours} is mapped twice; keep one")
        chosen[ours] = theirs
    for name in names:
        if name not in chosen and name in have:
            chosen[name] = name
    derived = {"known_at"} if known_at is not None else set()
    if spec.column(spec.event).kind == "timestamp" and spec.event in chosen:
        derived.add("event_at")
    missing = [
        c.name
        for c in spec.columns
        if not c.nullable and c.name not in chosen and c.name not in derived
    ]
    if missing:
        free = [name for name in have if name not in chosen.values()]
        raise InputError(
            f"the source has no column for {', '.join(missing)} of table {spec.name}; columns not"
            f" used: {', '.join(free) or 'none'}; write --map {missing[0]}=THEIRS"
            + (" or --known-at TIME" if "known_at" in missing else "")
        )
    return chosen


def _lake(root: Path, market: str | None) -> LakeInfo:
    if (root / "lake.json").is_file():
        info = lake_info(root)
        if market is not None and market != f"{info.currency}:{info.mic}":
            raise InputError(
                f"--market {market}: {root} is a lake of {info.currency}:{info.mic}; leave it out"
            )
        return info
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is neither a lake nor an empty folder; choose another --out")
    currency, _, mic = (market or "").partition(":")
    if currency not in CURRENCIES or not mic:
        raise InputError(
            f"{root} is no lake yet; to make one, write --market CURRENCY:MIC,"
            " such as --market CNY:XSHG"
        )
    return LakeInfo(currency, mic, MAX_BUCKETS, "gearline data import")


def _copy(
    delivery: Delivery,
    delivered: Delivered,
    columns: dict[str, str],
    place: _Buckets,
    writer: _Writer,
    report: Imported,
    progress: Progress | None,
) -> None:
    spec = TABLES[delivery.table]
    convert = Converter(spec, columns, delivery.zone, delivery.known_at)
    inexact: Counter[str] = Counter()
    for batch in delivered.batches():
        made = convert(batch, report.rows + report.unreadable)
        inexact.update(made.inexact)
        writer.put(made.table, place(made.table))
        writer.set_aside(delivery.source, made.unreadable)
        report.rows += made.table.num_rows
        report.unreadable += batch.num_rows - made.table.num_rows
        for fault in made.unreadable:
            report.by_column[fault.column] = report.by_column.get(fault.column, 0) + 1
        if progress is not None:
            seen = report.rows + report.unreadable
            progress("import", seen, max(delivered.rows or 0, seen))
    short = [
        Unreadable(number, "", text[:200], "a line with too few or too many fields", text)
        for number, text in delivered.malformed
    ]
    writer.set_aside(delivery.source, short)
    report.unreadable += len(short)
    if short:
        report.by_column["(line)"] = len(short)
    report.inexact = {c.name: inexact[c.name] for c in spec.columns if inexact[c.name]}


class _Buckets:
    """The bucket of each row: that of its client, as the lake's clients say; 0 if not bucketed."""

    def __init__(self, root: Path, spec: Table, info: LakeInfo) -> None:
        self.spec, self.buckets = spec, info.buckets
        self.groups: dict[str, str | None] = {}
        if spec.bucketed and spec.name != "clients" and (root / "clients").is_dir():
            names = ["client_id", "related_group_id", "known_at"]
            for path in sorted((root / "clients").rglob("*.parquet")):
                rows = pq.read_table(path, columns=names, partitioning=None).sort_by("known_at")
                self.groups |= dict(
                    zip(*(rows[name].to_pylist() for name in names[:2]), strict=True)
                )
        elif spec.bucketed and spec.name != "clients" and "client_id" in self._names():
            raise InputError(
                f"import the table clients before {spec.name}: a client's group says where its"
                " rows are kept"
            )

    def _names(self) -> list[str]:
        return [c.name for c in self.spec.columns]

    def __call__(self, table: pa.Table) -> Any:
        if not self.spec.bucketed:
            return np.zeros(table.num_rows, dtype=np.int64)
        names = self._names()
        key = "client_id" if "client_id" in names else self.spec.key[0]
        encoded = table[key].combine_chunks().dictionary_encode()
        if "related_group_id" in names:
            pairs = zip(table[key].to_pylist(), table["related_group_id"].to_pylist(), strict=True)
            return np.array([bucket_of(k or "", g, self.buckets) for k, g in pairs], dtype=np.int64)
        known = encoded.dictionary.to_pylist()
        of = np.array([bucket_of(k, self.groups.get(k), self.buckets) for k in known] + [0])
        index = pc.fill_null(encoded.indices, len(known))
        return of[np.asarray(index)].astype(np.int64)


class _Writer:
    """New files of a table under temporary names until ``publish``."""

    def __init__(self, root: Path, spec: Table) -> None:
        self.root, self.spec = root, spec
        self.bad: list[dict[str, Any]] = []
        self.open: dict[int, pq.ParquetWriter] = {}
        self.held: dict[int, list[pa.Table]] = {}
        self.count = 0
        have = sorted((root / spec.name).rglob("part-*.parquet")) if root.is_dir() else []
        numbers = [int(path.stem.removeprefix("part-")) for path in have]
        self.name = f"part-{max(numbers, default=-1) + 1:06d}.parquet"

    def _path(self, bucket: int) -> Path:
        folder = self.root / self.spec.name
        if self.spec.bucketed:
            folder = folder / f"bucket={bucket:03d}"
        return folder / f"{self.name}.tmp"

    def put(self, table: pa.Table, bucket: Any) -> None:
        """Add rows to the files of their buckets."""
        for number in np.unique(bucket):
            chosen = table.take(pa.array(np.flatnonzero(bucket == number)))
            self.held.setdefault(int(number), []).append(chosen)
            self.count += chosen.num_rows
        if self.count > 2_000_000:
            self._flush()

    def _flush(self) -> None:
        for bucket, tables in self.held.items():
            if bucket not in self.open:
                path = self._path(bucket)
                path.parent.mkdir(parents=True, exist_ok=True)
                schema = tables[0].schema
                self.open[bucket] = pq.ParquetWriter(path, schema, compression="zstd")
            self.open[bucket].write_table(pa.concat_tables(tables).combine_chunks())
        self.held, self.count = {}, 0

    def set_aside(self, source: str, faults: list[Unreadable]) -> None:
        """Keep rows that could not be read, with what was wrong."""
        self.bad += [
            {
                "source": source.rpartition("@")[2],
                "row": fault.row,
                "column": fault.column,
                "value": fault.value,
                "why": fault.why,
                "line": fault.line,
            }
            for fault in faults
        ]

    def publish(self) -> int:
        """Give the files their names; returns how many."""
        self._flush()
        for writer in self.open.values():
            writer.close()
        for bucket in self.open:
            path = self._path(bucket)
            os.replace(path, path.with_suffix(""))
        if self.bad:
            path = self.root / QUARANTINE / f"import-{self.spec.name}.parquet"
            write_parquet(path, pa.Table.from_pylist(self.bad))
        made, self.open = len(self.open), {}
        return made

    def discard(self) -> None:
        """Forget what was not published."""
        for bucket, writer in self.open.items():
            writer.close()
            self._path(bucket).unlink(missing_ok=True)
