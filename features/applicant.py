"""Features of an applicant: what was stated, and nothing of an account that is not there yet."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from data_contracts.units import NULL, IntArray
from features.book import BookAsOf, Kyc
from features.declare import REGISTRY


@dataclass(frozen=True)
class _Stated:
    """The part of a book that the features of group ``kyc`` read."""

    session: dt.date
    kyc: Kyc
    clients: int = 1


def _number(value: int | None) -> IntArray:
    return np.array([NULL if value is None else value], dtype=np.int64)


def _date(value: dt.date | None) -> np.ndarray[Any, Any]:
    return np.array(["NaT" if value is None else value], dtype="datetime64[D]")


def applicant_row(
    stated: Mapping[str, Any], session: dt.date, names: tuple[str, ...]
) -> tuple[IntArray, list[tuple[str, float]]]:
    """One quantised row of a feature set for someone without an account.

    Parameters
    ----------
    stated : columns of the table ``clients``, amounts in minor units, null where not stated
    session : the as-of session
    names : the set's features; those that need an account, or are not known here, are null

    Returns
    -------
    row : int64, shape (len(names),)
    outside : features, with their values, that were stated beyond their declared bounds and clipped
    """
    kyc = Kyc(
        income_amt=_number(stated.get("income_amt")),
        net_worth_amt=_number(stated.get("net_worth_amt")),
        liquid_assets_amt=_number(stated.get("liquid_assets_amt")),
        experience_months=_number(stated.get("experience_months")),
        suitability_level=_number(stated.get("suitability_level")),
        literacy_score=_number(stated.get("literacy_score")),
        bureau_status=np.array([stated.get("bureau_status")], dtype=object),
        kyc_verified_on=_date(stated.get("kyc_verified_on")),
        kyc_expires_on=_date(stated.get("kyc_expires_on")),
        pep=np.array([bool(stated.get("pep"))]),
        sanctioned=np.array([bool(stated.get("sanctioned"))]),
        aml_level=np.array([stated.get("aml_level")], dtype=object),
        automated_decision_refused=np.array([bool(stated.get("automated_decision_refused"))]),
    )
    book = cast(BookAsOf, _Stated(session, kyc))
    row = np.full(len(names), NULL, dtype=np.int64)
    outside: list[tuple[str, float]] = []
    for k, name in enumerate(names):
        feature = REGISTRY.get(name)
        if feature is not None and feature.group == "kyc":
            row[k] = feature.values(book)[0]
            raw = float(feature.function(book)[0])
            if not math.isnan(raw) and not feature.low <= raw <= feature.high:
                outside.append((name, raw))
    return row, outside
