"""Numbers as people read them. An undefined number is an en dash, never 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from data_contracts.units import LOG_ODDS_ONE
from features.sets import APPLICATION, BEHAVIOURAL
from training.report.texts import UNIT_TEXTS, Text, same

DASH: Final = "–"
MINUS: Final = "−"
_FEATURES: Final = {f.name: f for s in (APPLICATION, BEHAVIOURAL) for f in s.features}


def is_null(value: Any) -> bool:
    """None, or a float that is not finite."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def number(value: Any, places: int = 0, sign: bool = False) -> str:
    """With thousands separators and a true minus sign.

    >>> number(-1234.5, 1), number(None), number(3, sign=True)
    ('−1,234.5', '–', '+3')
    """
    if is_null(value):
        return DASH
    text = f"{Decimal(str(value)):{'+' if sign else ''},.{places}f}"
    if not any(c in "123456789" for c in text):
        text = text.lstrip("+-")  # no signed zero
    return text.replace("-", MINUS)


def money(value: Any, currency: str, sign: bool = False) -> str:
    """An amount in whole currency units, its cents only where it has some.

    >>> money("120000.00", "CNY"), money("-0.50", "USD")
    ('CNY 120,000', 'USD −0.50')
    """
    if is_null(value):
        return DASH
    amount = Decimal(str(value))
    return f"{currency} {number(amount, 0 if amount == amount.to_integral_value() else 2, sign)}"


def percent(share: Any) -> str:
    """A share of 1 as a percentage: one place from 10 %, two from 1 %, below that two digits.

    >>> percent(0.1234), percent(0.01234), percent(0.000567), percent(0), percent(None)
    ('12.3 %', '1.23 %', '0.057 %', '0 %', '–')
    """
    if is_null(share):
        return DASH
    hundredths = float(share) * 100
    size = abs(hundredths)
    if size == 0:
        return "0 %"
    if size >= 99.95 and float(hundredths).is_integer():
        return f"{number(hundredths)} %"
    places = 1 if size >= 10 else 2 if size >= 1 else 1 - math.floor(math.log10(size))
    return f"{number(hundredths, min(places, 6))} %"


def log_odds(value: int, sign: bool = False) -> str:
    """A score or an attribution, 2**-40, as log-odds."""
    return number(round(value / LOG_ODDS_ONE, 3), 3, sign)


def feature_value(name: str, value: int | None, currency: str) -> Text:
    """A quantised feature value in its unit, as far as the feature is declared."""
    if value is None:
        return Text("not available", "无数据")
    feature = _FEATURES.get(name)
    if feature is None:
        return same(number(value))
    real = Decimal(value) / feature.one
    if feature.unit == "account currency":
        return same(money(real, currency))
    if feature.unit == "1 = 100 %":
        return same(percent(real))
    if feature.unit == "per session, 1 = 100 %":
        return Text(f"{percent(real)} per session", f"每交易日 {percent(real)}")
    shown = number(real, 0 if feature.one == 1 else 2)
    unit = UNIT_TEXTS.get(feature.unit, same(feature.unit))
    return Text(
        f"{shown} {unit.en}", f"{shown}{unit.zh}" if unit.zh[0] == "（" else f"{shown} {unit.zh}"
    )


def display_names(names: Mapping[str, tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """Feature display names, English and Chinese."""
    return {k: v[0] for k, v in names.items()}, {k: v[1] for k, v in names.items()}
