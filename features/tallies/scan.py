"""Reading fills from a lake with DuckDB: only what is visible, only the version that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import read_table, table_files
from data_contracts.row_rules import Bound, NotNull, OneOf, RowRule, row_rules, unproved_rules
from data_contracts.tables import TABLES
from data_contracts.units import IntArray
from features.tallies.days import FillColumns
from features.versions import NEVER, supersede

UInt64Array = npt.NDArray[np.uint64]
TRADES: Final = TABLES["trades"]
KEPT: Final = ", trade_id, file_index::BIGINT AS file, file_row_number::BIGINT AS row"
EVER: Final = int(np.iinfo(np.int64).min)
"""Before every instant."""
_VISIBLE: Final = "greatest(epoch_us(event_at), epoch_us(known_at))"


@dataclass(frozen=True)
class Fills(FillColumns):
    """Fills of one bucket as arrays, in the order of files and rows.

    ``ids`` are 64-bit hashes of the trade numbers; equal hashes are compared as text before a row
    is taken for a version of another. ``known`` and ``visible`` are in microseconds. Only where a
    state is kept there are the trade numbers themselves, and each row's ``source``: its file's
    position in the list and its row there, see ``source_code``.
    """

    ids: UInt64Array
    known: IntArray
    visible: IntArray
    superseded: IntArray
    trade_ids: pa.Array | None
    source: IntArray | None

    def current(self, cut: int) -> IntArray:
        """Rows that count at an instant."""
        return np.flatnonzero((self.visible <= cut) & (self.superseded > cut))


@dataclass(frozen=True)
class Delivered:
    """Fills of many buckets that count for the first time; accounts and symbols by name.

    ``account`` and ``symbol`` of ``columns`` are not codes yet: positions among ``account_ids``
    (one a row) and ``symbols``. ``latest`` is the last instant at which a row of each file becomes
    visible.
    """

    columns: FillColumns
    account_ids: pa.Array
    symbols: pa.Array
    bucket: IntArray
    ids: UInt64Array
    known: IntArray
    trade_ids: pa.Array
    source: IntArray
    latest: IntArray

    @staticmethod
    def nothing() -> Delivered:
        """No fills, of no file."""
        none, no = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        names = pa.array([], pa.large_string())
        columns = FillColumns(none, none, none, no, none, no)
        ids = none.astype(np.uint64)
        return Delivered(columns, names, names, none, ids, none, names, none, none)


def source_code(file: IntArray, row: IntArray) -> IntArray:
    """One integer for a file's number and a row of it."""
    return (file << 32) | row


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _listed(files: Sequence[Path]) -> str:
    return ", ".join(_quoted(str(path)) for path in files)


def symbols_of(root: Path) -> pa.Array:
    """The market's symbols, ascending."""
    names = pc.unique(read_table(root, "instruments", columns=["symbol"])["symbol"])
    return names.take(pc.sort_indices(names))


def _condition(rule: RowRule) -> str:
    """A row rule in SQL; a null breaks no rule but ``not null``."""
    column = rule.columns[0]
    if isinstance(rule, NotNull):
        return f"{column} IS NOT NULL"
    if isinstance(rule, Bound):
        return f"({column} {rule.sign} {rule.bound} OR {column} IS NULL)"
    if isinstance(rule, OneOf):
        words = ", ".join(_quoted(w) for w in rule.choices)
        return f"({column} IN ({words}) OR {column} IS NULL)"
    raise InputError(f"rule {rule.name} of table trades cannot be scanned; build without it")


def conditions(files: Sequence[Path]) -> str:
    """The row rules that the files' statistics do not prove, as one SQL condition."""
    found: dict[str, None] = {}
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                have = file.schema_arrow
                for c in TRADES.columns:
                    if c.name not in have.names:
                        raise InputError(
                            f"{path}: column {c.name!r} of table trades is missing;"
                            f" it has {', '.join(have.names)}"
                        )
                for rule in unproved_rules(TRADES, file.metadata, have):
                    found[_condition(rule)] = None
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"{path} is no readable Parquet file: {error}; restore it or make the lake again"
            ) from None
    return " AND ".join(found) or "true"


def all_conditions() -> str:
    """Every row rule of fills, as one SQL condition."""
    return " AND ".join(_condition(rule) for rule in row_rules(TRADES))


