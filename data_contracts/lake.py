"""The lake: a folder of Parquet, one sub-folder a table, clients' tables split into buckets.

``LAKE/lake.json`` states the format, currency, market and number of buckets;
``LAKE/TABLE/bucket=NNN/part-0.parquet`` holds clients' rows, ``LAKE/TABLE/part-0.parquet`` the
shared tables. The bucket of a client is taken from the first byte of SHA-256 of the related group,
else of the client, so that no group crosses a bucket.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.row_rules import RowRule, first_broken, unproved_rules
from data_contracts.tables import TABLES, Table
from data_contracts.units import NULL, IntArray, format_decimal

LAKE_FORMAT: Final = 1
MAX_BUCKETS: Final = 256
QUARANTINE: Final = "quarantine"
CHECK_FILE: Final = "check.json"
"""How the last check of the lake ended, in its quarantine folder."""
CODED_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
"""The type of a text column that is read as codes."""


@dataclass(frozen=True)
class LakeInfo:
    """What ``lake.json`` states.

    ``flags`` carries warnings such as ``survivor-only`` to every report.
    """

    currency: str
    mic: str
    buckets: int
    source: str
    flags: tuple[str, ...] = ()
    format: int = LAKE_FORMAT


def bucket_of(client_id: str, related_group_id: str | None, buckets: int = MAX_BUCKETS) -> int:
    """The bucket of a client: first byte of SHA-256 of its group, else of itself, scaled."""
    digest = hashlib.sha256((related_group_id or client_id).encode()).digest()
    return digest[0] * buckets // MAX_BUCKETS


def decimal_array(values: IntArray, scale: int, precision: int = 18) -> pa.Array:
    """int64 quanta as an Arrow decimal128 array; ``NULL`` becomes null. No float is involved."""
    low = np.ascontiguousarray(values, dtype=np.int64)
    null = low == NULL
    if precision <= 18:  # beyond that every int64 fits
        limit = 10**precision
        over = np.flatnonzero(((low >= limit) | (low <= -limit)) & ~null)
        if len(over):
            raise InputError(
                f"{format_decimal(int(low[over[0]]), scale)} has more than {precision} digits;"
                " correct the value or its unit"
            )
    pair = np.empty((len(low), 2), dtype=np.int64)
    pair[:, 0] = np.where(null, 0, low)
    pair[:, 1] = pair[:, 0] >> 63
    mask = None
    if bool(null.any()):
        mask = pa.array(~null, type=pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(
        pa.decimal128(precision, scale), len(low), [mask, pa.py_buffer(pair.tobytes())]
    )


def decimal_to_int(array: pa.Array | pa.ChunkedArray) -> IntArray:
    """An Arrow decimal128 array as int64 quanta of its own scale; null becomes ``NULL``."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if len(array) == 0:
        return np.empty(0, dtype=np.int64)
    raw = np.frombuffer(array.buffers()[1], dtype=np.int64)
    out = raw[2 * array.offset : 2 * (array.offset + len(array)) : 2].copy()
    if array.null_count:
        out[np.asarray(array.is_null())] = NULL
    return out


def to_arrow(spec: Table, columns: Mapping[str, Any]) -> pa.Table:
    """Columns (int64 quanta for decimals, anything Arrow accepts otherwise) as a contract table."""
    missing = [c.name for c in spec.columns if c.name not in columns]
    if missing:
        raise InputError(f"table {spec.name}: column {missing[0]!r} is missing")
    arrays = []
    for c in spec.columns:
        values = columns[c.name]
        if isinstance(values, (pa.Array, pa.ChunkedArray)):
            arrays.append(values.cast(c.arrow_type) if values.type != c.arrow_type else values)
        elif pa.types.is_decimal(c.arrow_type):
            quanta = np.asarray(values)
            if quanta.size and quanta.dtype.kind not in "iu":
                raise InputError(
                    f"table {spec.name}: column {c.name!r} holds {quanta.dtype} values;"
                    f" give int64 quanta of 10**-{c.arrow_type.scale} or an Arrow decimal array"
                )
            arrays.append(decimal_array(quanta, c.arrow_type.scale))
        elif (
            isinstance(values, np.ndarray)
            and values.dtype == np.int64
            and pa.types.is_integer(c.arrow_type)
        ):
            null = values == NULL
            arrays.append(pa.array(np.where(null, 0, values), mask=null).cast(c.arrow_type))
        else:
            arrays.append(pa.array(values, type=c.arrow_type))
    return pa.Table.from_arrays(arrays, schema=spec.arrow_schema)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all or none: temporary file, fsync, rename, fsync."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file with fixed settings, so that equal tables give equal bytes.

    A reader sees the old file or the new one, never half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    # 18 digits fit eight bytes, which are read several times as fast as fixed-length ones
    pq.write_table(
        table, temporary, compression="zstd", compression_level=1, use_dictionary=True,
        write_statistics=True, store_decimal_as_integer=True,
    )  # fmt: skip
    os.replace(temporary, path)


