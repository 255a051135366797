"""The bundled sample market: 20 US stocks and the S&P 500, closes of 1990 to 2022."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.importers.daily import VALUES, sorted_daily
from data_contracts.importers.formats import us_security
from data_contracts.importers.market import CLOSES_ONLY, existing_market, write_market
from data_contracts.importers.raw import Read
from data_contracts.importers.report import ImportReport
from data_contracts.units import NULL

SAMPLE_FILE: Final = Path(__file__).parent.parent / "sample" / "us_closes_1990_2022.parquet"
SAMPLE_SHA256: Final = "f97430c1988c17f024fd9bf8dca212c73cb8daba51a412cb53f8b0d8907d14ea"
"""SHA-256 of the sample file; ``scripts/make_sample_market.py`` makes it again."""


def write_sample_market(out: Path) -> ImportReport:
    """Write the sample market into a new folder, or over the sample market that is there.

    Its closes are adjusted for splits and dividends and its securities are survivors picked with
    hindsight: no level of default may be quoted from it.
    """
    existing_market(out, "sample")
    if not SAMPLE_FILE.is_file():
        raise InputError(f"{SAMPLE_FILE} is missing; install Gearline again")
    return write_market(
        out, "sample", CLOSES_ONLY, [read_sample()], f"sample: {SAMPLE_FILE.name}", merge_into=False
    )


def read_sample(path: Path = SAMPLE_FILE) -> Read:
    """The sample file in daily form: a column of dates, a column of 0.0001 for each symbol."""
    table = pq.read_table(path)
    sessions = np.asarray(table["date"]).astype("datetime64[D]")
    names = table.column_names[1:]
    close = np.concatenate([np.asarray(table[name]).astype(np.int64) for name in names])
    rows = len(close)
    values = {name: np.full(rows, NULL, dtype=np.int64) for name in VALUES}
    values["close"] = close
    for flag in ("suspended", "is_special_treatment"):
        values[flag] = np.zeros(rows, dtype=np.int64)
    code = np.repeat(np.arange(len(names)), len(sessions))
    securities = [us_security(name) for name in names]
    daily, _ = sorted_daily(securities, code, np.tile(sessions, len(names)), values)
    return Read(daily, sessions, Counter({"close": 0}), Counter())


def sample_table(dates: pa.Array, closes: dict[str, pa.Array]) -> pa.Table:
    """The sample file's table: ``date``, then each symbol's closes in 0.0001 as int32."""
    fields = [pa.field("date", pa.date32(), nullable=False)]
    fields += [pa.field(name, pa.int32(), nullable=False) for name in closes]
    schema = pa.schema(fields, metadata={"unit": "0.0001 USD, split- and dividend-adjusted"})
    return pa.Table.from_arrays([dates, *closes.values()], schema=schema)


def write_sample_file(path: Path, table: pa.Table) -> None:
    """Write the sample file with fixed settings; differences of neighbours compress best."""
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding=dict.fromkeys(table.column_names, "DELTA_BINARY_PACKED"),
        store_schema=False,
    )
