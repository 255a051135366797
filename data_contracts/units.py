"""Units at the boundary of a decision: one integer quantum for each kind of quantity.

============ ============================== ======================= ==================
suffix       meaning                        integer quantum         example
============ ============================== ======================= ==================
``_amt``     money in the account currency  minor unit, 0.01        12.34 is 1234
``_price``   price of one share             0.0001                  9.05 is 90500
``_ratio``   a ratio, 0.35 means 35 %       1e-6 (micro)            0.35 is 350000
``_bps``     basis points, 1 = 0.0001       1                       5.25 % is 525
``_prob``    a probability                  1e-9 (nano)             0.01 is 10000000
``_milli``   leverage                       0.001                   1.75 x is 1750
``_log_odds`` scorer output                 2**-40                  see ``models.scorer``
``_days``    calendar days                  1
``_sessions`` trading days                  1
============ ============================== ======================= ==================
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.errors import InputError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MINOR_PER_UNIT: Final = 100
PRICE_PER_UNIT: Final = 10_000
RATIO_ONE: Final = 1_000_000
PROB_ONE: Final = 1_000_000_000
BPS_ONE: Final = 10_000
MILLI_ONE: Final = 1_000
LOG_ODDS_BITS: Final = 40
LOG_ODDS_ONE: Final = 1 << LOG_ODDS_BITS

NULL: Final = np.iinfo(np.int64).min
"""The integer that stands for an undefined value inside int64 arrays; null in every file."""

MAX_AMT: Final = 9_000_000_000_000
"""Largest money amount of one client, in minor units (90 billion units). It keeps every product
``amount * RATIO_ONE`` inside int64; larger amounts are refused at the boundary, never wrapped."""

MAX_DIGITS: Final = 60
"""Digits of a decimal string that are read at all; far above any quantity of ours."""


_PLAIN: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
"""How nearly every amount is written: read without making a ``Decimal`` first."""


def parse_decimal(text: str, places: int, what: str) -> int:
    """The integer number of ``10**-places`` in a decimal string, exactly.

    Raises
    ------
    InputError
        If the text is no finite decimal, has more places than the unit holds, or too many digits.

    >>> parse_decimal("12.34", 2, "cash_amt")
    1234
    """
    if type(text) is str and _PLAIN.fullmatch(text):
        whole, _, part = text.partition(".")
        if len(part) <= places:
            return int(whole + part.ljust(places, "0"))
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except (InvalidOperation, TypeError, ValueError):
        raise InputError(
            f'{what}: {text!r} is not a decimal number; write it like "1234.50"'
        ) from None
    if isinstance(exponent, int):
        # Integers from here on: arithmetic on Decimal would round to its context's 28 digits.
        shift = exponent + places
        if len(digits) + abs(shift) > MAX_DIGITS:
            raise InputError(
                f"{what}: the number has more than {MAX_DIGITS} digits; correct it or its unit"
            )
        number: int = int("".join(map(str, digits))) * 10 ** max(shift, 0)
        unit: int = 10 ** max(-shift, 0)
        units, rest = divmod(number, unit)
        if not rest:
            return -units if sign else units
    raise InputError(
        f"{what}: {text!r} has more than {places} decimal places or is not finite; round it first"
    )


def format_decimal(value: int, places: int) -> str:
    """The decimal string of an integer number of ``10**-places``.

    >>> format_decimal(-1234, 2)
    '-12.34'
    """
    number = int(value)
    sign, digits = ("", str(number)) if number >= 0 else ("-", str(-number))
    if len(digits) <= places:
        digits = digits.zfill(places + 1)
    # without places there is still one, a zero
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}.0"


LARGEST_QUANTA: Final = 2**52
"""No value reaches so many quanta: up to there a float holds every integer."""


def quantise(value: float, one: int) -> int:
    """A float in quanta of ``1/one``, half to even; this is where floats end."""
    return int(Decimal(float(value) * one).to_integral_value(ROUND_HALF_EVEN))


def quantise_array(values: FloatArray, one: int) -> IntArray:
    """Floats to int64 quanta, half to even; NaN becomes ``NULL``.

    Raises
    ------
    InputError
        If a value is infinite or at least 2**52 quanta, beyond exact floats: its bound was
        broken upstream.
    """
    scaled = np.asarray(values, dtype=np.float64) * one
    undefined = np.isnan(scaled)
    if bool(np.any(np.abs(scaled) >= LARGEST_QUANTA)):
        raise InputError(
            "a feature value is infinite or beyond 2**52 quanta; clip it in its definition"
        )
    whole = np.rint(scaled)
    whole[undefined] = 0.0
    out = whole.astype(np.int64)
    out[undefined] = NULL
    return out


def ceil_div(a: int, b: int) -> int:
    """Division rounded towards plus infinity, for positive ``b``. Works on integer arrays too."""
    return -((-a) // b)


def parse_day(text: str, what: str) -> dt.date:
    """A date written YYYY-MM-DD, or one clear error.

    >>> parse_day("2015-06-12", "--as-of")
    datetime.date(2015, 6, 12)
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{what} is {text!r}; write a date like 2015-06-12") from None
