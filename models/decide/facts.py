"""What a decision says beyond its figures, in columns: which reasons hold, and their arguments.

The row form and the written form of a decision both read these, so that neither has a rule of its
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from data_contracts.units import RATIO_ONE, BoolArray, IntArray
from models.decide.columns import DecisionColumns
from models.decide.gates import DECLINE
from models.decide.kernel import largest_factors
from models.law import cfd, china, eligible, united_states
from models.margin.cap import CAP_TERMS
from models.margin.limits import LINES, BookLimits
from models.policy import CONTRACTS, Policy
from models.tiers import DEFAULT_TIER

PRINCIPAL_REASONS: Final = 4
LINE_NAMES: Final = LINES
BOUND_CODES: Final = (
    "bound_statutory", "bound_line", "bound_concentration", "bound_group", "bound_firm",
    "bound_structural", "bound_behavioural", "bound_step", "bound_override", "bound_house_ratio",
    "bound_paths",
)  # fmt: skip
"""One a term of the cap, in order, and what else ``structural`` may be: the house margin ratio, the
chance of a forced sale on the night's paths."""
OVERWEIGHT: Final = "concentration_margin"
"""Follows the bound where the largest holding raised the equity asked for."""
HOUSE: Final = len(CAP_TERMS)
PATHS: Final = HOUSE + 1
NOT_SAID: Final = -1
_STATUTORY: Final = {"reg_t": "initial_margin_ratio", "cn": "financing_margin_ratio"}
_CONSTANT, _FLOOR = "house_margin_ratio_constant_ratio", "house_margin_ratio_floor_ratio"


@dataclass(frozen=True)
class Facts:
    """Reasons of N decisions in columns.

    Attributes
    ----------
    above, over, provisional, unfinanced : bool, shape (N,): the request is above the limit, the
        debt is, there are no holdings, the name to buy may not be bought on margin
    bound : int64, position in ``BOUND_CODES``, ``NOT_SAID`` where the gate says it already
    reference : int64, position in ``references`` of the rule that a statutory or house bound names
    house_ratio, tier_share : int64, 1e-6
    overweight : bool, shape (N,): the largest holding raised the equity asked for, on which the
        limit rests
    family, feature : int64, shape (N, 4), the largest adverse families of attributions and the
        largest feature of each, -1 for none; ``attribution`` : their sums, 2**-40
    distance : int64, shape (N, 4), fall of asset value until each line, 1e-6
    """

    above: BoolArray
    over: BoolArray
    provisional: BoolArray
    unfinanced: BoolArray
    bound: IntArray
    reference: IntArray
    references: tuple[str, ...]
    house_ratio: IntArray
    tier_share: IntArray
    overweight: BoolArray
    families: tuple[str, ...]
    family: IntArray
    feature: IntArray
    attribution: IntArray
    distance: IntArray


@lru_cache(maxsize=16)
def _families(families: tuple[str, ...]) -> tuple[tuple[str, ...], IntArray]:
    names = tuple(sorted(set(families)))
    return names, np.array([names.index(f) for f in families], dtype=np.int64)


