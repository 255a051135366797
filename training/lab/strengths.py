"""How strongly the simulated clients behave: a few scales over the habits in ``people``.

``strengths.yaml`` holds them by currency, with how each was found: fitted to the calm rows of
``bands.yaml`` by ``gearline lab fit``, or assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path(__file__).with_name("strengths.yaml")


@dataclass(frozen=True)
class Strengths:
    """Scales of behaviour; 1 leaves a habit as ``people`` states it.

    Attributes
    ----------
    behaviour : re-levering, chasing, tastes, disposition, averaging down, and how much discipline
        decides the answer to a call; 0 makes all clients the same in these
    leverage : holdings over equity that clients drift around
    activity : chance of looking at the account
    wealth : first deposit
    """

    behaviour: float = 1.0
    leverage: float = 1.0
    activity: float = 1.0
    wealth: float = 1.0

    def times(self, behaviour: float) -> Strengths:
        """The same clients with behaviour that many times as strong."""
        return replace(self, behaviour=self.behaviour * behaviour)


@cache
def _stated() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return found


def load_strengths(currency: str) -> Strengths:
    """The strengths of a market's clients."""
    values = _stated()[currency]["strengths"]
    return Strengths(**{f.name: float(values[f.name]) for f in fields(Strengths)})


STRENGTHS: Final = {currency: load_strengths(currency) for currency in ("USD", "CNY")}