def check_output_folder(out: Path, marker: str, made_by: str) -> None:
    """Refuse a folder to write that is a file, lies under one, or holds what somebody else wrote.

    ``marker`` is the file by which a folder is known that ``made_by`` wrote before.
    """
    there = next(part for part in (out, *out.parents) if part.exists())
    if not there.is_dir():
        raise InputError(f"{out} cannot be a folder: {there} is a file; choose another --out")
    if there == out and any(out.iterdir()) and not (out / marker).is_file():
        raise InputError(f"{out} is not empty and was not made by {made_by}; choose another --out")


def create_lake(root: Path, info: LakeInfo) -> None:
    """Make an empty lake folder."""
    if not 1 <= info.buckets <= MAX_BUCKETS:
        raise InputError(f"a lake has 1 to {MAX_BUCKETS} buckets, not {info.buckets}")
    root.mkdir(parents=True, exist_ok=True)
    (root / QUARANTINE / CHECK_FILE).unlink(missing_ok=True)
    write_atomically(
        root / "lake.json",
        orjson.dumps(asdict(info), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2),
    )


def lake_info(root: Path) -> LakeInfo:
    """Read ``lake.json``; a folder without it is refused."""
    path = root / "lake.json"
    if not path.is_file():
        raise InputError(
            f"{root} is not a lake: it has no lake.json; make one with `gearline demo --out DIR`,"
            " `gearline lab simulate --out DIR` or `gearline market import --out DIR`"
        )
    way_out = "restore it or make the lake again"
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} is damaged: {error}; {way_out}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} is damaged: it is no JSON object; {way_out}")
    stated = document.get("format", LAKE_FORMAT)
    if stated != LAKE_FORMAT:
        raise InputError(f"{path} has format {stated}; this version reads format {LAKE_FORMAT}")
    document["flags"] = tuple(document.get("flags", ()))
    try:
        info = LakeInfo(**document)
    except TypeError as error:
        reason = str(error).removeprefix("LakeInfo.__init__() ")
        raise InputError(f"{path} is damaged: {reason}; {way_out}") from None
    if type(info.buckets) is not int or not 1 <= info.buckets <= MAX_BUCKETS:
        raise InputError(
            f"{path} is damaged: buckets is {info.buckets!r}, not 1 to {MAX_BUCKETS}; {way_out}"
        )
    return info


def write_shared(root: Path, name: str, columns: Mapping[str, Any]) -> int:
    """Write one of the tables that all clients share; returns the number of rows."""
    table = to_arrow(TABLES[name], columns)
    write_parquet(root / name / "part-0.parquet", table)
    return int(table.num_rows)


def write_bucketed(
    root: Path,
    name: str,
    columns: Mapping[str, Any],
    bucket: IntArray,
    buckets: int,
    *,
    part: int = 0,
) -> int:
    """Write a clients' table split by each row's bucket; row order inside a bucket is kept.

    ``part`` numbers the file inside each bucket, for a book that is written block by block.

    Raises
    ------
    InputError
        If there is not one bucket a row, or a bucket is none of the lake's: no row is lost.
    """
    table = to_arrow(TABLES[name], columns)
    if len(bucket) != table.num_rows or bool(np.any((bucket < 0) | (bucket >= buckets))):
        raise InputError(
            f"table {name}: {len(bucket)} buckets for {table.num_rows} rows, each from 0 to"
            f" {buckets - 1}; take them from bucket_of"
        )
    table = table.take(pa.array(np.argsort(bucket, kind="stable")))
    counts = np.bincount(bucket, minlength=buckets)
    start = 0
    for number, count in enumerate(counts.tolist()):
        path = root / name / f"bucket={number:03d}" / f"part-{part}.parquet"
        write_parquet(path, table.slice(start, count))
        start += count
    return int(table.num_rows)


def table_files(root: Path, name: str, bucket: int | None = None) -> list[Path]:
    """The Parquet files of a table, sorted; of one bucket if given."""
    folder = root / name
    if bucket is not None and TABLES[name].bucketed:
        folder = folder / f"bucket={bucket:03d}"
    if not folder.is_dir():
        raise InputError(
            f"table {name} is missing: there is no folder {folder}; restore it, or make the lake"
            " with `gearline demo` or `gearline lab simulate`"
        )
    return sorted(folder.rglob("*.parquet"))


def refuse_stopped(root: Path) -> None:
    """Refuse a lake whose last check found too large a share of bad rows in a table."""
    path = root / QUARANTINE / CHECK_FILE
    try:
        stopped = orjson.loads(path.read_bytes())["stopped"]
    except FileNotFoundError:
        return
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise InputError(f"{path} is damaged; run `gearline data check {root}` again") from None
    for reason in stopped.values():
        raise InputError(
            f"{root} was stopped by its last check: {reason};"
            f" mend the source, then run `gearline data check {root}` again"
        )


