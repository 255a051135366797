"""What the client stated and what a bureau says; needs no account."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import MINOR_PER_UNIT, RATIO_ONE, FloatArray
from features.arithmetic import ratio, real
from features.book import BookAsOf
from features.declare import feature

HIGHEST_AMT: Final = 1e9
"""Stated amounts above a billion currency units tell no more."""
BUREAU_RISK: Final = {"clear": 0, "thin": 1, "minor": 2, "major": 3}
"""A thin file ranks between a clear and a blemished one."""


@feature(
    unit="account currency", one=MINOR_PER_UNIT, direction=-1, family="kyc", group="kyc",
    window_sessions=0, low=0, high=HIGHEST_AMT, missing="income not stated",
    en="Stated yearly income", zh="申报年收入", evidence="credit-scoring norm; Thomas 2000",
)  # fmt: skip
def declared_income_amt(book: BookAsOf) -> FloatArray:
    """Yearly income the client stated, in currency units."""
    return real(book.kyc.income_amt) / MINOR_PER_UNIT


@feature(
    unit="account currency", one=MINOR_PER_UNIT, direction=-1, family="kyc", group="kyc",
    window_sessions=0, low=-HIGHEST_AMT, high=HIGHEST_AMT, missing="net worth not stated",
    en="Stated net worth", zh="申报净资产", evidence="An, Lou & Shi 2022 (wealth and crash losses)",
)  # fmt: skip
def declared_net_worth_amt(book: BookAsOf) -> FloatArray:
    """Net worth the client stated, in currency units; may be negative."""
    return real(book.kyc.net_worth_amt) / MINOR_PER_UNIT


@feature(
    unit="account currency", one=MINOR_PER_UNIT, direction=-1, family="kyc", group="kyc",
    window_sessions=0, low=0, high=HIGHEST_AMT, missing="liquid assets not stated",
    en="Stated liquid assets", zh="申报流动资产", evidence="FINRA Rule 2111 (liquidity needs)",
)  # fmt: skip
def declared_liquid_assets_amt(book: BookAsOf) -> FloatArray:
    """Liquid assets outside the account that the client stated, in currency units."""
    return real(book.kyc.liquid_assets_amt) / MINOR_PER_UNIT


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=-1, family="kyc", group="kyc",
    window_sessions=0, low=0, high=1,
    missing="liquid assets or net worth not stated, or net worth not above 0",
    en="Liquid share of net worth", zh="流动资产占净资产比", evidence="FINRA Rule 2111",
)  # fmt: skip
def liquid_share_of_net_worth_ratio(book: BookAsOf) -> FloatArray:
    """Stated liquid assets over stated net worth."""
    return ratio(real(book.kyc.liquid_assets_amt), real(book.kyc.net_worth_amt))


@feature(
    unit="years of income", one=RATIO_ONE, direction=0, family="kyc", group="kyc",
    window_sessions=0, low=-100, high=100,
    missing="net worth or income not stated, or income 0",
    en="Net worth in years of income", zh="净资产与年收入之比", evidence="credit-scoring norm",
)  # fmt: skip
def net_worth_to_income_ratio(book: BookAsOf) -> FloatArray:
    """Stated net worth over stated yearly income."""
    return ratio(real(book.kyc.net_worth_amt), real(book.kyc.income_amt))


@feature(
    unit="months", one=1, direction=-1, family="kyc", group="kyc",
    window_sessions=0, low=0, high=600, missing="experience not stated",
    en="Trading experience", zh="证券交易经验",
    evidence="CSRC margin trading rules 2015, art. 12 (half a year); Seru et al. 2010",
)  # fmt: skip
def experience_months(book: BookAsOf) -> FloatArray:
    """Months of securities trading the client stated or proved."""
    return real(book.kyc.experience_months)


@feature(
    unit="points", one=1, direction=-1, family="kyc", group="kyc",
    window_sessions=0, low=0, high=100, missing="no quiz taken",
    en="Margin quiz score", zh="融资知识测验得分",
    evidence="SEC DERA margin study; Lusardi & Mitchell 2014",
)  # fmt: skip
def literacy_score(book: BookAsOf) -> FloatArray:
    """Points in the margin quiz, 0 to 100."""
    return real(book.kyc.literacy_score)


@feature(
    unit="level", one=1, direction=-1, family="kyc", group="kyc",
    window_sessions=0, low=1, high=5, missing="no assessment",
    en="Risk-bearing level C1 to C5", zh="风险承受能力等级",
    evidence="CSRC suitability measures 2017",
)  # fmt: skip
def suitability_level(book: BookAsOf) -> FloatArray:
    """Risk-bearing level from the suitability assessment: 1 (C1, lowest) to 5 (C5)."""
    return real(book.kyc.suitability_level)


@feature(
    unit="rank", one=1, direction=1, family="kyc", group="kyc",
    window_sessions=0, low=0, high=3, missing="no bureau answer",
    en="Credit bureau risk", zh="征信风险等级",
    evidence="credit-scoring norm; CSRC suitability measures 2017",
)  # fmt: skip
def bureau_risk_rank(book: BookAsOf) -> FloatArray:
    """Credit bureau status as a rank: 0 clear, 1 thin file, 2 minor entries, 3 major entries."""
    known = [BUREAU_RISK.get(status, np.nan) for status in book.kyc.bureau_status.tolist()]
    return np.array(known, dtype=np.float64)


@feature(
    unit="calendar days", one=1, direction=0, family="kyc", group="kyc",
    window_sessions=0, low=0, high=3650, missing="never verified",
    en="Age of the KYC", zh="KYC 核验距今天数", evidence="FATF Recommendation 10 (up to date)",
)  # fmt: skip
def kyc_age_days(book: BookAsOf) -> FloatArray:
    """Calendar days from the last KYC verification to the as-of session."""
    days = np.datetime64(book.session, "D") - book.kyc.kyc_verified_on
    return np.where(np.isnat(days), np.nan, days.astype(np.float64))
