"""What gate, monitors and report need of a segment's cases, as columns.

The cases lie in a segment as JSON, because that is what was hashed and is decided on again. Here
they are parsed in one go into the columns that are asked for, without an object a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int
from data_contracts.units import NULL, IntArray
from models.decide.cases import MARGIN_STATES
from serving.nightly.segments import INPUTS_FILE

_LOT: Final = pa.struct([("quantity_shares", pa.int64()), ("symbol", pa.string())])
_CASE: Final = pa.schema(
    [
        ("status", pa.struct([("margin_state", pa.string())])),
        ("previous", pa.struct([("sessions_since", pa.int64()), ("soft_cap_amt", pa.string())])),
        ("book", pa.struct([("positions", pa.list_(_LOT))])),
    ]
)
"""What is read of a case; the rest is passed over."""
_MONEY: Final = pa.decimal128(38, 2)
LEAST_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class CaseParts:
    """N cases of one segment.

    Attributes
    ----------
    margin_state : position in ``MARGIN_STATES``
    last_soft, since : soft limit of the last decision in minor units, ``NULL`` without one, and
        the sessions since then, 0 without one
    lot_client, lot_symbol, lot_shares : one row a holding; ``lot_symbol`` counts in ``symbols``
    features : int64, shape (N, K), quantised
    """

    margin_state: IntArray
    last_soft: IntArray
    since: IntArray
    lot_client: IntArray
    lot_symbol: IntArray
    lot_shares: IntArray
    symbols: tuple[str, ...]
    features: IntArray


def matrix(column: pa.ChunkedArray | pa.Array, width: int) -> IntArray:
    """A fixed-size list of integers as an array, ``NULL`` for null."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = flat.flatten() if len(flat) else pa.array([], pa.int64())
    if values.null_count:
        values = values.fill_null(NULL)
    return np.asarray(values, dtype=np.int64).reshape(-1, width)


def read_cases(folder: Path, width: int) -> CaseParts:
    """The cases and features of one segment, ``width`` features a client.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    path = folder / INPUTS_FILE
    if not path.is_file():
        raise InputError(f"the inputs {path} are missing; restore them from a backup")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(columns=["case", "features"])
        features = matrix(table["features"], width)
        return _parsed(table["case"], features)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError, OSError) as error:
        raise InputError(f"the inputs {path} are damaged: {error}; restore them") from None


def _parsed(column: pa.ChunkedArray, features: IntArray) -> CaseParts:
    if len(column) == 0:
        none = np.zeros(0, dtype=np.int64)
        return CaseParts(none, none, none, none, none, none, (), features)
    # canonical JSON has no line break, so that a line is a case
    text = b"\n".join(column.to_pylist())
    table = pj.read_json(
        pa.BufferReader(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=max(len(text), LEAST_BLOCK)),
        parse_options=pj.ParseOptions(explicit_schema=_CASE, unexpected_field_behavior="ignore"),
    )
    if table.num_rows != len(column):
        raise ValueError(f"{len(column)} cases are {table.num_rows} lines")
    status, previous, book = (table[name].combine_chunks() for name in _CASE.names)
    state = pc.index_in(pc.struct_field(status, "margin_state"), pa.array(MARGIN_STATES))
    if state.null_count:
        raise ValueError("a case states no known margin_state")
    soft = pc.struct_field(previous, "soft_cap_amt").cast(_MONEY)
    since = pc.struct_field(previous, "sessions_since").fill_null(0)
    lots = pc.struct_field(book, "positions")
    if lots.null_count:
        raise ValueError("a case has no positions")
    flat = pc.list_flatten(lots)
    symbol = pc.struct_field(flat, "symbol").dictionary_encode()
    return CaseParts(
        margin_state=np.asarray(state).astype(np.int64),
        last_soft=decimal_to_int(soft),
        since=np.asarray(since, dtype=np.int64),
        lot_client=np.asarray(pc.list_parent_indices(lots)).astype(np.int64),
        lot_symbol=np.asarray(symbol.indices).astype(np.int64),
        lot_shares=np.asarray(pc.struct_field(flat, "quantity_shares"), dtype=np.int64),
        symbols=tuple(symbol.dictionary.to_pylist()),
        features=features,
    )
