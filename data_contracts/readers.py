"""CSV files, Parquet files and PostgreSQL tables as streams of Arrow tables.

CSV and PostgreSQL come as text in every column, so that nothing is guessed on the way.
"""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from data_contracts.errors import InputError

BATCH_ROWS: Final = 100_000
ENCODINGS: Final = ("utf-8", "gb18030")
_POSTGRESQL: Final = ("postgresql://", "postgres://")


@dataclass(frozen=True)
class Delivered:
    """An opened source: its column names, its rows if known, and its batches."""

    columns: list[str]
    rows: int | None
    encoding: str | None
    batches: Callable[[], Iterator[pa.Table]]
    malformed: list[tuple[int, str]] = field(default_factory=list)
    """Lines with too few or too many fields, by number; filled while the batches are read."""


def open_delivery(source: str, table: str, encoding: str | None) -> Delivered:
    """Open a source by its name; see ``gearline data import --help`` for the kinds."""
    if source.startswith(_POSTGRESQL):
        return _open_postgresql(source, table)
    path = Path(source)
    if not path.is_file():
        raise InputError(
            f"{source} is neither a file nor a postgresql:// address; name what to import"
        )
    name = path.name.lower()
    if name.endswith(".parquet"):
        return _open_parquet(path)
    if name.endswith((".csv", ".csv.gz")):
        return _open_csv(path, encoding)
    raise InputError(f"{source} is neither .csv nor .csv.gz nor .parquet; convert or rename it")


def _unreadable(path: Path, error: Exception) -> InputError:
    first = str(error).strip().split("\n")[0].rstrip(".")
    return InputError(f"{path} cannot be read: {first}; export it again")


def _unique(where: object, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{where}: column {twice[0]!r} occurs twice; rename one of them")
    return names


def _open_parquet(path: Path) -> Delivered:
    try:
        with pq.ParquetFile(path) as file:
            names, rows = list(file.schema_arrow.names), file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from None

    def batches() -> Iterator[pa.Table]:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(path, error) from None

    return Delivered(_unique(path, names), rows, None, batches)


def _bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")


def detect_encoding(path: Path) -> str:
    """UTF-8 if the whole file is that, else GB18030 if it is that."""
    for encoding in ENCODINGS:
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with _bytes(path) as file:
                while chunk := file.read(1 << 22):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
            return encoding
        except UnicodeDecodeError:
            continue
        except (OSError, EOFError) as error:
            raise _unreadable(path, error) from None
    raise InputError(f"{path} is neither UTF-8 nor GB18030; convert it to UTF-8")


def _open_csv(path: Path, encoding: str | None) -> Delivered:
    used = encoding or detect_encoding(path)
    read = pacsv.ReadOptions(encoding=used, block_size=1 << 24, use_threads=False)
    malformed: list[tuple[int, str]] = []

    def set_aside(row: Any) -> str:
        malformed.append((row.number or 0, row.text))
        return "skip"

    parse = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside)

    def stream(names: list[str] | None) -> Any:
        types = None if names is None else dict.fromkeys(names, pa.string())
        convert = pacsv.ConvertOptions(
            column_types=types,
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=True,
        )
        return pacsv.open_csv(path, read_options=read, parse_options=parse, convert_options=convert)

    try:
        with stream(None) as reader:
            names = [name.removeprefix("\ufeff") for name in reader.schema.names]
            raw = list(reader.schema.names)
        malformed.clear()
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise _unreadable(path, error) from None

    def batches() -> Iterator[pa.Table]:
        malformed.clear()
        try:
            with stream(raw) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch]).rename_columns(names)
        except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
            raise _unreadable(path, error) from None

    return Delivered(_unique(path, names), None, used, batches, malformed)


def _open_postgresql(source: str, table: str) -> Delivered:
    """A table or view, streamed with COPY; text in ISO form, times in UTC."""
    try:
        import psycopg
        from psycopg import sql
    except ImportError:
        raise InputError(
            "PostgreSQL needs the extra 'postgres': pip install 'gearline[postgres]'"
        ) from None
    where = source.rpartition("@")[2]  # never with the password
    options = "-c TimeZone=UTC -c DateStyle=ISO -c bytea_output=hex -c IntervalStyle=iso_8601"
    relation = sql.Identifier(*table.split("."))

    def connect() -> Any:
        try:
            return psycopg.connect(source, options=options, connect_timeout=10)
        except psycopg.Error as error:
            first = str(error).strip().split("\n")[0].replace(source, where)
            raise InputError(f"{where} cannot be reached: {first}; check the address") from None

    try:
        with connect() as db, db.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(relation))
            names = [column.name for column in cursor.description]
    except psycopg.Error as error:
        first = str(error).strip().split("\n")[0]
        raise InputError(f"{where}: {first}; name the table with --source-table") from None

    def batches() -> Iterator[pa.Table]:
        columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in names)
        query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(columns, relation)
        with connect() as db, db.cursor() as cursor, cursor.copy(query) as copy:
            held: list[Any] = []
            for row in copy.rows():
                held.append(row)
                if len(held) == BATCH_ROWS:
                    yield _text_table(names, held)
                    held = []
            if held:
                yield _text_table(names, held)

    return Delivered(names, None, None, batches)


def _text_table(names: list[str], rows: list[Any]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, type=pa.string()) for column in columns], names=names)
