"""Delivered columns as the declared types, exactly; what cannot be is counted or named.

Text goes through a strict pattern and one vector cast. Values outside the pattern are converted
one by one, each different value once, without a float in between.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column, Table
from data_contracts.errors import InputError
from data_contracts.units import MAX_DIGITS

PLACES: Final = {"money": 2, "price": 4, "ratio": 6}
DECIMAL_DIGITS: Final = 18
_WHOLE: Final = {"shares": 64, "int": 64, "bps": 32}
_TRUE: Final = {"true", "t", "1", "yes", "y", "是"}
_FALSE: Final = {"false", "f", "0", "no", "n", "否"}
_DATE: Final = re.compile(r"(\d{4})[-/.]?(\d\d)[-/.]?(\d\d)(?:[ T]00:00(?::00(?:\.0+)?)?)?")
_FRACTION: Final = re.compile(r"\.(\d{6})(\d+)")
Value = tuple[Any, bool]
"""A converted value and whether it is what was written, to the last digit."""


class _WrongValueError(Exception):
    """Why a value cannot be read."""


@dataclass(frozen=True)
class Unreadable:
    """A row that was set aside: its place in the source, the value at fault, the row as JSON."""

    row: int
    column: str
    value: str
    why: str
    line: str


@dataclass(frozen=True)
class Made:
    """The rows that could be read, the others, and rounded values by column."""

    table: pa.Table
    unreadable: list[Unreadable]
    inexact: dict[str, int]


class Converter:
    """Converts batches of a source to the columns of a contract table."""

    def __init__(
        self, spec: Table, columns: dict[str, str], zone: str | None, known_at: str | None
    ) -> None:
        self.spec, self.columns = spec, columns
        try:
            self.zone = None if zone is None else ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise InputError(f"--zone {zone!r} is unknown; write one like Asia/Shanghai") from None
        self.known_at: Any = None
        if known_at is not None:
            try:
                self.known_at = self._time(known_at)[0]
            except _WrongValueError as wrong:
                raise InputError(
                    f"--known-at {known_at!r} is {wrong}; write 2024-01-02T18:00:00+08:00"
                ) from None

    def __call__(self, batch: pa.Table, start: int) -> Made:
        """Convert a batch whose first row is row ``start`` of the source."""
        made: dict[str, pa.Array] = {}
        faults: dict[int, tuple[str, str, str]] = {}
        inexact: dict[str, pa.Array] = {}
        for column in self.spec.columns:
            theirs = self.columns.get(column.name)
            if theirs is None:
                continue
            array = batch[theirs].combine_chunks()
            made[column.name], rounded, wrong = self._convert(column, array)
            if rounded is not None:
                inexact[column.name] = rounded
            for row, value, why in wrong:
                faults.setdefault(row, (theirs, value, why))
        rows = batch.num_rows
        for column in self.spec.columns:
            if column.name not in made:
                made[column.name] = self._derived(column, made, rows)
        keep = np.ones(rows, dtype=bool)
        keep[list(faults)] = False
        mask = pa.array(keep)
        schema = pa.schema([pa.field(c.name, c.arrow_type) for c in self.spec.columns])
        table = pa.Table.from_arrays([made[c.name] for c in self.spec.columns], schema=schema)
        return Made(
            table.filter(mask),
            [
                Unreadable(start + row, *fault, _line(batch, row))
                for row, fault in sorted(faults.items())
            ],
            {name: int(np.sum(np.asarray(where) & keep)) for name, where in inexact.items()},
        )

    def _derived(self, column: Column, made: dict[str, pa.Array], rows: int) -> pa.Array:
        if column.name == "event_at":
            return made[self.spec.event]
        value = self.known_at if column.name == "known_at" else None
        return pa.array([value] * rows, type=column.arrow_type)

    def _convert(
        self, column: Column, array: pa.Array
    ) -> tuple[pa.Array, pa.Array | None, list[tuple[int, str, str]]]:
        """The converted array, where it was rounded, and the rows that cannot be read."""
        if array.type == column.arrow_type:
            return array, None, []
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_floating(array.type):
            array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
        if pa.types.is_timestamp(array.type) and array.type.tz is not None:
            if column.kind == "timestamp" and array.type.unit != "ns":
                return array.cast(column.arrow_type), None, []
            array = pc.strftime(array.cast(pa.timestamp("ns", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
        if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
            return array.cast(column.arrow_type), None, []
        text = array.cast(pa.string())
        if column.kind in ("id", "text"):
            return text, None, []
        pattern = _PATTERNS.get(column.kind)
        if pattern is not None:
            plain = pc.match_substring_regex(text, pattern)
            if pc.all(plain).as_py() is not False:
                try:
                    return text.cast(column.arrow_type), None, []
                except pa.ArrowInvalid:
                    pass  # a date such as 2024-02-30
        return self._one_by_one(column, text)

    def _one_by_one(
        self, column: Column, text: pa.Array
    ) -> tuple[pa.Array, pa.Array, list[tuple[int, str, str]]]:
        encoded = text.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        one: Callable[[str], Value] = self._reader(column)
        values: list[Any] = []
        exact: list[bool] = []
        why: dict[int, str] = {}
        for k, word in enumerate(words):
            try:
                value, true = one(word.strip()) if word.strip() else (None, True)
            except _WrongValueError as wrong:
                value, true = None, True
                why[k] = str(wrong)
            values.append(value)
            exact.append(true)
        values.append(None)
        exact.append(True)
        index = pc.fill_null(encoded.indices, len(words))
        made = pa.array(values, type=column.arrow_type).take(index)
        rounded = pc.invert(pa.array(exact).take(index))
        if not why:
            return made, rounded, []
        bad = np.isin(np.asarray(index), list(why))
        rows = np.flatnonzero(bad).tolist()
        places = np.asarray(index)[bad].tolist()
        wrong_rows = [(row, words[k], why[k]) for row, k in zip(rows, places, strict=True)]
        return made, rounded, wrong_rows

    def _reader(self, column: Column) -> Callable[[str], Value]:
        kind = column.kind
        if kind in PLACES:
            return lambda text: _decimal(text, PLACES[kind], DECIMAL_DIGITS)
        if kind in _WHOLE:
            return lambda text: _integer(text, _WHOLE[kind])
        return {"date": _date, "timestamp": self._time, "flag": _flag, "bytes": _bytes}[kind]

    def _time(self, text: str) -> Value:
        cut = _FRACTION.search(text)
        exact = cut is None or not cut[2].strip("0")
        if cut is not None:
            text = text[: cut.start(2)] + text[cut.end(2) :]
        text = re.sub(r"([+-]\d\d)$", r"\1:00", text)
        try:
            found = dt.datetime.fromisoformat(text)
        except ValueError:
            raise _WrongValueError("no time like 2024-01-02T15:00:00+08:00") from None
        if found.tzinfo is None:
            if self.zone is None:
                raise _WrongValueError("a time without a zone; add it or write --zone")
            found = self._local(found, self.zone)
        return found.astimezone(dt.UTC), exact

    @staticmethod
    def _local(found: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        first, second = (found.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        if first.utcoffset() != second.utcoffset():
            raise _WrongValueError(f"a time that {zone.key} has twice or never; write its offset")
        return first


_PATTERNS: Final = {
    "money": r"^-?\d{1,16}(\.\d{1,2})?$",
    "price": r"^-?\d{1,14}(\.\d{1,4})?$",
    "ratio": r"^-?\d{1,12}(\.\d{1,6})?$",
    "shares": r"^-?\d{1,18}$",
    "int": r"^-?\d{1,18}$",
    "bps": r"^-?\d{1,9}$",
    "date": r"^\d{4}-\d\d-\d\d$",
    "flag": r"^(true|false)$",
}


def _line(batch: pa.Table, row: int) -> str:
    [record] = batch.slice(row, 1).to_pylist()
    return orjson.dumps({k: None if v is None else str(v) for k, v in record.items()}).decode()


def _decimal(text: str, places: int, digits: int) -> Value:
    if len(text) > MAX_DIGITS:
        raise _WrongValueError(f"longer than {MAX_DIGITS} characters")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _WrongValueError("no decimal number like 1234.50") from None
    if not number.is_finite() or number.adjusted() >= digits:
        raise _WrongValueError(f"not finite or above {digits - places} digits before the point")
    with localcontext(prec=2 * MAX_DIGITS):
        rounded = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    if rounded.adjusted() >= digits - places:
        raise _WrongValueError(f"above {digits - places} digits before the point")
    return rounded, rounded == number


def _integer(text: str, bits: int) -> Value:
    number, exact = _decimal(text, 0, 19)
    whole = int(number)
    if not -(2 ** (bits - 1)) <= whole < 2 ** (bits - 1):
        raise _WrongValueError(f"beyond an integer of {bits} bits")
    return whole, exact


def _date(text: str) -> Value:
    found = _DATE.fullmatch(text)
    if found is None:
        raise _WrongValueError("no date like 2024-01-02")
    try:
        return dt.date(*(int(part) for part in found.groups())), True
    except ValueError:
        raise _WrongValueError("no day of the calendar") from None


def _flag(text: str) -> Value:
    if text.lower() in _TRUE:
        return True, True
    if text.lower() in _FALSE:
        return False, True
    raise _WrongValueError("neither true nor false")


def _bytes(text: str) -> Value:
    try:
        return bytes.fromhex(text.removeprefix("\\x")), True
    except ValueError:
        raise _WrongValueError("no bytes in hexadecimal") from None
