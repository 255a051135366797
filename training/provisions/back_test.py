"""Provisions held against what was lost after them: a pure function of facts and losses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.units import PROB_ONE, IntArray
from training.provisions.loss import YEAR_DAYS, expected_loss
from training.provisions.movement import Night
from training.provisions.rules import STAGES

YEAR: Final = dt.timedelta(days=YEAR_DAYS)


@dataclass(frozen=True)
class Outcome:
    """A night a year later, minor units; arrays by stage.

    Attributes
    ----------
    provision_amt : modelled, without overlay
    one_year_amt : the same with every client that is not stage 3 measured over a year
    realised_amt : shortfalls of the night's clients within a year
    expected_defaults, defaults : of clients that are not stage 3: sum of their PD, and how many did
    clients, short : clients of each stage, and those of them with a shortfall
    """

    as_of: dt.date
    provision_amt: int
    one_year_amt: int
    realised_amt: int
    expected_defaults: float
    defaults: int
    clients: tuple[int, ...]
    short: tuple[int, ...]


Events = tuple[Sequence[str], Any, IntArray]
"""Client, day and amount (minor units) of every event of a kind."""


def _within(as_of: dt.date, place: dict[str, int], events: Events) -> IntArray:
    """Amounts of the events of each client in the year after a day."""
    out = np.zeros(len(place), dtype=np.int64)
    first, last = np.datetime64(as_of), np.datetime64(as_of + YEAR)
    for client, day, amount in zip(*events[:2], events[2].tolist(), strict=True):
        if first < day <= last and client in place:
            out[place[client]] += amount
    return out


def outcome_of(as_of: dt.date, night: Night, shortfalls: Events, defaults: Events) -> Outcome:
    """What became of a night's clients in the year after it."""
    place = {c: k for k, c in enumerate(night.facts.client_ids)}
    lost = _within(as_of, place, shortfalls)
    failed = _within(as_of, place, defaults) > 0
    going = night.stage < 3
    year_stage = np.where(night.stage == 3, 3, 1)
    return Outcome(
        as_of,
        int(night.loss.sum()),
        int(expected_loss(night.facts, year_stage, night.rules).sum()),
        int(lost.sum()),
        float(night.facts.pd[going].sum()) / PROB_ONE,
        int((failed & going).sum()),
        tuple(int((night.stage == s).sum()) for s in STAGES),
        tuple(int(((night.stage == s) & (lost > 0)).sum()) for s in STAGES),
    )


def years_apart(days: Sequence[dt.date], last_known: dt.date) -> list[dt.date]:
    """The first days whose years do not overlap and end by the last day that is known.

    >>> years_apart([dt.date(2020, 1, k) for k in (1, 2)], dt.date(2021, 6, 1))
    [datetime.date(2020, 1, 1)]
    """
    chosen: list[dt.date] = []
    for day in sorted(days):
        if day + YEAR <= last_known and (not chosen or day >= chosen[-1] + YEAR):
            chosen.append(day)
    return chosen
