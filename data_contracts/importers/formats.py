"""The formats: each reads a file into the daily form and counts what it could not keep.

``ashare-daily``
    ``symbol`` (sh600000, sz000001, bj430047), ``date, open, high, low, close, pre_close, volume,
    amount, float_shares, limit_pct, is_st`` and, if there, ``adj_factor``. Raw prices in yuan;
    ``pre_close`` is the exchange's reference price. A file holds every security that traded on its
    sessions: a session without a row, between a security's first and last, is a suspension. The
    listing date is the first row's where that is later than the file's first session and the
    cumulative adjustment factor, if there, is still 1. The file lists no eligible securities:
    every security that is not under special treatment counts as eligible, as a stand-in.
``us-daily``
    ``symbol, date, open, high, low, close, volume`` adjusted for splits, and ``adj_ratio``, the
    adjusted close over the close. The reference price makes close/pre_close - 1 the total return.
``us-close``
    ``symbol, date, close``; everything else is null.
``cn-shibor``
    ``date`` and ``shibor_1d`` to ``shibor_1y`` in per cent a year.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.importers.daily import PRICES, DateArray, Security
from data_contracts.importers.raw import RawFile, Read
from data_contracts.importers.source import (
    days,
    flags,
    floats,
    half_even_div,
    read_columns,
    to_quanta,
)
from data_contracts.units import NULL, RATIO_ONE, IntArray

ASHARE_COLUMNS: Final = (
    "symbol", "date", "open", "high", "low", "close", "pre_close", "volume", "amount",
    "float_shares", "limit_pct", "is_st",
)  # fmt: skip
US_DAILY_COLUMNS: Final = ("symbol", "date", "open", "high", "low", "close", "volume", "adj_ratio")
US_CLOSE_COLUMNS: Final = ("symbol", "date", "close")
SHIBOR_TENORS: Final = {
    "shibor_1d": 1, "shibor_1w": 7, "shibor_2w": 14, "shibor_1m": 30,
    "shibor_3m": 90, "shibor_6m": 180, "shibor_9m": 270, "shibor_1y": 365,
}  # fmt: skip

MICS: Final = {"sh": "XSHG", "sz": "XSHE", "bj": "BJSE"}
LIMITS: Final = (50_000, 100_000, 200_000, 300_000, 440_000)
"""Daily limits of exchange rules: ST, main board, ChiNext and STAR, BSE, first day to 2023."""
# One fen, in 0.0001: rounding to the tick moves a limit by half of it.
_TICK: Final = 100
# adj_ratio is adjusted close over close; later dividends only lower it.
_LARGEST_ADJ: Final = 1.0
_ADJ_PLACES: Final = 8
_NAT: Final = np.datetime64("NaT", "D")
_US_SYMBOL: Final = re.compile(r"[A-Z][A-Z0-9._-]{0,15}")
_US_INDEX: Final = ("SP500", "SP500_INDEX", "SPX")


def ashare_security(value: str) -> Security:
    """The security of a prefixed code, its board taken from the code.

    >>> ashare_security("sz300750").board
    'chinext'
    """
    match = re.fullmatch(r"(sh|sz|bj)(\d{6})", value.strip().lower())
    if match is None:
        raise InputError(
            f"an A-share symbol is sh, sz or bj and six digits, like sh600000: column 'symbol' has"
            f" {value!r}; rename it or leave its rows out"
        )
    prefix, code = match.groups()
    if prefix == "bj":
        board = "bse"
    elif (prefix == "sh" and code.startswith("000")) or (prefix == "sz" and code.startswith("399")):
        board = "index"
    elif prefix == "sh" and code.startswith(("688", "689")):
        board = "star"
    elif prefix == "sz" and code.startswith(("300", "301")):
        board = "chinext"
    else:
        board = "main"
    return Security(code, MICS[prefix], board, _NAT)


def us_security(value: str) -> Security:
    """The security of a US symbol; ``^GSPC`` and its like are indices."""
    symbol = value.strip().upper()
    if symbol.startswith("^") and _US_SYMBOL.fullmatch(symbol[1:]):
        return Security(symbol, "XNYS", "index", _NAT)
    if _US_SYMBOL.fullmatch(symbol) is None:
        raise InputError(
            "a US symbol is a letter and up to 15 letters, digits, dots, hyphens or underscores, as"
            f" BRK.B: column 'symbol' has {value!r}; rename it or leave its rows out"
        )
    return Security(symbol, "XNYS", "index" if symbol in _US_INDEX else "us", _NAT)


def read_ashare_daily(path: Path) -> Read:
    """Read a file of the format ``ashare-daily``."""
    table = read_columns(path, ASHARE_COLUMNS, ("adj_factor",))
    file = RawFile(path, table, ashare_security)
    for name in PRICES:
        file.take_price(name)
    file.take_amount("volume", "volume_shares", 0)
    file.take_amount("amount", "turnover_amt", 2)
    file.take_amount("float_shares", "float_shares", 0)
    broken = file.inexact("float_shares")
    file.values["float_shares"] = np.where(broken, NULL, file.values["float_shares"])
    file.values["is_special_treatment"] = flags(path, table, "is_st").astype(np.int64)
    file.values["price_limit_ratio"] = to_quanta(file.numbers("limit_pct"), 6)[0]
    file.drop(file.values["volume_shares"] == 0, "no volume, a suspension")
    fresh = np.ones(table.num_rows, dtype=np.bool_)
    if "adj_factor" in table.column_names:
        fresh = file.numbers("adj_factor") == 1.0
    file.values["fresh"] = fresh.astype(np.int64)
    return _with_known_limits(_with_listing_dates(file.finish()))


def read_us_daily(path: Path) -> Read:
    """Read a file of the format ``us-daily``."""
    file = RawFile(path, read_columns(path, US_DAILY_COLUMNS), us_security)
    for name in ("open", "high", "low", "close"):
        file.take_price(name)
    file.take_amount("volume", "volume_shares", 0)
    ratio = file.numbers("adj_ratio")
    file.drop(~((ratio > 0) & (ratio <= _LARGEST_ADJ)), "adj_ratio is not above 0 and up to 1")
    # The short decimal that a float32 was made from, not the float32's own expansion.
    micro, rough = to_quanta(ratio, 6)
    fine = to_quanta(ratio, _ADJ_PLACES)[0]
    file.values["adj"] = np.where(rough | (micro == NULL), fine, micro * 10 ** (_ADJ_PLACES - 6))
    idle = file.values["volume_shares"] == 0
    file.values["suspended"] = idle.astype(np.int64)
    for name in ("open", "high", "low"):
        file.values[name] = np.where(idle, NULL, file.values[name])
    return _with_total_return_reference(file.finish())


def read_us_close(path: Path) -> Read:
    """Read a file of the format ``us-close``."""
    file = RawFile(path, read_columns(path, US_CLOSE_COLUMNS), us_security)
    file.take_price("close")
    return file.finish()


def _with_listing_dates(read: Read) -> Read:
    daily = read.daily
    values = dict(daily.values)
    fresh = values.pop("fresh")
    securities = list(daily.securities)
    first = np.flatnonzero(np.diff(daily.code, prepend=-1))
    for row in first[(fresh[first] == 1) & (daily.day[first] > read.sessions[0])]:
        at = daily.code[row]
        securities[at] = replace(securities[at], listed_on=daily.day[row])
    return replace(read, daily=replace(daily, securities=tuple(securities), values=values))


def _with_known_limits(read: Read) -> Read:
    """Null a limit that no rule knows, or that the session's prices broke by more than a tick."""
    values = dict(read.daily.values)
    limit, reference = values["price_limit_ratio"], values["pre_close"]
    known = np.isin(limit, LIMITS)
    judged = known & (reference != NULL)
    room = np.where(judged, reference, 0) * np.where(judged, limit, 0) // RATIO_ONE + _TICK
    for price in (values["high"], values["low"]):
        known &= ~(judged & (price != NULL) & (np.abs(price - reference) > room))
    values["price_limit_ratio"] = np.where(known, limit, NULL)
    unknown = int((~known).sum())
    return replace(read, daily=replace(read.daily, values=values), unknown_limits=unknown)


