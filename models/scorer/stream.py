"""Score a Parquet file into a Parquet file, a block at a time, in constant memory.

Log-odds and attributions are written as float64: multiples of 2**-40 below 2**13 are held exactly,
so the file's parts add up exactly too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL
from models.scorer.floats import FloatTables
from models.scorer.tables import AdditiveTables

ROWS_A_BLOCK: Final = 1 << 15


def _matrix(batch: pa.RecordBatch, columns: Sequence[str], floats: bool) -> Any:
    """The named columns as rows: float64 with NaN, or int64 with NULL, for null."""
    missing = np.nan if floats else NULL
    kind = pa.float64() if floats else pa.int64()
    values = np.empty((batch.num_rows, len(columns)), dtype=np.float64 if floats else np.int64)
    for k, name in enumerate(columns):
        try:
            column = batch.column(name).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"column {name!r} cannot be read as {kind}: {error}") from None
        values[:, k] = column.fill_null(missing).to_numpy(zero_copy_only=False)
    return values


def score_parquet(
    scorer: AdditiveTables | FloatTables,
    columns: Sequence[str],
    source: Path,
    target: Path,
    *,
    explain: bool = True,
    threads: int | None = None,
) -> int:
    """Write ``row, log_odds`` and, with ``explain``, ``phi:base, phi:<column>``; returns the rows.

    ``columns`` are the source's columns in the order of the scorer's features.
    """
    floats = isinstance(scorer, FloatTables)
    n_features = scorer.front.n_features if isinstance(scorer, FloatTables) else scorer.n_features
    if len(columns) != n_features:
        raise InputError(f"{len(columns)} columns were named; the scorer reads {n_features}")
    names = ["row", "log_odds", *(["phi:base", *(f"phi:{c}" for c in columns)] if explain else [])]
    schema = pa.schema([(n, pa.int64() if n == "row" else pa.float64()) for n in names])
    done = 0
    with pq.ParquetFile(source) as reader:
        absent = [c for c in columns if c not in reader.schema_arrow.names]
        if absent:
            raise InputError(f"{source} has no column {absent[0]!r}")
        with pq.ParquetWriter(target, schema) as writer:
            for batch in reader.iter_batches(ROWS_A_BLOCK, columns=list(columns)):
                values = _matrix(batch, columns, floats)
                n = len(values)
                rows: list[Any] = [np.arange(done, done + n)]
                if explain:
                    score, phi = scorer.score_and_attributions(values, threads=threads)
                    rows += [score / LOG_ODDS_ONE]
                    rows += [np.full(n, scorer.base_attribution / LOG_ODDS_ONE)]
                    rows += list(np.ascontiguousarray(phi.T) / LOG_ODDS_ONE)
                else:
                    rows += [scorer.score(values, threads=threads) / LOG_ODDS_ONE]
                writer.write_batch(pa.record_batch([pa.array(r) for r in rows], schema=schema))
                done += n
    return done
