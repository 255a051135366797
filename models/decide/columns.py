"""The columnar form of ``decide``: many clients of one session at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.case import TIERS, Case
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, PROB_ONE, RATIO_ONE, IntArray
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.decide.cases import CaseColumns, case_columns
from models.decide.gates import APPROVE, DECLINE, REFER, GateColumns, gates
from models.margin.book import BookColumns
from models.margin.cap import CapColumns, cap_waterfall
from models.margin.exact import over, part
from models.margin.limits import (
    LINES,
    NO_LIMIT,
    BookLimits,
    account_lines,
    book_limits,
    maintenance_of,
    tail_loss,
)
from models.margin.paths import PathRisk, path_risk
from models.policy import Policy, refuse_without_law
from models.price.capital import CapitalColumns, capital_columns
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

    columns: CaseColumns
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
    gate: GateColumns
    outcome: IntArray
    unpriced: IntArray
    capital: CapitalColumns

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that were decided on."""
        return self.columns.cases


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


@dataclass(frozen=True)
class Losses:
    """The structural part of decisions, found before: joint tail losses and what books survive.

    Attributes
    ----------
    own, pooled : int64, minor units; ``own`` has one a client, ``pooled`` one a row with a related
        group, in order
    own_paths, pooled_paths : the same books on the night's scenario set, at every tier's chance
    """

    own: IntArray
    pooled: IntArray | None
    own_paths: PathRisk
    pooled_paths: PathRisk | None


def tier_share(tier: IntArray, policy: Policy) -> IntArray:
    share = np.array([*policy.vector("tier_cap_ratio"), 0], dtype=np.int64)
    return share[tier - 1]


def _group_terms(
    c: CaseColumns,
    own: BookLimits,
    tier: IntArray,
    policy: Policy,
    market: MarketSnapshot,
    losses: Losses | None,
) -> IntArray:
    """Each client's part of what its related group supports together, ``NO_LIMIT`` without a group.

    The pooled book is limited like one client's, under the worst tier of the group, whose share and
    whose chance of a forced sale count, and then shared by equity, rounded down: so no split of a
    client into members can raise the total. A group is a retail client, whatever one of its members
    is: the others may be.
    """
    out = np.full(len(c), NO_LIMIT, dtype=np.int64)
    if c.groups is None:
        return out
    rows, pool, others = c.groups.rows, c.groups.pool, c.groups.others
    limits = book_limits(
        pool,
        market,
        policy,
        loss=None if losses is None else losses.pooled,
        paths=None if losses is None else losses.pooled_paths,
        tier=tier[rows],
        buying=c.symbol[rows],
        day_trader=c.day_trader[rows],
    )
    invested = others.per_book(others.holding_value, others.holding_book)
    others_equity = np.maximum(invested + others.cash - others.owed, 0)
    equity_of_others = np.add.reduceat(others_equity, c.groups.first)
    behavioural = part(limits.structural, tier_share(tier[rows], policy))
    firm = firm_limit(pool.debt, market, policy)
    whole = np.minimum.reduce(
        [limits.statutory, limits.line, limits.concentration, behavioural, firm]
    )
    mine = np.maximum(own.equity[rows], 0)
    total = mine + equity_of_others
    share = np.where(total > 0, over(mine, np.maximum(total, 1)), 0)
    out[rows] = part(np.maximum(whole, 0), share)
    return out


def firm_limit(debt: IntArray, market: MarketSnapshot, policy: Policy) -> IntArray:
    """What the lender's capital and what is left of its quota allow, given the debt there is."""
    single = market.net_capital_amt * policy["single_client_capital_ratio"] // RATIO_ONE
    headroom = min(max(market.headroom_amt, 0), NO_LIMIT)
    return np.minimum(min(max(single, 0), NO_LIMIT), debt + headroom)


def structural_losses(c: CaseColumns, market: MarketSnapshot, policy: Policy) -> Losses:
    """The structural part of many clients: their books' tail losses, and what they survive."""
    return losses_of(c.book, None if c.groups is None else c.groups.pool, market, policy)


def losses_of(
    own: BookColumns, pool: BookColumns | None, market: MarketSnapshot, policy: Policy
) -> Losses:
    """The same from the clients' books, and those of their related groups."""
    tail = policy["tail_ratio"]
    return Losses(
        tail_loss(own, market, tail),
        None if pool is None else tail_loss(pool, market, tail),
        path_risk(own, market, policy),
        None if pool is None else path_risk(pool, market, policy),
    )


def losses_to_arrays(losses: Losses) -> dict[str, IntArray]:
    """The structural part as named arrays, to put away; ``losses_from_arrays`` reads them."""
    none = np.zeros(0, dtype=np.int64)
    return {
        "structural_own": losses.own,
        "structural_own_paths": losses.own_paths.table,
        "structural_pooled": none if losses.pooled is None else losses.pooled,
        "structural_pooled_paths": none
        if losses.pooled_paths is None
        else losses.pooled_paths.table,
        "structural_paths": np.array(losses.own_paths.paths, dtype=np.int64),
    }


