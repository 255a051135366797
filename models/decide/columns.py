"""The columnar form of ``decide``: many clients of one session at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.case import TIERS, Book, Case
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, PROB_ONE, RATIO_ONE, IntArray
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.decide.gates import APPROVE, DECLINE, REFER, gates
from models.margin.book import book_columns, pooled
from models.margin.cap import CapColumns, cap_waterfall
from models.margin.exact import over, part
from models.margin.limits import NO_LIMIT, BookLimits, book_limits
from models.policy import Policy
from models.price.rate import (
    RateColumns,
    expected_loss_amt,
    exposure_at_default,
    loss_given_default,
    rates,
)
from models.tiers import DEFAULT_TIER, TierColumns, tiers_with_hysteresis

LONGEST_WAIT_SESSIONS: Final = 10_000
"""Forty years without a decision: every step bound is open long before."""


@dataclass(frozen=True)
class DecisionColumns:
    """Decisions of N clients as integer columns, with the five inputs they came from.

    ``score`` and ``attributions`` are in 2**-40, ``pd*`` in 1e-9, ``lgd`` in 1e-6, money in minor
    units; ``tier`` 8 is D; ``outcome`` indexes ``OUTCOMES``. ``models.decide.body`` turns a row
    into a canonical decision.
    """

    cases: tuple[Case, ...]
    features: FeatureFrame
    bundle: Bundle
    policy: Policy
    market: MarketSnapshot
    score: IntArray
    attributions: IntArray
    pd: IntArray
    pd_low: IntArray
    pd_high: IntArray
    lgd: IntArray
    ead_amt: IntArray
    expected_loss_amt: IntArray
    debt_amt: IntArray
    tiers: TierColumns
    books: BookLimits
    cap: CapColumns
    rate: RateColumns
    outcome: IntArray
    unpriced: IntArray

    def __len__(self) -> int:
        return len(self.cases)


def check_inputs(
    cases: Sequence[Case],
    features: FeatureFrame,
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
) -> None:
    """Refuse inputs that do not belong together, naming the two values that differ."""
    if len(cases) != len(features.client_ids):
        raise InputError(f"{len(cases)} cases but {len(features.client_ids)} rows of features")
    if features.names != bundle.names or features.feature_set_sha256 != bundle.feature_set_sha256:
        raise InputError(
            f"the features are of set {features.feature_set} ({features.feature_set_sha256[:12]}),"
            f" the bundle was fitted on {bundle.features['feature_set']}"
            f" ({bundle.feature_set_sha256[:12]}); build the features of the bundle's set or train"
            " again"
        )
    for case, client in zip(cases, features.client_ids, strict=True):
        if case.client_id != client:
            raise InputError(
                f"the case of client {case.client_id} meets the features of client {client}"
            )
        if case.as_of != market.session or case.as_of != features.as_of:
            raise InputError(
                f"client {client}: the case is as of {case.as_of}, the features of"
                f" {features.as_of}, the market snapshot of {market.session}; they must be one"
                " session"
            )
        if not case.currency == policy.currency == market.currency:
            raise InputError(
                f"client {client}: the case is in {case.currency}, policy pack {policy.pack!r} in"
                f" {policy.currency}, the market in {market.currency}; they must be one currency"
            )
    if policy.effective_on <= market.session:
        raise InputError(
            f"a decision as of {market.session} is effective from the next session,"
            f" not {policy.effective_on}"
        )


def _optional(values: list[int | None]) -> IntArray:
    return np.array([NULL if v is None else v for v in values], dtype=np.int64)


def _previous(cases: Sequence[Case], name: str, default: int) -> IntArray:
    return np.array(
        [default if c.previous is None else getattr(c.previous, name) for c in cases],
        dtype=np.int64,
    )


def _tier_share(tier: IntArray, policy: Policy) -> IntArray:
    share = np.array([*policy.vector("tier_cap_ratio"), 0], dtype=np.int64)
    return share[tier - 1]


def _group_terms(
    cases: Sequence[Case],
    own: BookLimits,
    tier: IntArray,
    policy: Policy,
    market: MarketSnapshot,
) -> IntArray:
    """Each client's part of what its related group supports together, ``NO_LIMIT`` without a group.

    The pooled book is limited like one client's, under the worst tier of the group, and then shared
    by equity, rounded down: so no split of a client into members can raise the total.
    """
    out = np.full(len(cases), NO_LIMIT, dtype=np.int64)
    grouped = [k for k, c in enumerate(cases) if c.group is not None and c.group.others]
    if not grouped:
        return out
    together: list[Book] = []
    all_books: list[Book] = []
    first: list[int] = []
    called: list[str] = []
    for k in grouped:
        group = cases[k].group
        assert group is not None
        client = f"client {cases[k].client_id}"
        together.append(pooled(cases[k].book, group.others, client))
        first.append(len(all_books))
        all_books.extend(group.others)
        called.extend([f"{client}: a member of the related group"] * len(group.others))
    pool = book_columns(
        together, market, [f"client {cases[k].client_id}: the related group" for k in grouped]
    )
    limits = book_limits(pool, market, policy)
    others = book_columns(all_books, market, called)
    invested = others.per_book(others.holding_value, others.holding_book)
    others_equity = np.maximum(invested + others.cash - others.owed, 0)
    equity_of_others = np.add.reduceat(others_equity, np.array(first))
    rows = np.array(grouped)
    behavioural = part(limits.structural, _tier_share(tier[rows], policy))
    firm = _firm_limit(pool.debt, market, policy)
    whole = np.minimum.reduce(
        [limits.statutory, limits.line, limits.concentration, behavioural, firm]
    )
    mine = np.maximum(own.equity[rows], 0)
    total = mine + equity_of_others
    share = np.where(total > 0, over(mine, np.maximum(total, 1)), 0)
    out[rows] = part(np.maximum(whole, 0), share)
    return out


def _firm_limit(debt: IntArray, market: MarketSnapshot, policy: Policy) -> IntArray:
    """What the lender's capital and what is left of its quota allow, given the debt there is."""
    single = market.net_capital_amt * policy["single_client_capital_ratio"] // RATIO_ONE
    headroom = min(max(market.headroom_amt, 0), NO_LIMIT)
    return np.minimum(min(max(single, 0), NO_LIMIT), debt + headroom)


