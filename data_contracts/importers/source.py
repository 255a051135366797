"""Reading a price file: its columns, its dates, and its floats as exact integers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.units import NULL, BoolArray, IntArray

AnyFloats = npt.NDArray[np.floating[Any]]
DateArray = npt.NDArray[np.datetime64]

# A double that is a decimal of four places differs from it by far less; half a unit is far more.
_DECIMAL_TOLERANCE: Final = 1e-9
_LARGEST: Final = 2.0**62


def read_columns(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """The named columns of a Parquet or CSV file.

    Raises
    ------
    InputError
        If the file is missing, unreadable or empty, or a required column is not in it.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; name the price file to import")
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            have = list(pq.read_schema(path).names)
            wanted = _wanted(path, have, required, optional)
            table = pq.read_table(path, columns=wanted, partitioning=None)
        elif name.endswith((".csv", ".csv.gz")):
            text = pacsv.ConvertOptions(column_types={"symbol": pa.string()})
            table = pacsv.read_csv(path, convert_options=text)
            table = table.select(_wanted(path, list(table.column_names), required, optional))
        else:
            raise InputError(
                f"{path} is neither .parquet nor .csv nor .csv.gz; convert or rename it"
            )
    except (pa.ArrowException, OSError) as error:
        first = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"{path} cannot be read: {first}; export it again") from None
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows; export it again")
    return table.combine_chunks()


def _wanted(
    path: Path, have: list[str], required: Sequence[str], optional: Sequence[str]
) -> list[str]:
    for column in required:
        if column not in have:
            raise InputError(
                f"{path}: column {column!r} is missing; it has {', '.join(have)};"
                f" name its columns {', '.join(required)}"
            )
    return [*required, *(c for c in optional if c in have)]


def days(path: Path, table: pa.Table) -> DateArray:
    """The column ``date`` as datetime64[D]."""
    column = table["date"]
    rule = f"{path}: column 'date' holds dates like 2014-07-01 in every row"
    if column.null_count:
        raise InputError(f"{rule}; {column.null_count} are empty; fill them or leave the rows out")
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        raise InputError(f"{rule}; it has times with a zone, {kind}; write the market's dates")
    if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_string(kind)):
        raise InputError(f"{rule}; it is {kind}; write it so")
    try:
        return np.asarray(column.cast(pa.date32())).astype("datetime64[D]")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{rule}; {str(error).splitlines()[0]}; write it so") from None


def symbols(path: Path, table: pa.Table) -> tuple[list[str], IntArray]:
    """The distinct values of the column ``symbol`` and each row's position among them."""
    column = table["symbol"]
    if column.null_count:
        raise InputError(
            f"{path}: column 'symbol' names a security in every row; {column.null_count} are empty;"
            " fill them or leave the rows out"
        )
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.dictionary.to_pylist(), np.asarray(encoded.indices).astype(np.int64)


def floats(path: Path, table: pa.Table, name: str) -> AnyFloats:
    """A numeric column, float32 kept as float32, null as NaN."""
    column = table[name]
    kind = column.type
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False))
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        doubles = column.cast(pa.float64(), safe=False).combine_chunks()
        return np.asarray(doubles.to_numpy(zero_copy_only=False))
    raise InputError(f"{path}: column {name!r} holds numbers; it is {kind}; export it as numbers")


def flags(path: Path, table: pa.Table, name: str) -> BoolArray:
    """A column of true and false (or 1 and 0), without nulls."""
    column = table[name]
    kind = column.type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind)) or column.null_count:
        what = f"{column.null_count} are empty" if column.null_count else f"it is {kind}"
        rule = f"{path}: column {name!r} holds true or false in every row"
        raise InputError(f"{rule}; {what}; write it so")
    return np.asarray(pc.cast(column, pa.bool_())).astype(np.bool_)


def to_quanta(values: AnyFloats, places: int) -> tuple[IntArray, BoolArray]:
    """Floats as int64 multiples of ``10**-places``, and which of them are not exactly that.

    A value is exact if its decimal of ``places`` places reads back as the same number (a float32
    as the same float32, a double to within 1e-9), and the type's spacing there is at most a unit:
    a float32 above 2**24 cannot tell one share from the next. NaN becomes ``NULL``.

    >>> to_quanta(np.array([9.05, 9.00005]), 4)[0].tolist()
    [90500, 90000]
    """
    one = 10.0**places
    wide = values.astype(np.float64)
    given = np.isfinite(wide)
    quanta = np.full(len(wide), NULL, dtype=np.int64)
    inside = given & (np.abs(np.where(given, wide, 0.0)) * one < _LARGEST)
    quanta[inside] = np.rint(wide[inside] * one).astype(np.int64)
    inexact = np.zeros(len(wide), dtype=np.bool_)
    back = quanta[inside] / one
    if values.dtype == np.float32:
        same = back.astype(np.float32) == values[inside]
    else:
        near = np.maximum(_DECIMAL_TOLERANCE, np.spacing(np.abs(wide[inside])))
        same = np.abs(wide[inside] - back) <= near
    coarse = np.spacing(np.abs(values[inside])).astype(np.float64) * one > 1.0
    inexact[inside] = ~same | coarse
    return quanta, inexact


def half_even_div(numerator: IntArray, denominator: IntArray | int) -> IntArray:
    """Integer division of non-negative numbers, rounded half to even.

    >>> half_even_div(np.array([5, 15, 16]), 10).tolist()
    [0, 2, 2]
    """
    quotient, rest = np.divmod(numerator, denominator)
    over = np.asarray(denominator) - rest
    up = (rest > over) | ((rest == over) & (quotient % 2 == 1))
    result: IntArray = quotient + up
    return result
