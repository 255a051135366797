"""When a session's knowledge ends: the cut-off, 18:00 in the market's own time."""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from data_contracts.errors import InputError
from data_contracts.units import IntArray
from data_contracts.zones import MARKET_ZONES

CUT_OFF_HOUR: Final = 18
"""After both markets' close and their brokers' end-of-day files, before the nightly run."""


def market_zone(mic: str) -> ZoneInfo:
    """The time zone of an exchange.

    Raises
    ------
    InputError
        If the exchange is not known here.
    """
    if mic not in MARKET_ZONES:
        known = ", ".join(sorted(MARKET_ZONES))
        raise InputError(f"market {mic!r} has no known time zone; use one of {known}")
    return ZoneInfo(MARKET_ZONES[mic])


def cut_off(session: dt.date, mic: str) -> np.datetime64:
    """The last instant (UTC) whose knowledge belongs to a session.

    >>> cut_off(dt.date(2024, 1, 2), "XSHG")
    np.datetime64('2024-01-02T10:00:00.000000')
    """
    local = dt.datetime.combine(session, dt.time(CUT_OFF_HOUR), tzinfo=market_zone(mic))
    return np.datetime64(local.astimezone(dt.UTC).replace(tzinfo=None), "us")


def cut_offs(sessions: npt.NDArray[np.datetime64], mic: str) -> IntArray:
    """The cut-offs of many sessions, in microseconds since 1970 UTC."""
    days: list[dt.date] = sessions.astype("datetime64[D]").tolist()
    return np.array([cut_off(day, mic).astype(np.int64) for day in days], dtype=np.int64)
