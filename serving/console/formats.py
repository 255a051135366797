"""Numbers and names as people read them. An undefined number is an en dash, never 0.

A change always carries a sign and a word besides its colour: colours mean opposite things to
readers of A-shares (red is up) and of US shares, and nothing to those who cannot see them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from data_contracts.units import LOG_ODDS_ONE
from serving.console.texts import Words

DASH: Final = "–"
MINUS: Final = "−"


def number(value: Any, places: int = 0, sign: bool = False) -> str:
    """With thousands separators and a true minus sign.

    >>> number(-1234.5, 1), number(None), number(3, sign=True), number(0, sign=True)
    ('−1,234.5', '–', '+3', '0')
    """
    if value is None:
        return DASH
    text = f"{Decimal(str(value)):{'+' if sign else ''},.{places}f}"
    if not any(c in "123456789" for c in text):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def share(value: Any, places: int = 1, sign: bool = False) -> str:
    """A 1e-6 ratio as a percentage.

    >>> share(1_300_000), share(None), share(-50_000, sign=True)
    ('130.0 %', '–', '−5.0 %')
    """
    return DASH if value is None else f"{number(Decimal(value) / 10_000, places, sign)} %"


def prob(value_e9: Any) -> str:
    """A probability in 1e-9 as a percentage with three significant digits at least.

    >>> prob(12_345_678), prob(1_234), prob(0)
    ('1.23 %', '0.0001 %', '0 %')
    """
    if value_e9 is None:
        return DASH
    percent = Decimal(value_e9) / 10**7
    if percent == 0:
        return "0 %"
    return f"{number(percent, 1 if percent >= 10 else 2 if percent >= 1 else 4)} %"


@dataclass(frozen=True)
class Change:
    """A change in words: its text, and which way it went (``up``, ``down``, ``same``, ``none``)."""

    text: str
    way: str


class Format:
    """What depends on the reader's language or the lender's currency."""

    def __init__(self, words: Words, currency: str) -> None:
        self.words, self.currency = words, currency

    number = staticmethod(number)
    share = staticmethod(share)
    prob = staticmethod(prob)

    def money(self, value: Any, sign: bool = False) -> str:
        """An amount with its currency; cents only where it has some."""
        if value is None:
            return DASH
        amount = Decimal(str(value))
        places = 0 if amount == amount.to_integral_value() else 2
        return f"{self.currency} {number(amount, places, sign)}"

    def minor(self, value: int | None, sign: bool = False) -> str:
        """An amount in minor units."""
        return DASH if value is None else self.money(Decimal(value) / 100, sign)

    def rate(self, bps: int | None) -> str:
        """A yearly rate in basis points, as a percentage."""
        return DASH if bps is None else f"{number(Decimal(bps) / 100, 2)} %"

    def bps(self, value: int | None) -> str:
        """A signed change of a rate."""
        if value is None:
            return DASH
        return f"{number(value, sign=True)} {self.words('unit.bps')}"

    def score(self, value: int, sign: bool = True) -> str:
        """A score or an attribution, 2**-40, as log-odds."""
        return number(round(value / LOG_ODDS_ONE, 3), 3, sign)

    def times(self, milli: int | None) -> str:
        """A leverage in thousandths."""
        return DASH if milli is None else f"{number(Decimal(milli) / 1000, 2)} ×"

    def moment(self, value: str | dt.datetime | None) -> str:
        """An instant, in UTC, to the second."""
        if value is None:
            return DASH
        at = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    def change(self, before: Any, after: Any, text: str) -> Change:
        """A change with its arrow, text and word."""
        if before is None or after is None:
            return Change(self.words("change.none"), "none")
        if after == before:
            return Change(self.words("change.same"), "same")
        way = "up" if after > before else "down"
        return Change(f"{text} {self.words(f'change.{way}')}", way)

    def feature(self, declared: Mapping[str, Any], value: int | None) -> str:
        """A quantised feature value in its declared unit."""
        if value is None:
            return self.words("feature.missing")
        one, unit = int(declared.get("one", 1)), str(declared.get("unit", ""))
        real = Decimal(value) / one
        if unit == "account currency":
            return self.money(real)
        if unit in ("1 = 100 %", "per session, 1 = 100 %"):
            return share(real * 10**6, 2)
        shown = number(real, 0 if one == 1 else 3)
        return f"{shown} {self.words.term('feature_unit', unit)}".strip()

    def name(self, declared: Mapping[str, Any]) -> str:
        """A feature's display name."""
        return str(declared["zh" if self.words.language == "zh" else "en"])

    def param(self, unit: str, values: Any) -> str:
        """The values of a policy parameter in its unit."""
        if values is None:
            return DASH
        shown = []
        for v in values:
            if unit == "ratio":
                shown.append(share(v, 2))
            elif unit == "amt":
                shown.append(self.minor(v))
            else:
                shown.append(number(v))
        return self.words("list.separator").join(shown) if shown else self.words("policy.repealed")
