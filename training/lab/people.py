"""Who the clients are: latent traits, and the habits that follow from them.

A client has hidden traits (appetite for risk, discipline, understanding, stability of income,
wealth) and one of five habits. Habits set what the client does (``behaviour.PARAMETERS``); the
lender sees only trades and a noisy questionnaire (``kyc``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from data_contracts.units import BoolArray, FloatArray, IntArray
from training.lab.behaviour import PARAMETERS
from training.lab.random import normal_table, uniform_table
from training.lab.strengths import STRENGTHS, Strengths

HABITS = ("cautious", "momentum", "averaging_down", "lottery", "active")
TRAITS = ("risk", "discipline", "understanding", "stability", "wealth")
PLACE_TRAITS, PLACE_PARAMETERS, PLACE_OPENING, PLACE_GROUP, PLACE_KYC, PLACE_PROTECTED = (
    (1 << 40) + k for k in range(6)
)
WEALTH_LINKS = {"risk": -0.30, "discipline": 0.45, "understanding": 0.55}
"""Correlation of a trait with wealth."""
GROUP_BLOCK = 40
"""Of 40 client numbers in a row the first two or three are related."""

# Mean monthly income and share of it, in whole units: a typical margin client of each market.
INCOME = {"USD": 8_000, "CNY": 26_000}
# First deposit of the median client; Chinese margin accounts start at half a million.
START = {"USD": (60_000, 2_000), "CNY": (520_000, 260_000)}
START_TAIL = {"USD": (0.9, 0.55), "CNY": (1.3, 0.8)}
"""How much wealth, and chance, spread the logarithm of the first deposit."""
# Share of the book that is there when the window opens.
THERE_AT_START = {"USD": 0.10, "CNY": 0.30}

# Chinese clients are held to more names by their brokers.
NAMES = {"USD": 1.0, "CNY": 1.6}
RATE_TASTE = 0.03
"""Leverage given up by the median client for 100 bps: an assumption, no estimate is published."""
# Chance that a call is answered at all: least, and what calm adds. With days to answer, many wait
# for the price to answer; with one day they cannot.
REPLY = {"USD": (0.0, 0.42), "CNY": (0.25, 0.75)}

ADJUSTED_EVERY = 5
"""However often a client trades, leverage is set anew about once in so many sessions: assumption."""
EARLY_DISTANCE = 3.0
"""Standard deviations to the call line below which clients begin to sell (Bian et al. 2018)."""
EARLY_CHANCE = 0.5
"""Chance a session that the calmest client sells at the line itself; who averages down, a fifth."""

# One row a habit: weight in the population, then means of the habit's parameters.
#                 share  lev  swing relev chase names trend swing disp  aver  activ rot
_HABIT_TABLE = np.array(
    [
        [0.36, 0.95, 0.05, 0.1, 0.1, 7.5, 0.0, -0.5, 0.25, 0.30, 0.020, 0.25],
        [0.20, 1.90, 0.14, 0.9, 1.0, 3.6, 1.0, 0.3, 0.30, 0.15, 0.070, 0.60],
        [0.18, 1.85, 0.10, 0.5, 0.2, 3.0, -0.5, 0.4, 0.75, 0.80, 0.040, 0.30],
        [0.14, 2.00, 0.16, 1.0, 0.6, 1.8, 0.3, 1.3, 0.45, 0.35, 0.060, 0.45],
        [0.12, 1.85, 0.12, 0.7, 0.5, 3.2, 0.6, 0.6, 0.50, 0.25, 0.250, 0.75],
    ]
)
# How appetite, discipline and understanding tilt the choice of a habit.
_TILT = np.array(
    [[-0.9, 0.5, 0.4], [0.4, 0.0, 0.1], [0.1, -0.4, -0.2], [0.6, -0.5, -0.6], [0.5, 0.2, 0.2]]
)


@dataclass(frozen=True)
class People:
    """Clients of a book: numbers, ids, related group (-1 for none), traits, habits, parameters."""

    numbers: IntArray
    client_ids: tuple[str, ...]
    account_ids: tuple[str, ...]
    group_ids: tuple[str | None, ...]
    group: IntArray
    habit: IntArray
    traits: FloatArray
    parameters: FloatArray
    months_before: IntArray

    def trait(self, name: str) -> FloatArray:
        """One hidden trait, standard normal over the population."""
        return np.asarray(self.traits[:, TRAITS.index(name)])

    def only(self, kept: BoolArray) -> People:
        """Some of the clients, in the same order."""
        at = np.flatnonzero(kept)
        return People(
            self.numbers[at],
            tuple(self.client_ids[k] for k in at),
            tuple(self.account_ids[k] for k in at),
            tuple(self.group_ids[k] for k in at),
            self.group[at],
            self.habit[at],
            self.traits[at],
            self.parameters[at],
            self.months_before[at],
        )

    def parameter(self, name: str) -> FloatArray:
        """One parameter of behaviour."""
        return np.asarray(self.parameters[:, PARAMETERS.index(name)])


def short_id(letter: str, seed: int, text: str) -> str:
    """A letter and 12 hexadecimal digits that say nothing about the client."""
    return letter + hashlib.sha256(f"{seed}/{text}".encode()).hexdigest()[:12]


def _groups(seed: int, numbers: IntArray) -> IntArray:
    """The related group of each client, -1 for none."""
    block = numbers // GROUP_BLOCK
    size = 2 + (uniform_table(seed, block, PLACE_GROUP, 1)[:, 0] < 0.5)
    return np.where(numbers % GROUP_BLOCK < size, block, -1)


def _logistic(x: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def make_people(
    seed: int, clients: int, currency: str, first: int = 0, strengths: Strengths | None = None
) -> People:
    """Draw clients ``first`` onwards; a client depends on the seed and its own number only."""
    given = STRENGTHS[currency] if strengths is None else strengths
    strong = given.behaviour
    numbers = np.arange(first, first + clients, dtype=np.int64)
    group = _groups(seed, numbers)
    traits = normal_table(seed, numbers, PLACE_TRAITS, len(TRAITS))
    shared = normal_table(seed, np.maximum(group, 0), PLACE_GROUP, len(TRAITS))
    related = (group >= 0)[:, None]
    traits = np.where(related, np.sqrt(0.5) * (traits + shared), traits)
    # Larger accounts belong to better-informed, steadier people (An, Lou, Shi 2022: the top half
    # per cent gained what the bottom 85 % lost); each trait stays standard normal.
    for name, link in WEALTH_LINKS.items():
        k = TRAITS.index(name)
        traits[:, k] = np.sqrt(1.0 - link * link) * traits[:, k] + link * traits[:, -1]
    risk, discipline, understanding, stability, wealth = traits.T

    u = uniform_table(seed, numbers, PLACE_PARAMETERS, 16)
    z = normal_table(seed, numbers, PLACE_PARAMETERS + 64, 16)
    weight = _HABIT_TABLE[:, 0] * np.exp(
        risk[:, None] * _TILT[:, 0] + discipline[:, None] * _TILT[:, 1]
        + understanding[:, None] * _TILT[:, 2]
    )  # fmt: skip
    cumulative = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    habit = np.minimum((u[:, 0][:, None] > cumulative).sum(axis=1), len(HABITS) - 1)
    _, lev, swing, relev, chase, names, trend, taste, disp, aver, activ, rot = _HABIT_TABLE[habit].T

    income = INCOME[currency] * np.exp(0.45 * wealth + 0.40 * z[:, 0])
    (median, least), tail = START[currency], START_TAIL[currency]
    start = np.maximum(given.wealth * median * np.exp(tail[0] * wealth + tail[1] * z[:, 1]), least)
    # What could be paid in on a call: heavy-tailed, from nearly nothing to many times the account.
    liquid = start * np.exp(-0.9 + 0.5 * stability + 0.5 * discipline + 0.9 * z[:, 2])
    reply = REPLY[currency]
    calm = _logistic(strong * (1.4 * discipline + 0.5 * understanding))
    activity = np.clip(given.activity * activ * np.exp(0.5 * z[:, 3]), 0.004, 0.8)
    values = {
        "start_cash": start * 100,
        "income": income * 100,
        "liquid": liquid * 100,
        "activity": activity,
        "rotation": np.clip(rot + 0.1 * z[:, 4], 0.05, 0.95),
        "leverage": np.clip(
            lev * given.leverage + 0.16 * risk - 0.08 * discipline + 0.16 * z[:, 5], 0.5, 2.6
        ),
        "leverage_swing": strong * swing * np.exp(0.3 * z[:, 6]),
        "relever": strong * relev * np.exp(0.3 * z[:, 7]),
        "chase": strong * chase * np.exp(0.3 * z[:, 8]),
        "names": np.clip(
            np.rint(names * NAMES[currency] * np.exp(0.3 * z[:, 9] + 0.15 * understanding)), 1, 10
        ),
        "trend_taste": strong * (trend + 0.2 * z[:, 10]),
        "swing_taste": strong * (taste + 0.25 * risk + 0.2 * z[:, 11]),
        "disposition": np.clip(strong * (disp - 0.08 * understanding + 0.1 * z[:, 12]), 0.0, 1.0),
        "averaging": np.clip(strong * (aver + 0.1 * z[:, 13]), 0.0, 1.0),
        "discipline": np.clip(0.05 + 0.6 * calm * u[:, 1], 0.0, 1.0),
        "early_distance": EARLY_DISTANCE * (0.5 + calm),
        "early_chance": EARLY_CHANCE * calm * np.where(habit == 2, 0.2, 1.0),
        "reply_chance": np.clip(reply[0] + reply[1] * calm, 0.0, 1.0),
        "reply_sessions": 0.4 + 2.6 * (1.0 - calm),
        "cash_first": np.clip(0.35 + 0.3 * (habit == 2) + 0.2 * u[:, 2], 0.0, 1.0),
        "margin_off": np.where(habit == 0, 0.08, 0.02),
        "margin_on": np.where(habit == 0, 0.03, 0.10) * np.exp(0.3 * risk),
        "saving": 0.02 + 0.25 * u[:, 3],
        "regularity": np.clip(_logistic(0.2 + 1.2 * stability), 0.05, 0.98),
        "withdrawing": 0.01 + 0.05 * u[:, 4] * (1.0 - 0.5 * _logistic(stability)),
        "closing": 0.002 + 0.010 * u[:, 5],
        "income_shock": 0.004 + 0.025 * _logistic(-1.5 * stability - 1.0),
        "rate_taste": RATE_TASTE * np.exp(0.5 * z[:, 15]),
        "crowd_taste": np.clip(
            0.3 - 0.15 * understanding + 0.2 * _logistic(3.0 * u[:, 6] - 1.5), 0.0, 1.0
        ),
        "adjusting": np.minimum(1.0 / (ADJUSTED_EVERY * activity), 1.0),
    }
    # Rounding keeps a client the same whichever vector width its neighbours were computed with.
    parameters = np.stack([np.round(values[name], 9) for name in PARAMETERS], axis=1)
    months = np.rint(np.exp(3.6 + 0.7 * z[:, 14] + 0.3 * understanding)).astype(np.int64)
    return People(
        numbers=numbers,
        client_ids=tuple(short_id("C", seed, str(n)) for n in numbers),
        account_ids=tuple(short_id("A", seed, str(n)) for n in numbers),
        group_ids=tuple(None if k < 0 else short_id("G", seed, str(k)) for k in group),
        group=group,
        habit=habit.astype(np.int64),
        traits=np.round(traits, 9),
        parameters=parameters,
        months_before=months,
    )


def opening_sessions(seed: int, people: People, over: int, currency: str) -> IntArray:
    """A share of the book is there at the start; the rest arrives evenly over so many sessions."""
    there = THERE_AT_START[currency]
    u = uniform_table(seed, people.numbers, PLACE_OPENING, 1)[:, 0]
    latest = max(over - 20, 1)
    return np.where(u < there, 0, ((u - there) / (1.0 - there) * latest).astype(np.int64))
