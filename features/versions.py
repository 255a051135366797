"""Which version of a row counts at an instant.

A row is visible from ``visible_at = max(event_at, known_at)``. Of the visible versions of a key the
one with the greatest ``known_at`` counts, later rows winning ties. So a row counts during one
interval of time, from ``visible_at`` until the first instant at which a later version is visible;
both ends are worked out once at loading, and an as-of is then two comparisons a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, IntArray

NEVER: Final = int(np.iinfo(np.int64).max)
"""``superseded_at`` of a row that nothing supersedes."""
UNKNOWN: Final = -2
"""The code of a word that is not among the names."""


@dataclass(frozen=True)
class Versions:
    """The interval during which each row counts, in microseconds since 1970 UTC.

    Attributes
    ----------
    visible_at : first instant at which the row is known and has happened
    superseded_at : first instant at which a later version of its key counts instead
    """

    visible_at: IntArray
    superseded_at: IntArray

    def current(self, cut: int, rows: slice = slice(None)) -> BoolArray:
        """Which of the rows count at an instant."""
        return (self.visible_at[rows] <= cut) & (self.superseded_at[rows] > cut)

    def take(self, rows: IntArray) -> Versions:
        """The versions of some of the rows."""
        return Versions(self.visible_at[rows], self.superseded_at[rows])


def timestamps(column: pa.ChunkedArray) -> IntArray:
    """A timestamp column in microseconds since 1970 UTC; null becomes ``NEVER``."""
    return whole_numbers(column, NEVER)


def whole_numbers(column: pa.ChunkedArray, empty: int) -> IntArray:
    """A column that casts to int64, ``empty`` where it is null; not to be written to."""
    numbers = column.cast(pa.int64()).combine_chunks()
    if numbers.null_count:
        numbers = numbers.fill_null(empty)
    out: IntArray = np.asarray(numbers)
    return out


def find_versions(table: pa.Table, key: IntArray) -> Versions:
    """When each row of a table counts, given an integer that stands for its key."""
    known = timestamps(table["known_at"])
    return supersede(key, known, np.maximum(known, timestamps(table["event_at"])))


def supersede(key: IntArray, known_at: IntArray, visible_at: IntArray) -> Versions:
    """When each row counts: the smallest ``visible_at`` of its key's later versions ends it.

    >>> supersede(np.array([7, 7]), np.array([10, 20]), np.array([10, 20])).superseded_at[0]
    np.int64(20)
    """
    superseded = np.full(len(key), NEVER, dtype=np.int64)
    ordered = key
    if not bool(np.all(key[1:] >= key[:-1])):
        ordered = np.sort(key)  # of the keys alone: most tables repeat few or none
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        rows = np.flatnonzero(_among(key, repeated))
        # stable, so equal known_at keep the order of arrival
        rows = rows[np.lexsort((known_at[rows], key[rows]))]
        group = np.cumsum(np.r_[True, key[rows][1:] != key[rows][:-1]])
        instants, rank = np.unique(visible_at[rows], return_inverse=True)
        # From right to left the groups fall, so one running minimum starts afresh in each group.
        combined = group * np.int64(len(instants)) + rank
        smallest = np.minimum.accumulate(combined[::-1])[::-1]
        has_later = np.flatnonzero(group[1:] == group[:-1])
        later = smallest[has_later + 1] - group[has_later] * np.int64(len(instants))
        superseded[rows[has_later]] = instants[later]
    return Versions(visible_at, superseded)


def _among(key: IntArray, some: IntArray) -> BoolArray:
    """Which keys are among some, given ascending."""
    place = np.minimum(np.searchsorted(some, key), len(some) - 1)
    found: BoolArray = some[place] == key
    return found


def final_rows(key: IntArray, known_at: IntArray) -> IntArray:
    """For each row the last version of its key."""
    ordered = np.sort(key)
    if not bool(np.any(ordered[1:] == ordered[:-1])):
        return np.arange(len(key))
    order = np.lexsort((known_at, key))
    ordered = key[order]
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], np.ones(min(len(key), 1), bool)])
    group = np.cumsum(np.r_[np.zeros(min(len(key), 1), bool), ordered[1:] != ordered[:-1]])
    out = np.empty(len(key), dtype=np.int64)
    out[order] = order[last][group]
    return out


def encode(column: pa.ChunkedArray, names: pa.Array, what: str) -> IntArray:
    """Position of each value in ``names``; null becomes -1. The column may be coded.

    Raises
    ------
    InputError
        If a value is not among the names.
    """
    if pa.types.is_dictionary(column.type):
        whole = column.combine_chunks()  # a filter may have left words that no row has
        place = pc.index_in(whole.dictionary, value_set=names)
        codes = np.append(np.asarray(place.fill_null(UNKNOWN)), -1).astype(np.int64)
        out: IntArray = codes[np.asarray(whole.indices.fill_null(-1))]
        if bool(np.any(out == UNKNOWN)):
            first = whole[int(np.flatnonzero(out == UNKNOWN)[0])].as_py()
            raise _not_known(what, first)
        return out
    found = pc.index_in(column, value_set=names)
    unknown = pc.and_(pc.is_null(found), pc.is_valid(column))
    if pc.any(unknown).as_py():
        raise _not_known(what, column.filter(unknown)[0].as_py())
    return np.asarray(found.fill_null(-1)).astype(np.int64)


def _not_known(what: str, value: str) -> InputError:
    return InputError(f"{what}: {value!r} is not known; run `gearline data check` on the lake")


def combine(*codes: tuple[IntArray, int]) -> IntArray:
    """One integer for several codes, each given with the number of its values."""
    out = np.zeros(len(codes[0][0]), dtype=np.int64)
    for values, count in codes:
        out = out * np.int64(count) + values
    return out