def _distances(books: BookLimits, policy: Policy) -> IntArray:
    if policy.kind == CONTRACTS:
        return cfd.falls(books.assets, books.equity, books.required, policy)
    most = np.maximum(books.maintenance, 1)[:, None]
    return np.asarray(RATIO_ONE - -(-books.lines * RATIO_ONE // most), dtype=np.int64)


def _references(d: DecisionColumns, house_ratio: IntArray) -> tuple[tuple[str, ...], IntArray]:
    """Where the rule behind a statutory or house bound is written, and which row has which."""
    policy = d.policy
    if policy.kind == CONTRACTS:
        c = d.columns
        which = cfd.opened_class(d.market, policy, c.symbol, c.professional)
        return tuple(policy.reference(cfd.margin_rule(n)) for n in cfd.CLASSES), which
    names = [_STATUTORY[policy.kind]]
    which = np.zeros(len(d), dtype=np.int64)
    if policy.kind == "reg_t":
        names += ["minimum_equity_amt", "day_trader_minimum_equity_amt"]
        least = united_states.least_equity(d.columns.book, policy, d.columns.day_trader)
        short = d.books.equity < least
        which = np.where(short, np.where(least > policy["minimum_equity_amt"], 2, 1), 0)
    else:
        names += [_CONSTANT, _FLOOR]
        # the floor says it, unless the formula asks for more
        own = np.where(house_ratio == policy[_FLOOR], 2, 1)
        house = (d.cap.binding == CAP_TERMS.index("structural")) & (
            d.books.house <= d.books.structural
        )
        which = np.where(house, own, 0)
    return tuple(policy.reference(n) if n in policy else "" for n in names), which


def facts(d: DecisionColumns) -> Facts:
    """The reasons of every row."""
    c, policy = d.columns, d.policy
    house_ratio = np.zeros(len(d), dtype=np.int64)
    if policy.kind == "cn":
        house_ratio += china.house_margin_ratios(d.market, policy, c.symbol)
    structural = d.cap.binding == CAP_TERMS.index("structural")
    by_house = d.books.house <= d.books.structural
    bound = np.where(structural & d.books.by_paths, PATHS, d.cap.binding)
    bound = np.where(structural & by_house, HOUSE, bound)
    # a tier's share is of what the holdings support, so what they ask for shows in it too
    rests = structural | (d.cap.binding == CAP_TERMS.index("behavioural"))
    # a client who is declined is told the gate, not the limit of zero that follows from it
    silent = (d.outcome == DECLINE) & (d.cap.binding == CAP_TERMS.index("firm"))
    share = np.array([*policy.vector("tier_cap_ratio"), 0], dtype=np.int64)
    assert len(share) == DEFAULT_TIER
    names, family_of = _families(d.bundle.families)
    family, feature, attribution = largest_factors(
        d.attributions, family_of, len(names), PRINCIPAL_REASONS
    )
    references, which = _references(d, house_ratio)
    return Facts(
        above=(c.requested >= 0) & (c.requested > d.cap.cap),
        over=d.debt_amt > d.cap.cap,
        provisional=d.books.invested == 0,
        unfinanced=eligible.shut(c.symbol, d.market, policy, c.professional),
        bound=np.where(silent, NOT_SAID, bound),
        reference=which,
        references=references,
        house_ratio=house_ratio,
        tier_share=share[d.tiers.tier - 1],
        overweight=rests & ~by_house & ~silent & (d.books.concentration_margin > 0),
        families=names,
        family=family,
        feature=feature,
        attribution=attribution,
        distance=_distances(d.books, policy),
    )


def reason_codes(d: DecisionColumns) -> tuple[tuple[str, ...], IntArray, IntArray]:
    """The codes of every row's reasons, in order: names, positions in them, and row offsets.

    Row ``k`` has the names at ``positions[offsets[k]:offsets[k + 1]]``.
    """
    said = facts(d)
    plain = {
        **d.gate.closed,
        "not_financed": said.unfinanced,
        "request_above_limit": said.above,
        "debt_above_limit": said.over,
        "unpriced_holding": d.unpriced > 0,
        "provisional": said.provisional,
    }
    names = (*plain, *BOUND_CODES, OVERWEIGHT, *(f"factor_{f}" for f in said.families))
    columns = [np.where(holds, k, -1) for k, holds in enumerate(plain.values())]
    bound, overweight = len(plain), len(plain) + len(BOUND_CODES)
    factor = overweight + 1
    columns.append(np.where(said.bound == NOT_SAID, -1, said.bound + bound))
    columns.append(np.where(said.overweight, overweight, -1))
    columns += [np.where(f < 0, -1, f + factor) for f in said.family.T]
    table = np.stack(columns, axis=1)
    given = table >= 0
    offsets = np.zeros(len(d) + 1, dtype=np.int64)
    np.cumsum(given.sum(axis=1), out=offsets[1:])
    return names, table[given], offsets