def _with_total_return_reference(read: Read) -> Read:
    """The close before, scaled by the ratio's change, half to even; null for the first bar."""
    values = dict(read.daily.values)
    adj, close = values.pop("adj"), values["close"]
    reference = np.full(len(close), NULL, dtype=np.int64)
    reference[1:] = half_even_div(close[:-1] * adj[:-1], adj[1:])
    reference[np.flatnonzero(np.diff(read.daily.code, prepend=-1))] = NULL
    values["pre_close"] = reference
    return replace(read, daily=replace(read.daily, values=values))


def read_shibor(path: Path) -> tuple[DateArray, IntArray, IntArray, Counter[str], Counter[str]]:
    """Dates, tenors and rates in bps of a curve, one row a point, later rows of a date winning.

    Returns
    -------
    days, tenors, rates, inexact counts, dropped counts.
    """
    table = read_columns(path, ("date", *SHIBOR_TENORS))
    day = days(path, table)
    last = len(day) - 1 - np.unique(day[::-1], return_index=True)[1]
    inexact: Counter[str] = Counter()
    dropped: Counter[str] = Counter({"duplicate key": (len(day) - len(last)) * len(SHIBOR_TENORS)})
    parts: list[tuple[DateArray, IntArray, IntArray]] = []
    for name, tenor in SHIBOR_TENORS.items():
        hundredths, rough = to_quanta(floats(path, table, name)[last], 4)
        known = hundredths != NULL
        dropped["no rate"] += int((~known).sum())
        sign = np.where(hundredths < 0, -1, 1)[known]
        magnitude = np.abs(hundredths[known])
        inexact["rate_bps"] += int((rough[known] | (magnitude % 100 != 0)).sum())
        bps = sign * half_even_div(magnitude, 100)
        parts.append((day[last][known], np.full(int(known.sum()), tenor, dtype=np.int64), bps))
    columns = [np.concatenate([part[i] for part in parts]) for i in range(3)]
    order = np.lexsort((columns[1], columns[0]))
    out = [column[order] for column in columns]
    return out[0], out[1], out[2], inexact, +dropped