def losses_from_arrays(arrays: Mapping[str, IntArray]) -> Losses:
    """The structural part as it was put away."""
    paths = int(arrays["structural_paths"])
    pooled = arrays["structural_pooled"] if arrays["structural_pooled_paths"].size else None
    return Losses(
        arrays["structural_own"],
        pooled,
        PathRisk.of(arrays["structural_own_paths"], paths),
        None if pooled is None else PathRisk.of(arrays["structural_pooled_paths"], paths),
    )


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
    refuse_without_law(policy)
    check_inputs(cases, features, bundle, policy, market)
    return decide_prepared(case_columns(cases, market), features, bundle, policy, market)


def decide_prepared(
    c: CaseColumns,
    features: FeatureFrame,
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
    losses: Losses | None = None,
    scores: tuple[IntArray, IntArray] | None = None,
) -> DecisionColumns:
    """The same on cases that are columns of this market already, inputs checked by the caller.

    ``losses`` is the structural part where it was found before; else it is found here. ``scores``
    takes the arrays that score and attributions are written to.
    """
    refuse_without_law(policy)
    score, attributions = bundle.head.score_and_attributions(features.values, out=scores)
    pd, pd_low, pd_high = bundle.calibration.of_score(score)
    gate = gates(c, policy)
    defaulted = gate.closed["gate_defaulted"]
    account = account_lines(c.book, market, policy, buying=c.symbol, professional=c.professional)
    call_line = account.lines[:, LINES.index("call")]
    maintenance = maintenance_of(c.book)
    below_call = (maintenance != NULL) & (maintenance < call_line)
    breached = defaulted | below_call | gate.closed["gate_call_open"]
    own_tier = tier_of_pd(pd, bundle.tier_edges)
    # a client in default is priced as one, whatever the score says of the year to come
    pd, pd_low, pd_high = (np.where(defaulted, PROB_ONE, p) for p in (pd, pd_low, pd_high))
    raw = np.maximum(own_tier, np.minimum(c.worst_tier, TIERS[-1]))
    since = np.minimum(c.previous["sessions_since"], LONGEST_WAIT_SESSIONS)
    tiers = tiers_with_hysteresis(
        raw,
        c.has_previous,
        c.previous["tier"],
        c.previous["candidate_tier"],
        c.previous["candidate_sessions"],
        since,
        policy["hysteresis_sessions"],
        breached,
        defaulted,
    )

    books = book_limits(
        c.book,
        market,
        policy,
        loss=None if losses is None else losses.own,
        paths=None if losses is None else losses.own_paths,
        tier=tiers.tier,
        account=account,
        buying=c.symbol,
        day_trader=c.day_trader,
        professional=c.professional,
    )
    firm = np.where(gate.outcome == DECLINE, 0, firm_limit(c.book.debt, market, policy))
    cap = cap_waterfall(
        statutory=books.statutory,
        line=books.line,
        concentration=books.concentration,
        group=_group_terms(c, books, tiers.tier, policy, market, losses),
        firm=firm,
        structural=books.structural,
        behavioural=part(books.structural, tier_share(tiers.tier, policy)),
        override=np.where(c.override == NULL, NO_LIMIT, c.override),
        loosened=c.loosened,
        equity=books.equity,
        previous_soft=c.previous["soft_cap_amt"],
        sessions_since=since,
        step_up_ratio=policy["step_up_ratio"],
        step_down_ratio=policy["step_down_ratio"],
        breached=breached,
    )

    lgd = loss_given_default(books.portfolio_gap, policy, call_line)
    ead = exposure_at_default(c.book.debt, cap.cap, policy)
    capital = capital_columns(c.book, books, pd, lgd, market, policy)
    rate = rates(
        pd=pd,
        lgd=lgd,
        femto=capital.femto,
        tier=tiers.tier,
        previous_rate=c.previous["rate_bps"],
        month_change_bps=c.previous["month_change_bps"],
        quarter_changes=c.previous["quarter_changes"],
        sessions_since=since,
        market=market,
        policy=policy,
    )
    asked_more = (c.requested != NULL) & (c.requested > cap.cap)
    outcome = np.maximum(gate.outcome, np.where(asked_more, REFER, APPROVE))
    priced = c.book.holding_symbol >= 0
    if len(market.symbols):
        priced &= market.price[np.maximum(c.book.holding_symbol, 0)] != NULL
    unpriced = np.bincount(c.book.holding_book[~priced], minlength=len(c)).astype(np.int64)
    assert bool(np.all(tiers.tier <= DEFAULT_TIER))
    return DecisionColumns(
        c, features, bundle, policy, market,
        score, attributions, pd, pd_low, pd_high, lgd, ead, expected_loss_amt(pd, lgd, ead),
        c.book.debt, tiers, books, cap, rate, gate, outcome, unpriced, capital,
    )  # fmt: skip
