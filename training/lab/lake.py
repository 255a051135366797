"""Write a simulated book as a lake: the market's tables as they are, the clients' in buckets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from data_contracts.columns import TABLES
from data_contracts.errors import InputError
from data_contracts.lake import (
    LakeInfo,
    bucket_of,
    create_lake,
    lake_info,
    table_files,
    write_bucketed,
    write_parquet,
    write_shared,
)
from features.panel import PricePanel
from training.lab.simulate import LabBook

MARKET_TABLES: Final = ("bars", "instruments", "sessions", "rates", "security_financing")


def write_lake(
    book: LabBook, panel: PricePanel, source_market: Path, out: Path, *, buckets: int
) -> dict[str, int]:
    """Write a book beside a copy of its market; returns the rows of each table written.

    The hidden truth goes to ``OUT/truth/clients.parquet``, which is no contract table.

    Raises
    ------
    InputError
        If ``source_market`` is no lake, is ``out`` itself, or holds another market.
    """
    info = lake_info(source_market)
    if out.resolve() == source_market.resolve():
        raise InputError(f"{out} is the market itself; write the lake into another folder")
    if info.mic != panel.mic:
        raise InputError(f"{source_market} is market {info.mic}, the book lives on {panel.mic}")
    create_lake(
        out, LakeInfo(info.currency, info.mic, buckets, f"{book.source}; {info.source}", info.flags)
    )
    written: dict[str, int] = {}
    for name in MARKET_TABLES:
        if not (source_market / name).is_dir():
            continue
        for path in table_files(source_market, name):
            target = out / path.relative_to(source_market)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    bucket_of_client = np.array(
        [bucket_of(c, g, buckets) for c, g in zip(book.client_ids, book.group_ids, strict=True)],
        dtype=np.int64,
    )
    for name, columns in book.tables.items():
        # of a lake of more buckets that was here, none may stay
        shutil.rmtree(out / name, ignore_errors=True)
        if TABLES[name].bucketed:
            rows = bucket_of_client[book.row_client[name]]
            written[name] = write_bucketed(out, name, columns, rows, buckets)
        else:
            written[name] = write_shared(out, name, columns)
    write_parquet(out / "truth" / "clients.parquet", pa.table(book.truth))
    return written
