"""From a decision and the facts around it to what is answered: never milder, never larger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

import numpy as np
import yaml

from data_contracts.decision import OUTCOMES
from data_contracts.errors import InputError
from data_contracts.units import NULL, RATIO_ONE, IntArray, format_decimal, parse_decimal
from models.reasons import CATALOGUE
from models.stability import psi_of_counts

DUPLICATE_HOURS: Final = 24
"""A second application of one client within this time is looked at by a person."""
DRIFT_RED_E6: Final = 250_000
"""Population stability index above which a population has shifted (Siddiqi 2006: 0.25), in 1e-6."""


@dataclass(frozen=True)
class Condition:
    """A row of the table."""

    name: str
    found: str
    outcome: str
    limit: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """A condition that holds, with the values its reasons state."""

    condition: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fact as the ledger keeps it."""
        return {"condition": self.condition, "args": dict(self.args)}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Fact:
        """The inverse of ``to_json``."""
        return Fact(document["condition"], document["args"])


def _load() -> dict[str, Condition]:
    text = (resources.files("models.conditions") / "table.yaml").read_text(encoding="utf-8")
    made = {}
    for name, row in yaml.safe_load(text).items():
        unknown = [code for code in row["reasons"] if code not in CATALOGUE]
        if (
            unknown
            or row["outcome"] not in OUTCOMES[1:]
            or row["limit"] not in ("decided", "published")
            or row["found"] not in ("decide", "service")
        ):
            raise InputError(f"condition {name}: {row} is no row of the table; correct it")
        made[name] = Condition(
            name, row["found"], row["outcome"], row["limit"], tuple(row["reasons"])
        )
    return made


CONDITIONS: Final = _load()


def settle(
    body: Mapping[str, Any], facts: Sequence[Fact], published_amt: str | None
) -> dict[str, Any]:
    """What is answered of a decision under the facts around it.

    Parameters
    ----------
    body : the decision's canonical body
    facts : conditions that the service found; those that ``decide`` finds are in the body
    published_amt : the last published limit of the client, or None

    Returns
    -------
    dict
        ``outcome``, ``max_debt_amt``, ``stale`` (the limit is not today's), ``reasons``.
    """
    outcome = OUTCOMES.index(body["outcome"])
    cap = parse_decimal(body["max_debt_amt"], 2, "max_debt_amt")
    reasons = [dict(r) for r in body["reasons"]]
    held: list[dict[str, Any]] = []
    stale = False
    for fact in facts:
        row = CONDITIONS[fact.condition]
        outcome = max(outcome, OUTCOMES.index(row.outcome))
        if row.limit == "published":
            stale = True
            if published_amt is None:
                cap = 0
            else:
                cap = min(cap, parse_decimal(published_amt, 2, "published_amt"))
        for code in row.reasons:
            reason = {"code": code, "args": dict(fact.args) if code != "hold_person" else {}}
            if reason not in held:
                held.append(reason)
    return {
        "outcome": OUTCOMES[outcome],
        "max_debt_amt": format_decimal(cap, 2),
        "stale": stale,
        "reasons": [*held, *reasons],
    }


def out_of_domain(values: IntArray, features: Sequence[Mapping[str, Any]]) -> Fact | None:
    """The first feature of a row outside the bounds of its declaration, as a fact."""
    for value, declared in zip(values.tolist(), features, strict=True):
        if value == NULL or "low" not in declared:
            continue
        if not declared["low"] <= value <= declared["high"]:
            return Fact("out_of_domain", {"feature": declared["name"], "value": value})
    return None


def stability_e6(expected: Sequence[int], actual: Sequence[int]) -> int:
    """The population stability index of counts in the same classes, in 1e-6.

    As ``models.stability.psi_of_counts``; of an empty population it is 0.

    >>> stability_e6([50, 50], [50, 50]), stability_e6([90, 10], [10, 90])
    (0, 3515559)
    """
    found = psi_of_counts(np.array(expected, dtype=np.int64), np.array(actual, dtype=np.int64))
    return round((found.value or 0.0) * RATIO_ONE)
