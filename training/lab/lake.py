"""Write a simulated book as a lake: the market's tables as they are, the clients' in buckets."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import TABLES
from data_contracts.errors import InputError
from data_contracts.lake import (
    LakeInfo,
    bucket_of,
    create_lake,
    decimal_array,
    decimal_to_int,
    lake_info,
    read_table,
    table_files,
    write_bucketed,
    write_parquet,
    write_shared,
)
from data_contracts.units import IntArray
from features.panel import PricePanel
from training.lab.simulate import LabBook, threads_or_all
from training.lab.tables import firm_state

MARKET_TABLES: Final = ("bars", "instruments", "sessions", "rates", "security_financing")
CLIENTS_A_BUCKET: Final = 5000
IMPACT: Final = "impact"
"""The lake flag that the book's own forced sales moved the prices."""


def buckets_for(clients: int) -> int:
    """How many buckets a lake of so many clients has."""
    return min(256, max(4, clients // CLIENTS_A_BUCKET))


class LakeWriter:
    """Writes a book block by block beside a copy of its market; memory is that of one block.

    The hidden truth goes to ``OUT/truth``, which is no contract table. ``moved`` is the window, as
    positions in ``panel``, over which the panel's prices are not the market's: the bars then carry
    the panel's and end with the window. With ``going_on`` the blocks that an earlier writer of the
    same book added stay; ``count`` tells of each.

    Raises
    ------
    InputError
        If ``source_market`` is no lake, is ``out`` itself, or holds another market.
    """

    def __init__(
        self,
        panel: PricePanel,
        source_market: Path,
        out: Path,
        *,
        buckets: int,
        source: str,
        moved: tuple[int, int] | None = None,
        going_on: bool = False,
    ) -> None:
        info = lake_info(source_market)
        if out.resolve() == source_market.resolve():
            raise InputError(f"{out} is the market itself; write the lake into another folder")
        if info.mic != panel.mic:
            raise InputError(f"{source_market} is market {info.mic}, the book lives on {panel.mic}")
        described = f"{source}; {info.source}"
        flags = info.flags if moved is None else (*info.flags, IMPACT)
        create_lake(out, LakeInfo(info.currency, info.mic, buckets, described, flags))
        self.panel, self.out, self.buckets = panel, out, buckets
        self.rows: dict[str, int] = {}
        self._part = self._clients = 0
        self._drawn: IntArray | None = None
        self._window = (0, 0)
        for name in (*TABLES, "truth") if not going_on else ():
            shutil.rmtree(out / name, ignore_errors=True)  # parts of an earlier, larger book
        for name in MARKET_TABLES:
            if not (source_market / name).is_dir():
                continue
            for path in table_files(source_market, name):
                target = out / path.relative_to(source_market)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        if moved is not None:
            shutil.rmtree(out / "bars")
            write_parquet(out / "bars" / "part-0.parquet", _moved_bars(source_market, panel, moved))

    def add(self, book: LabBook, threads: int | None = None) -> None:
        """Write the tables of a block of clients, the largest first."""
        bucket_of_client = np.array(
            [
                bucket_of(c, g, self.buckets)
                for c, g in zip(book.client_ids, book.group_ids, strict=True)
            ],
            dtype=np.int64,
        )

        def write(name: str) -> int:
            columns = book.tables[name]
            rows = bucket_of_client[book.row_client[name]]
            return write_bucketed(self.out, name, columns, rows, self.buckets, part=self._part)

        names = [n for n in book.tables if TABLES[n].bucketed]
        with ThreadPoolExecutor(max_workers=threads_or_all(threads)) as pool:
            order = sorted(names, key=lambda n: -len(book.row_client[n]))
            truth = pool.submit(self._write_truth, book)
            written = dict(zip(order, pool.map(write, order), strict=True))
            truth.result()
        for name in names:
            self.rows[name] = self.rows.get(name, 0) + written[name]
        drawn = np.asarray(book.tables["firm_state"]["drawn_amt"])
        self.count(drawn, len(book.client_ids), (book.first, book.last))

    def count(self, drawn: IntArray, clients: int, window: tuple[int, int]) -> None:
        """Take a block whose tables are written into what only the whole book knows.

        ``drawn`` is its debt by session, minor units, ``window`` its sessions in the panel.
        """
        self._drawn = drawn if self._drawn is None else self._drawn + drawn
        self._part += 1
        self._clients += clients
        self._window = window

    def _write_truth(self, book: LabBook) -> None:
        """What no lender sees: traits and habits, and the engine's own count of assets."""
        folder = self.out / "truth"
        write_parquet(folder / f"clients-{self._part}.parquet", pa.table(book.truth))
        amounts = decimal_array(np.asarray(book.assets["assets_amt"]), 2)
        assets = pa.table({**book.assets, "assets_amt": amounts})
        write_parquet(folder / f"assets-{self._part}.parquet", assets)

    def abandon(self) -> None:
        """Take back what was written of an unfinished book, so that nobody takes it for a whole."""
        for name in (*TABLES, "truth"):
            shutil.rmtree(self.out / name, ignore_errors=True)
        (self.out / "lake.json").unlink(missing_ok=True)
        if self.out.is_dir() and not any(self.out.iterdir()):
            self.out.rmdir()

    def finish(self) -> dict[str, int]:
        """Write what only the whole book knows; returns the rows of each table written."""
        if self._drawn is None:
            raise ValueError("nothing was added")
        state = firm_state(self.panel, *self._window, self._drawn, self._clients)
        self.rows["firm_state"] = write_shared(self.out, "firm_state", state)
        return self.rows


def _moved_bars(market: Path, panel: PricePanel, window: tuple[int, int]) -> pa.Table:
    """The market's bars with the panel's close and reference price inside the window.

    Other prices of the window are null, and bars after it are left out: they would jump back.
    """
    first, last = window
    bars = read_table(market, "bars")
    row = np.searchsorted(panel.sessions, np.asarray(bars["session"]).astype("datetime64[D]"))
    kept = row <= last
    bars, row = bars.filter(pa.array(kept)), row[kept]
    code = pc.index_in(bars["symbol"], value_set=pa.array(panel.symbols)).fill_null(-1)
    name = np.asarray(code).astype(np.int64)
    own = (name >= 0) & (row >= first)
    for column, block in (("close", panel.close), ("pre_close", panel.pre_close)):
        place = bars.schema.get_field_index(column)
        values = decimal_to_int(bars[column])
        values[own] = block[row[own], name[own]]
        bars = bars.set_column(place, bars.schema.field(place), decimal_array(values, 4))
    for column in ("open", "high", "low", "turnover_amt"):
        place = bars.schema.get_field_index(column)
        known = pc.if_else(pa.array(own), None, bars[column])
        bars = bars.set_column(place, bars.schema.field(place), known)
    return bars


def write_lake(
    book: LabBook, panel: PricePanel, source_market: Path, out: Path, *, buckets: int
) -> dict[str, int]:
    """Write a whole book at once; see :class:`LakeWriter`."""
    source = f"{book.source}, {len(book.client_ids)} clients"
    writer = LakeWriter(panel, source_market, out, buckets=buckets, source=source)
    writer.add(book)
    return writer.finish()
