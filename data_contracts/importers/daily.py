"""The daily form every price format is brought to, and how two of them merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.errors import InputError
from data_contracts.units import NULL, IntArray

DateArray = npt.NDArray[np.datetime64]

PRICES: Final = ("open", "high", "low", "close", "pre_close")
VALUES: Final = (
    *PRICES, "volume_shares", "turnover_amt", "suspended",
    "price_limit_ratio", "is_special_treatment", "float_shares",
)  # fmt: skip
"""The columns of a daily row, each int64 in quanta with ``NULL``; flags are 0 and 1."""
STATE: Final = ("price_limit_ratio", "is_special_treatment", "float_shares")
"""Those that belong to the instrument."""


@dataclass(frozen=True)
class Security:
    """What does not change from day to day. ``listed_on`` may be NaT."""

    symbol: str
    mic: str
    board: str
    listed_on: np.datetime64


@dataclass(frozen=True)
class Daily:
    """Rows sorted by security and day, one for each. ``code`` points into ``securities``."""

    securities: tuple[Security, ...]
    code: IntArray
    day: DateArray
    values: Mapping[str, IntArray]

    def rows(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Daily:
        """The chosen rows, in that order."""
        taken = {name: values[chosen] for name, values in self.values.items()}
        return replace(self, code=self.code[chosen], day=self.day[chosen], values=taken)


def sorted_daily(
    securities: Sequence[Security], code: IntArray, day: DateArray, values: Mapping[str, IntArray]
) -> tuple[Daily, int]:
    """Securities sorted by symbol, rows by security and day; of equal keys the last stays.

    Returns
    -------
    The rows and how many were left out as duplicates.
    """
    order = sorted(range(len(securities)), key=lambda i: securities[i].symbol)
    new_code = np.empty(len(order), dtype=np.int64)
    new_code[order] = np.arange(len(order))
    code = new_code[code]
    made = Daily(tuple(securities[i] for i in order), code, day, values)
    made = made.rows(np.lexsort((np.arange(len(code)), day, code)))
    last = np.ones(len(code), dtype=np.bool_)
    last[:-1] = (made.code[1:] != made.code[:-1]) | (made.day[1:] != made.day[:-1])
    return made.rows(last), int((~last).sum())


def merge(old: Daily | None, new: Daily) -> tuple[Daily, int]:
    """Rows of both; of a key in both the new one. Also how many of the old were replaced.

    A reference price that the new row lacks (the first of its file) is kept from the old row if
    both have the same close. The listing date is that of the history which starts earlier.
    """
    if old is None:
        return new, 0
    earliest = [_first_days(d) for d in (old, new)]
    by_symbol = {s.symbol: (s, earliest[0].get(i)) for i, s in enumerate(old.securities)}
    for i, security in enumerate(new.securities):
        known, start = by_symbol.get(security.symbol, (security, None))
        if known.mic != security.mic:
            raise InputError(
                f"a code belongs to one exchange in a market folder; {security.symbol} is on"
                f" {known.mic} there and on {security.mic} in the file; leave one of them out"
            )
        if start is None or start > earliest[1][i]:
            by_symbol[security.symbol] = (security, earliest[1][i])
    securities = [security for security, _ in by_symbol.values()]
    position = {s.symbol: i for i, s in enumerate(securities)}
    places = [np.array([position[s.symbol] for s in d.securities]) for d in (old, new)]
    code = np.concatenate([places[0][old.code], places[1][new.code]])
    day = np.concatenate([old.day, new.day])
    values = {n: np.concatenate([old.values[n], new.values[n]]) for n in VALUES}
    order = np.lexsort((np.arange(len(code)), day, code))
    first, second = order[:-1], order[1:]
    again = (code[first] == code[second]) & (day[first] == day[second])
    first, second = first[again], second[again]
    same = values["close"][first] == values["close"][second]
    lacking = (values["pre_close"][second] == NULL) & same
    values["pre_close"][second[lacking]] = values["pre_close"][first[lacking]]
    return sorted_daily(securities, code, day, values)


def _first_days(daily: Daily) -> dict[int, np.datetime64]:
    first = np.flatnonzero(np.diff(daily.code, prepend=-1))
    return dict(zip(daily.code[first].tolist(), daily.day[first], strict=True))


def with_suspensions(traded: Daily, sessions: DateArray) -> Daily:
    """Add a bar for every session without one between a security's first bar and its last.

    The added bar has the last close as close and reference, no volume and no other price; the
    instrument's values stay as they were.
    """
    at = np.searchsorted(sessions, traded.day)
    gap = np.zeros(len(at), dtype=np.int64)
    gap[:-1] = np.where(traded.code[1:] == traded.code[:-1], at[1:] - at[:-1] - 1, 0)
    source = np.repeat(np.arange(len(at)), 1 + gap)
    start = np.cumsum(1 + gap) - (1 + gap)
    offset = np.arange(len(source)) - start[source]
    filled = offset > 0
    out = traded.rows(source)
    values = dict(out.values)
    values["pre_close"] = np.where(filled, values["close"], values["pre_close"])
    for name, value in (("open", NULL), ("high", NULL), ("low", NULL), ("volume_shares", 0)):
        values[name] = np.where(filled, value, values[name])
    values["turnover_amt"] = np.where(filled, 0, values["turnover_amt"])
    values["suspended"] = np.where(filled, 1, values["suspended"])
    return replace(out, day=sessions[at[source] + offset], values=values)


def state_changes(daily: Daily) -> npt.NDArray[np.intp]:
    """Rows at which a security appears or one of its ``STATE`` columns changes."""
    changed = np.ones(len(daily.code), dtype=np.bool_)
    changed[1:] = daily.code[1:] != daily.code[:-1]
    for name in STATE:
        changed[1:] |= daily.values[name][1:] != daily.values[name][:-1]
    return np.flatnonzero(changed)