class Scanner:
    """One connection; the full build gives each of its threads one of a single thread.

    Rows keep the order of files and rows, as DuckDB's ``preserve_insertion_order`` has it.
    """

    def __init__(self, symbols: pa.Array | None = None, threads: int = 1) -> None:
        self.con = duckdb.connect()
        self.con.execute(f"SET threads = {max(threads, 1)}")
        if symbols is not None:
            self._enum("symbols", symbols)

    @staticmethod
    @contextmanager
    def soon(pool: Executor, threads: int) -> Iterator[Callable[[], Scanner]]:
        """A scanner that is made in the background; what is given waits for it."""
        coming = pool.submit(Scanner, threads=threads)
        try:
            yield coming.result
        finally:
            coming.result().close()

    def close(self) -> None:
        """Give the connection back."""
        self.con.close()

    def _enum(self, name: str, values: pa.Array) -> None:
        self.con.register("names", pa.table({"name": values if len(values) else pa.array([""])}))
        self.con.execute(f"DROP TYPE IF EXISTS {name}")
        self.con.execute(f"CREATE TYPE {name} AS ENUM (SELECT name FROM names ORDER BY name)")
        self.con.unregister("names")

    def read(self, files: Sequence[Path], accounts: pa.Array, cut: int, keep: bool) -> Fills:
        """Fills of some files that are visible at the cut-off; ``symbol`` as the enum has it.

        ``accounts`` is ascending; ``Fills.account`` is a position among them. ``keep`` asks for
        trade numbers and sources too.
        """
        self._enum("accounts", accounts)
        source = (
            f"FROM read_parquet([{_listed(files)}])"
            f" WHERE {conditions(files)} AND {_VISIBLE} <= {cut}"
        )
        query = (
            "SELECT hash(trade_id) AS id,"
            " coalesce(enum_code(try_cast(account_id AS accounts))::INTEGER, -1) AS account,"
            " coalesce(enum_code(try_cast(symbol AS symbols))::INTEGER, -1) AS symbol,"
            " side = 'buy' AS buy, quantity_shares, (price * 10000)::BIGINT AS price, financed,"
            f" epoch_us(event_at) AS event, epoch_us(known_at) AS known{KEPT if keep else ''}"
            f" {source}"
        )
        table: pa.Table | None = None
        if keep:
            table = self.con.sql(query).to_arrow_table()
            names = [name for name in table.column_names if name != "trade_id"]
            got: dict[str, Any] = {name: np.asarray(table[name]) for name in names}
        else:
            got = cast(dict[str, Any], self.con.execute(query).fetchnumpy())
        for name, column in (("account", "account_id"), ("symbol", "symbol")):
            if (got[name] < 0).any():
                answer = self.con.execute(
                    f"SELECT {column} {source} AND try_cast({column} AS {name}s) IS NULL LIMIT 1"
                ).fetchone()
                raise unknown(column, answer[0] if answer else None)
        ids = got["id"]
        known, event = got["known"].astype(np.int64), got["event"].astype(np.int64)
        visible = np.maximum(known, event)
        superseded = np.full(len(ids), NEVER, dtype=np.int64)
        ordered = np.sort(ids)
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if len(repeated):
            rows = np.flatnonzero(np.isin(ids, repeated))
            if table is None:
                texts = self.con.sql(f"SELECT trade_id {source}").to_arrow_table()["trade_id"]
            else:
                texts = table["trade_id"]
            key = text_codes(texts.take(pa.array(rows)).combine_chunks())
            superseded[rows] = supersede(key, known[rows], visible[rows]).superseded_at
        return Fills(
            account=got["account"].astype(np.int64),
            symbol=got["symbol"].astype(np.int64),
            event=event,
            buy=np.asarray(got["buy"], dtype=bool),
            value=got["quantity_shares"].astype(np.int64) * got["price"],
            financed=np.asarray(got["financed"], dtype=bool),
            ids=ids,
            known=known,
            visible=visible,
            superseded=superseded,
            trade_ids=None if table is None else table["trade_id"].combine_chunks(),
            source=None if table is None else source_code(got["file"], got["row"]),
        )

    def delivered(self, files: Sequence[Path], after: Sequence[int], cut: int) -> Delivered:
        """Fills that are visible at the cut-off and were not at each file's earlier instant."""
        if not files:
            return Delivered.nothing()
        scan = f"FROM read_parquet([{_listed(files)}], hive_partitioning = true)"
        since = " AND ".join(
            f"({_VISIBLE} > {then} OR file_index NOT IN ({_places(after, then)}))"
            for then in sorted(set(after) - {EVER})
        )
        table = self.con.sql(
            "SELECT hash(trade_id) AS id, bucket::BIGINT AS bucket, account_id, symbol,"
            " side = 'buy' AS buy, quantity_shares, (price * 10000)::BIGINT AS price, financed,"
            f" epoch_us(event_at) AS event, epoch_us(known_at) AS known{KEPT} {scan}"
            f" WHERE {all_conditions()} AND {since or 'true'}"
        ).to_arrow_table()
        # What is not visible yet is read too: a file is read once, and its last instant found.
        visible = np.maximum(np.asarray(table["event"]), np.asarray(table["known"]))
        latest = np.full(len(files), EVER, dtype=np.int64)
        np.maximum.at(latest, np.asarray(table["file"]), visible)
        if bool((visible > cut).any()):
            table = table.filter(pa.array(visible <= cut))
        names = [n for n in table.column_names if n not in ("account_id", "symbol", "trade_id")]
        got = {name: np.asarray(table[name]) for name in names}
        symbol = table["symbol"].combine_chunks().dictionary_encode()
        return Delivered(
            columns=FillColumns(
                account=np.arange(table.num_rows),
                symbol=np.asarray(symbol.indices).astype(np.int64),
                event=got["event"].astype(np.int64),
                buy=got["buy"].astype(bool),
                value=got["quantity_shares"].astype(np.int64) * got["price"],
                financed=got["financed"].astype(bool),
            ),
            account_ids=table["account_id"].combine_chunks(),
            symbols=symbol.dictionary,
            bucket=got["bucket"],
            ids=got["id"],
            known=got["known"].astype(np.int64),
            trade_ids=table["trade_id"].combine_chunks(),
            source=source_code(got["file"], got["row"]),
            latest=latest,
        )

    def hash_of(self, text: str) -> int:
        """The hash of a trade number; it may change from one version of DuckDB to the next."""
        found = self.con.execute("SELECT hash(?)", [text]).fetchall()
        return int(found[0][0])


def _places(after: Sequence[int], then: int) -> str:
    return ", ".join(str(k) for k, instant in enumerate(after) if instant == then)


def text_codes(texts: pa.Array) -> IntArray:
    """Equal numbers for equal texts."""
    return np.asarray(texts.dictionary_encode().indices).astype(np.int64)


def unknown(column: str, value: object) -> InputError:
    """The refusal of a fill whose account or symbol no table knows."""
    return InputError(
        f"trades.{column}: {value!r} is not known; run `gearline data check` on the lake"
    )


def trade_files(root: Path, bucket: int) -> list[Path]:
    """The trade files of a bucket, in the order of their rows."""
    return table_files(root, "trades", bucket)