def decide_columns(
    cases: Sequence[Case],
    features: FeatureFrame,
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
) -> DecisionColumns:
    """Decide on many clients of one session.

    A row depends on no other row: any split of the clients into calls gives the same decisions.

    Raises
    ------
    InputError
        If the inputs do not belong together, or an amount is beyond what a decision can hold.
    """
    check_inputs(cases, features, bundle, policy, market)
    n = len(cases)
    score, attributions = bundle.head.score_and_attributions(features.values)
    pd, pd_low, pd_high = bundle.calibration.of_score(score)
    columns = book_columns(
        [c.book for c in cases], market, [f"client {c.client_id}" for c in cases]
    )
    books = book_limits(columns, market, policy)

    state = [c.status.margin_state for c in cases]
    defaulted = np.array([s in ("overdue", "defaulted") for s in state], dtype=bool)
    below_call = (books.maintenance != NULL) & (books.maintenance < policy["call_line_ratio"])
    breached = defaulted | below_call | np.array([s == "called" for s in state], dtype=bool)
    has_previous = np.array([c.previous is not None for c in cases], dtype=bool)
    own_tier = tier_of_pd(pd, bundle.tier_edges)
    # a client in default is priced as one, whatever the score says of the year to come
    pd, pd_low, pd_high = (np.where(defaulted, PROB_ONE, p) for p in (pd, pd_low, pd_high))
    worst = np.array([(c.group.worst_tier or 1) if c.group else 1 for c in cases], dtype=np.int64)
    raw = np.maximum(own_tier, np.minimum(worst, TIERS[-1]))
    since = np.minimum(_previous(cases, "sessions_since", 1), LONGEST_WAIT_SESSIONS)
    tiers = tiers_with_hysteresis(
        raw,
        has_previous,
        _previous(cases, "tier", 1),
        _previous(cases, "candidate_tier", 1),
        _previous(cases, "candidate_sessions", 0),
        since,
        policy["hysteresis_sessions"],
        breached,
        defaulted,
    )

    outcome = np.array([gates(c, policy)[0] for c in cases], dtype=np.int64)
    firm = np.where(outcome == DECLINE, 0, _firm_limit(columns.debt, market, policy))
    override = _optional([c.override.max_debt_amt if c.override else None for c in cases])
    cap = cap_waterfall(
        statutory=books.statutory,
        line=books.line,
        concentration=books.concentration,
        group=_group_terms(cases, books, tiers.tier, policy, market),
        firm=firm,
        structural=books.structural,
        behavioural=part(books.structural, _tier_share(tiers.tier, policy)),
        override=np.where(override == NULL, NO_LIMIT, override),
        equity=books.equity,
        previous_soft=_previous(cases, "soft_cap_amt", NULL),
        sessions_since=since,
        step_up_ratio=policy["step_up_ratio"],
        step_down_ratio=policy["step_down_ratio"],
        breached=breached,
    )

    lgd = loss_given_default(books.portfolio_gap, policy)
    ead = exposure_at_default(columns.debt, cap.cap, policy)
    rate = rates(
        pd=pd,
        lgd=lgd,
        tier=tiers.tier,
        previous_rate=_previous(cases, "rate_bps", NULL),
        month_change_bps=_previous(cases, "month_change_bps", 0),
        quarter_changes=_previous(cases, "quarter_changes", 0),
        sessions_since=since,
        market=market,
        policy=policy,
    )
    requested = _optional([c.request.requested_debt_amt for c in cases])
    outcome = np.maximum(
        outcome, np.where((requested != NULL) & (requested > cap.cap), REFER, APPROVE)
    )
    priced = columns.holding_symbol >= 0
    if len(market.symbols):
        priced &= market.price[np.maximum(columns.holding_symbol, 0)] != NULL
    unpriced = np.zeros(n, dtype=np.int64)
    np.add.at(unpriced, columns.holding_book[~priced], 1)
    assert bool(np.all(tiers.tier <= DEFAULT_TIER))
    return DecisionColumns(
        tuple(cases), features, bundle, policy, market,
        score, attributions, pd, pd_low, pd_high, lgd, ead, expected_loss_amt(pd, lgd, ead),
        columns.debt, tiers, books, cap, rate, outcome, unpriced,
    )  # fmt: skip