def read_table(
    root: Path,
    name: str,
    *,
    bucket: int | None = None,
    columns: Sequence[str] | None = None,
    coded: Sequence[str] = (),
) -> pa.Table:
    """The rows of a contract table that keep every row rule, with their declared types.

    The rules hold whichever columns are asked for, so that two readers see the same rows.
    ``check_lake`` says which rows are left out, and why. Text columns named in ``coded`` come as
    codes with a dictionary: for texts that repeat, which then are decoded once each.

    Raises
    ------
    InputError
        If the table or a declared column is missing, a column has another type, a file is
        damaged, or the last check stopped the lake.
    """
    refuse_stopped(root)
    spec = TABLES[name]
    wanted = list(columns) if columns is not None else [c.name for c in spec.columns]
    files = table_files(root, name, bucket)
    parts = [read_file(f, spec, wanted, coded=coded)[0] for f in files]
    if not parts:
        return _schema(spec, wanted, strict=True, coded=coded).empty_table()
    whole = pa.concat_tables(parts)
    return (whole.unify_dictionaries() if coded else whole).combine_chunks()


def read_file(
    path: Path,
    spec: Table,
    wanted: Sequence[str],
    *,
    checked: bool = True,
    coded: Sequence[str] = (),
) -> tuple[pa.Table, list[RowRule]]:
    """Columns of one file of a table, and the rules that its statistics do not prove.

    With ``checked`` those rules are looked at, and rows that break one are left out.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=True, read_dictionary=list(coded)) as file:
            have = file.schema_arrow
            for column in wanted:
                if column not in have.names:
                    raise InputError(
                        f"{path}: column {column!r} of table {spec.name} is missing;"
                        f" it has {', '.join(have.names)}"
                    )
            rules = unproved_rules(spec, file.metadata, have)
            beside = [c for rule in rules for c in rule.columns] if checked else []
            names = list(dict.fromkeys([*wanted, *beside]))
            read = file.read(columns=names)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} is no readable Parquet file: {error}; restore it or make the lake again"
        ) from None
    typed = [_typed(path, spec, column, read[column], column in coded) for column in names]
    table = pa.Table.from_arrays(typed, schema=_schema(spec, names, strict=False, coded=coded))
    broken = first_broken(rules, table) if checked else None
    if broken is not None:
        table = table.filter(pa.array(broken < 0))
    strict = _schema(spec, wanted, strict=checked, coded=coded)
    return pa.Table.from_arrays([table[c] for c in wanted], schema=strict), rules


def _schema(
    spec: Table, names: Sequence[str], *, strict: bool, coded: Sequence[str] = ()
) -> pa.Schema:
    """The declared schema of some columns; nulls are ruled out only once the rows are checked."""
    fields = []
    for c in (spec.column(name) for name in names):
        kind = CODED_TEXT if c.name in coded else c.arrow_type
        fields.append(pa.field(c.name, kind, nullable=c.nullable or not strict))
    return pa.schema(fields)


def _typed(
    path: Path, spec: Table, name: str, column: pa.ChunkedArray, coded: bool = False
) -> pa.ChunkedArray:
    declared = CODED_TEXT if coded else spec.column(name).arrow_type
    if column.type == declared:
        return column
    refused = f"{path}: column {name!r} is {column.type}, the contract says {declared}"
    if pa.types.is_floating(column.type) and pa.types.is_decimal(declared):
        raise InputError(f"{refused}; write decimals, a float is not exact")
    try:
        return column.cast(declared)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(refused) from None


def visible_rows(table: pa.Table, cut_off: np.datetime64) -> pa.Table:
    """Rows with max(event_at, known_at) at or before the cut-off: what was known then."""
    instant = pa.scalar(cut_off.astype("datetime64[us]").astype(int), type=pa.int64())
    limit = instant.cast(pa.timestamp("us", tz="UTC"))
    happened, known = (pc.less_equal(table[stamp], limit) for stamp in ("event_at", "known_at"))
    return table.filter(pc.and_(happened, known))


def latest_versions(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """Of the versions of a key the one with the greatest ``known_at``; later rows win ties."""
    if table.num_rows == 0:
        return table
    known = table["known_at"].cast(pa.int64()).to_numpy()
    names = [
        table[k].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        for k in key
    ]
    order = np.lexsort((np.arange(table.num_rows), known, *reversed(names)))
    stacked = np.stack([n[order] for n in names])
    last = np.ones(len(order), dtype=bool)
    last[:-1] = np.any(stacked[:, 1:] != stacked[:, :-1], axis=0)
    return table.take(pa.array(np.sort(order[last])))
