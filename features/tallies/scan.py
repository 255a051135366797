"""Reading fills from a lake with DuckDB: only what is visible, only the version that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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
from data_contracts.units import BoolArray, IntArray
from features.versions import combine, supersede

UInt64Array = npt.NDArray[np.uint64]
TRADES: Final = TABLES["trades"]
_VISIBLE: Final = "greatest(epoch_us(event_at), epoch_us(known_at))"


@dataclass(frozen=True)
class Fills:
    """Fills as arrays; ``value`` is quantity times price in 0.0001, ``event`` in microseconds.

    ``ids`` are 64-bit hashes of the trade numbers; equal hashes are compared as text before a row
    is taken for a version of another. ``shared`` are accounts of trades that changed the account:
    the fills of one cannot be told without those of the other.
    """

    account: IntArray
    symbol: IntArray
    event: IntArray
    buy: BoolArray
    value: IntArray
    financed: BoolArray
    ids: UInt64Array
    visible: IntArray
    superseded: IntArray
    shared: IntArray

    def current(self, cut: int) -> IntArray:
        """Rows that count at an instant."""
        return np.flatnonzero((self.visible <= cut) & (self.superseded > cut))


@dataclass(frozen=True)
class NewFills:
    """Fills that became known since a state, of many buckets; their accounts by number.

    ``more_to_come`` says that the files hold rows that are not known yet.
    """

    ids: UInt64Array
    bucket: IntArray
    account_ids: pa.Array
    symbol: IntArray
    event: IntArray
    buy: BoolArray
    value: IntArray
    financed: BoolArray
    more_to_come: bool

    @staticmethod
    def nothing() -> NewFills:
        """No fills."""
        none, no = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        names = pa.array([], pa.string())
        ids = none.astype(np.uint64)
        return NewFills(ids, none, names, none, none, no, none, no, False)

    def fills(self, account: IntArray) -> Fills:
        """As fills of accounts given by position."""
        always = np.zeros(len(self.ids), dtype=np.int64)
        return Fills(
            account, self.symbol, self.event, self.buy, self.value, self.financed, self.ids,
            always, always, always[:0],
        )  # fmt: skip


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


class Scanner:
    """One connection; the full build gives each of its threads one of a single thread.

    Rows keep the order of files and rows, as DuckDB's ``preserve_insertion_order`` has it.
    """

    def __init__(self, symbols: pa.Array, threads: int = 1) -> None:
        self.con = duckdb.connect()
        self.con.execute(f"SET threads = {max(threads, 1)}")
        self._enum("symbols", symbols)

    def close(self) -> None:
        """Give the connection back."""
        self.con.close()

    def _enum(self, name: str, values: pa.Array) -> None:
        self.con.register("names", pa.table({"name": values if len(values) else pa.array([""])}))
        self.con.execute(f"DROP TYPE IF EXISTS {name}")
        self.con.execute(f"CREATE TYPE {name} AS ENUM (SELECT name FROM names ORDER BY name)")
        self.con.unregister("names")

    def read(self, files: Sequence[Path], accounts: pa.Array, cut: int) -> Fills:
        """Fills of some files that are visible at the cut-off.

        ``accounts`` is ascending; ``Fills.account`` is a position among them.
        """
        return self._read(files, accounts, f"{conditions(files)} AND {_VISIBLE} <= {cut}")

    def read_accounts(self, files: Sequence[Path], accounts: pa.Array, cut: int) -> Fills:
        """The same for the rows of some accounts only; statistics skip the other row groups."""
        names = ", ".join(_quoted(name) for name in accounts.to_pylist())
        rules = " AND ".join(_condition(rule) for rule in row_rules(TRADES))
        return self._read(
            files, accounts, f"account_id IN ({names}) AND {rules} AND {_VISIBLE} <= {cut}"
        )

    def new(self, files: Sequence[Path], after: int, cut: int) -> NewFills:
        """Fills that became visible after one instant and not after another."""
        if not files:
            return NewFills.nothing()
        scan = f"FROM read_parquet([{_listed(files)}], hive_partitioning = true)"
        rules = " AND ".join(_condition(rule) for rule in row_rules(TRADES))
        table = self.con.sql(
            "SELECT hash(trade_id) AS id, bucket::BIGINT AS bucket, account_id,"
            " coalesce(enum_code(try_cast(symbol AS symbols))::INTEGER, -1) AS symbol,"
            " side = 'buy' AS buy, quantity_shares, (price * 10000)::BIGINT AS price, financed,"
            f" epoch_us(event_at) AS event {scan} WHERE {rules}"
            f" AND {_VISIBLE} > {after} AND {_VISIBLE} <= {cut}"
        ).to_arrow_table()
        latest = self.con.execute(
            f"SELECT greatest(epoch_us(max(event_at)), epoch_us(max(known_at))) {scan}"
        ).fetchall()[0]
        got = {name: np.asarray(table[name]) for name in table.column_names if name != "account_id"}
        return NewFills(
            ids=got["id"],
            bucket=got["bucket"],
            account_ids=table["account_id"].combine_chunks(),
            symbol=got["symbol"].astype(np.int64),
            event=got["event"].astype(np.int64),
            buy=got["buy"].astype(bool),
            value=got["quantity_shares"].astype(np.int64) * got["price"],
            financed=got["financed"].astype(bool),
            more_to_come=latest[0] is not None and latest[0] > cut,
        )

    def accounts_of(self, files: Sequence[Path], ids: UInt64Array, cut: int) -> pa.Array:
        """Accounts that some trade numbers, by hash, named in versions visible at an instant."""
        self.con.register("wanted", pa.table({"id": ids}))
        table = self.con.sql(
            f"SELECT DISTINCT account_id FROM read_parquet([{_listed(files)}])"
            f" WHERE {_VISIBLE} <= {cut} AND hash(trade_id) IN (SELECT id FROM wanted)"
        ).to_arrow_table()
        return table["account_id"].combine_chunks()

    def _read(self, files: Sequence[Path], accounts: pa.Array, condition: str) -> Fills:
        self._enum("accounts", accounts)
        source = f"FROM read_parquet([{_listed(files)}]) WHERE {condition}"
        got: dict[str, Any] = self.con.execute(
            "SELECT hash(trade_id) AS id,"
            " coalesce(enum_code(try_cast(account_id AS accounts))::INTEGER, -1) AS account,"
            " coalesce(enum_code(try_cast(symbol AS symbols))::INTEGER, -1) AS symbol,"
            " side = 'buy' AS buy, quantity_shares, (price * 10000)::BIGINT AS price, financed,"
            f" epoch_us(event_at) AS event, epoch_us(known_at) AS known {source}"
        ).fetchnumpy()
        for name, column in (("account", "account_id"), ("symbol", "symbol")):
            wrong = got[name] < 0
            if wrong.any():
                answer = self.con.execute(
                    f"SELECT {column} {source} AND try_cast({column} AS {name}s) IS NULL LIMIT 1"
                ).fetchone()
                raise InputError(
                    f"trades.{column}: {answer[0] if answer else None!r} is not known;"
                    " run `gearline data check` on the lake"
                )
        ids = got["id"]
        known, event = got["known"].astype(np.int64), got["event"].astype(np.int64)
        visible = np.maximum(known, event)
        superseded = np.full(len(ids), np.iinfo(np.int64).max, dtype=np.int64)
        account = got["account"].astype(np.int64)
        shared = np.zeros(0, dtype=np.int64)
        ordered = np.sort(ids)
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if len(repeated):
            rows = np.flatnonzero(np.isin(ids, repeated))
            texts = self.con.execute(f"SELECT trade_id {source}").fetchnumpy()["trade_id"]
            words: npt.NDArray[np.str_] = np.asarray(texts[rows], dtype=np.str_)
            key = np.unique(words, return_inverse=True)[1].astype(np.int64)
            superseded[rows] = supersede(key, known[rows], visible[rows]).superseded_at
            named = np.unique(np.stack([key, account[rows]]), axis=1)
            several = np.bincount(named[0]) > 1
            shared = np.unique(named[1][several[named[0]]])
        return Fills(
            account=account,
            symbol=got["symbol"].astype(np.int64),
            event=event,
            buy=np.asarray(got["buy"], dtype=bool),
            value=got["quantity_shares"].astype(np.int64) * got["price"],
            financed=np.asarray(got["financed"], dtype=bool),
            ids=ids,
            visible=visible,
            superseded=superseded,
            shared=shared,
        )


def trade_files(root: Path, bucket: int) -> list[Path]:
    """The trade files of a bucket, in the order of their rows."""
    return table_files(root, "trades", bucket)


def name_codes(account: IntArray, symbol: IntArray, symbols: int) -> IntArray:
    """One integer for an account and a symbol."""
    return combine((account, 1), (symbol, max(symbols, 1)))
