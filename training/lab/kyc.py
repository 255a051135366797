"""What the lender's questionnaire says: noisy answers, renewed now and then, known days later."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data_contracts.units import NULL, BoolArray, FloatArray, IntArray
from training.lab.people import PLACE_KYC, PLACE_PROTECTED, People, _logistic
from training.lab.random import normal_table, uniform_table

VERSIONS = 14
VALID_DAYS = 730
_DAY = np.timedelta64(1, "D")
AGE_BANDS = ("18-29", "30-39", "40-49", "50-59", "60-69", "70+")
REGIONS = ("north", "east", "south", "west", "centre")


def verification_sessions(seed: int, people: People, opens: IntArray, sessions: int) -> IntArray:
    """Sessions of each questionnaire, shape (clients, VERSIONS): opening, then every 1 to 2 years.

    One client in eight lets it lapse: the next one comes a year or more late.
    """
    u = uniform_table(seed, people.numbers, PLACE_KYC, 2 * VERSIONS)
    gap = 250 + (u[:, :VERSIONS] * 230).astype(np.int64)
    gap += np.where(u[:, VERSIONS:] < 0.04, 300, 0)
    gap[:, 0] = 0
    at = opens[:, None] + np.cumsum(gap, axis=1)
    return np.where(at < sessions, at, np.iinfo(np.int64).max)


def _unsaid(texts: Any, missing: BoolArray) -> npt.NDArray[np.object_]:
    """Texts with None where the client did not say."""
    out = np.asarray(texts).astype(object)
    out[missing] = None
    return out


def _answers(
    z: FloatArray, u: FloatArray, people: People, row: IntArray, seen: FloatArray, months: IntArray
) -> dict[str, Any]:
    """Declared figures of each version row; ``seen`` is liquid assets, equity, income (1 or 0)."""
    risk, discipline, understanding, stability = (people.traits[row, k] for k in range(4))
    income = people.parameter("income")[row] * 12 * (0.35 + 0.65 * seen[:, 2])
    wealth = people.trait("wealth")[row]
    other = people.parameter("start_cash")[row] * np.exp(0.6 + 0.5 * wealth + 0.8 * z[:, 3])

    def money(value: FloatArray, missing: BoolArray) -> IntArray:
        whole = np.rint(value / 10_000).astype(np.int64) * 10_000
        return np.where(missing, NULL, np.maximum(whole, 0))

    level = np.clip(np.rint(3.3 + 0.8 * risk + 0.3 * wealth + 0.6 * z[:, 4]), 1, 5)
    # A margin account opens at C3 or above; a later questionnaire may fall below it.
    suitability = np.where((months > 0) & (level <= 1), 2, np.maximum(level, 3))
    literacy = np.clip(np.rint(62 + 14 * understanding + 5 * discipline + 8 * z[:, 5]), 0, 100)
    trouble = -0.7 * stability - 0.5 * discipline + 0.7 * z[:, 6]
    experience = people.months_before[row] + months
    bureau = np.select(
        [trouble > 2.1, trouble > 1.1, experience < 18], ["major", "minor", "thin"], "clear"
    )
    flags = u[:, :6]
    return {
        "income_amt": money(income * np.exp(0.20 * z[:, 0] + 0.05), flags[:, 0] < 0.03),
        "net_worth_amt": money(
            (seen[:, 0] + np.maximum(seen[:, 1], 0) + other) * np.exp(0.25 * z[:, 1]),
            flags[:, 0] < 0.05,
        ),
        "liquid_assets_amt": money(seen[:, 0] * np.exp(0.35 * z[:, 2]), flags[:, 1] < 0.04),
        "experience_months": experience,
        "suitability_level": suitability.astype(np.int64),
        "literacy_score": np.where(flags[:, 2] < 0.06, NULL, literacy.astype(np.int64)),
        "bureau_status": _unsaid(bureau, flags[:, 3] < 0.03),
    }


def kyc_table(
    seed: int,
    people: People,
    at: IntArray,
    seen: FloatArray,
    until: IntArray,
    sessions: FloatArray,
    close_at: Any,
) -> dict[str, Any]:
    """Columns of ``clients``; versions after the account closed are left out.

    The first version is known before the account opens, later ones one to ten days after the event.
    """
    clients = len(at)
    row, version = np.nonzero((at < len(sessions)) & (at <= until[:, None]))
    session = at[row, version]
    z = normal_table(seed, people.numbers, PLACE_KYC + 128, 8 * VERSIONS)
    z = z.reshape(clients, VERSIONS, 8)[row, version]
    fixed = normal_table(seed, people.numbers, PLACE_KYC + 512, 8)[row]
    # Errors of one person are mostly the same each time; other wealth is not drawn again.
    z = np.concatenate([0.7 * fixed[:, :3] + 0.7 * z[:, :3], fixed[:, 3:4],
                        0.7 * fixed[:, 4:] + 0.7 * z[:, 4:]], axis=1)  # fmt: skip
    once = uniform_table(seed, people.numbers, PLACE_KYC + 1024, 8)[row]
    every = uniform_table(seed, people.numbers, PLACE_KYC + 2048, 2 * VERSIONS)
    every = every.reshape(clients, VERSIONS, 2)[row, version]
    day = sessions.astype("datetime64[D]")
    opened = day[at[row, 0]]
    months = (day[session] - opened).astype(np.int64) // 30
    first = version == 0
    event = np.where(first, close_at[session] - 10 * _DAY, close_at[session])
    late = np.where(first, 4, 1 + (every[:, 0] * 10).astype(np.int64))
    verified = event.astype("datetime64[D]")
    columns = _answers(z, np.round(once, 12), people, row, seen[row, version], months)
    columns |= {
        "client_id": row,
        "kyc_verified_on": verified,
        "kyc_expires_on": verified + VALID_DAYS * _DAY,
        "pep": once[:, 4] < 0.006,
        "sanctioned": (once[:, 5] < 0.0008) & ~first,
        "aml_level": np.select([once[:, 6] < 0.012, once[:, 6] < 0.08], ["high", "medium"], "low"),
        "related_group_id": row,
        "automated_decision_refused": once[:, 7] < 0.015,
        "event_at": event,
        "known_at": event + late * _DAY,
    }
    return columns


def protected_table(seed: int, people: People, at: IntArray, close_at: Any) -> dict[str, Any]:
    """Columns of ``client_protected``: correlated with traits, read by no behaviour."""
    z = normal_table(seed, people.numbers, PLACE_PROTECTED, 2)
    u = uniform_table(seed, people.numbers, PLACE_PROTECTED + 64, 4)
    risk = people.trait("risk")
    lived = np.log(people.months_before.astype(np.float64)) - 3.6
    age = np.clip(42 + 9 * z[:, 0] + 5 * lived - 4 * risk, 19, 88)
    band = np.clip(((age - 20) // 10).astype(np.int64), 0, len(AGE_BANDS) - 1)
    male = u[:, 0] < _logistic(0.7 + 0.35 * risk)
    region = (u[:, 1] * len(REGIONS)).astype(np.int64)
    rich = (people.trait("wealth") > 0.5) & (u[:, 2] < 0.3)
    region = np.where(rich, 1, region)
    event = close_at[at[:, 0]] - 10 * _DAY
    said = u[:, 3] > 0.04
    return {
        "client_id": np.arange(len(band)),
        "age_band": _unsaid(np.array(AGE_BANDS)[band], ~said),
        "sex": _unsaid(np.where(male, "male", "female"), ~said),
        "region": np.array(REGIONS, dtype=object)[region],
        "event_at": event,
        "known_at": event + 4 * _DAY,
    }
