"""Any labelled CSV or Parquet as columns: numbers as float64, everything else as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from data_contracts.units import FloatArray
from training.table_encode import Encoder

PARQUET: Final = (".parquet", ".pq")


def read_any(path: Path) -> pa.Table:
    """A CSV (also .gz) or Parquet file.

    Raises
    ------
    InputError
        If the file cannot be read as what its name says, has no row, or names a column twice.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name one CSV or Parquet file")
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path")
    try:
        if path.suffix.lower() in PARQUET:
            table = pq.read_table(path, partitioning=None)
        else:
            table = pa.csv.read_csv(path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError) as error:
        kind = "Parquet" if path.suffix.lower() in PARQUET else "CSV with a header"
        raise InputError(f"{path} cannot be read as {kind}: {error}") from None
    names = table.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"{path} has two columns named {twice[0]!r}; rename one")
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows")
    return table


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers; a column without any value counts as one."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def numbers(table: pa.Table, name: str) -> FloatArray:
    """A column as float64, NaN for missing.

    Raises
    ------
    InputError
        If it holds text or dates.
    """
    column = table[name]
    if not is_number(column.type):
        raise InputError(
            f"column {name!r} holds {column.type}, where the model has numbers; correct the column"
        )
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    cast = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(cast.to_numpy(zero_copy_only=False), dtype=np.float64)


def objects(table: pa.Table, name: str) -> list[Any]:
    """A column's values as Python objects, None for missing."""
    values: list[Any] = table[name].to_pylist()
    return values


def matrix(table: pa.Table, encoder: Encoder, path: Path) -> FloatArray:
    """The features of a model, (N, features), categories as positions of their levels.

    Raises
    ------
    InputError
        If the table lacks a column, or one holds another kind of value.
    """
    lacking = [f.name for f in encoder.features if f.name not in table.column_names]
    if lacking:
        some = ", ".join(map(repr, lacking[:3])) + (" and more" if len(lacking) > 3 else "")
        raise InputError(f"{path} lacks {some}, which the model reads")
    columns = [
        numbers(table, f.name) if f.levels is None else f.positions(objects(table, f.name))
        for f in encoder.features
    ]
    return np.column_stack(columns)


def write_columns(path: Path, names: Sequence[str], columns: Sequence[Any]) -> None:
    """Write columns as Parquet or CSV, by the file's name, whole or not at all."""
    table = pa.table([pa.array(c) for c in columns], names=list(names))
    sink = pa.BufferOutputStream()
    if path.suffix.lower() in PARQUET:
        pq.write_table(table, sink)
    else:
        pa.csv.write_csv(table, sink)
    write_atomically(path, sink.getvalue().to_pybytes())
