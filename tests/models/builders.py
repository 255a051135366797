"""Small inputs of ``decide``: a hand-made bundle, two markets, and strategies for clients."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from data_contracts.case import (
    Book,
    Case,
    Holding,
    Loan,
    MarginState,
    Previous,
    RelatedGroup,
    Request,
    Status,
)
from data_contracts.decision import Decision
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import SUSPENDED, MarketSnapshot, ScenarioPaths
from data_contracts.units import LOG_ODDS_ONE, NULL, PROB_ONE, RATIO_ONE, IntArray
from models.bundle import Bundle
from models.calibration import Calibration
from models.decide import decide
from models.policy import Policy, load_pack
from models.scorer import AdditiveTables
from models.scorer.tables import explained_effect

SESSION = dt.date(2024, 3, 15)
EFFECTIVE = dt.date(2024, 3, 18)
KNOWN_AT = dt.datetime(2024, 3, 15, 10, tzinfo=dt.UTC)
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "NOPRICE")
ONE = LOG_ODDS_ONE
FEATURES: tuple[tuple[str, str, int], ...] = (
    ("debt_to_assets", "leverage", 1),
    ("cash_share", "liquidity", -1),
    ("trades_per_day", "trading", 0),
    ("calls_250", "history", 1),
)


def _array(values: Any) -> IntArray:
    return np.array(values, dtype=np.int64)


def _tables() -> AdditiveTables:
    """Four features, two of them in a pair; every table in the declared direction."""
    effects = []
    shapes: list[tuple[tuple[int, ...], list[list[int]], Any]] = [
        ((0,), [[10, 20, 30]], [0, -2, -1, 0, 2]),
        ((1,), [[5, 50]], [1, 1, 0, -1]),
        ((2,), [[0]], [0, 1, -1]),
        ((0, 3), [[15], [0, 2]], [[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 2, 4]]),
    ]
    for features, splits, cells in shapes:
        score = _array(cells) * (ONE // 2) + 7
        counts = np.ones(score.shape, dtype=np.int64)
        effects.append(explained_effect(features, tuple(_array(s) for s in splits), score, counts))
    return AdditiveTables("default_60", len(FEATURES), -4 * ONE, tuple(effects))


def make_bundle() -> Bundle:
    """The hand-made bundle: scores from about -7 to +1 log-odds, tiers 1 to 7 all reachable."""
    knots = np.arange(-9, 4, dtype=np.int64) << 20
    pd = (1e9 / (1.0 + np.exp(-np.arange(-9.0, 4.0)))).astype(np.int64)
    return Bundle(
        head=_tables(),
        calibration=Calibration(
            knots, pd, pd // 2, np.minimum(pd * 11 // 10, PROB_ONE), pd // 3, 9, True, "by hand"
        ),
        tier_edges=_array([3, 5, 8, 20, 60, 200]) * 1_000_000,
        features={
            "feature_set": "test/1",
            "feature_set_sha256": "ab" * 32,
            "features": [
                {"name": n, "family": f, "direction": d, "en": n, "zh": n} for n, f, d in FEATURES
            ],
        },
        reference={"sha256": "cd" * 32, "rows": 4},
    )


def make_market(kind: str = "us", **changes: Any) -> MarketSnapshot:
    """Five names: ordinary, index, special treatment, not marginable, unpriced."""
    rng = np.random.default_rng(5)
    common = rng.normal(0.0, 0.06, size=(200, 1))
    moves = np.clip(common + rng.normal(0.0, 0.05, size=(200, 5)), -0.9, 0.9)
    base = MarketSnapshot(
        session=SESSION,
        mic="XNYS" if kind == "us" else "XSHG",
        currency="USD" if kind == "us" else "CNY",
        symbols=SYMBOLS,
        board=("main",) * 5,
        price=_array([100_000, 523_700, 33_333, 1_234_500, NULL]),
        price_limit=_array([NULL] * 5 if kind == "us" else [100_000] * 5),
        haircut=_array([650_000, 900_000, 500_000, 333_333, NULL]),
        security_margin=_array([300_000, 250_000, 700_000, 450_001, 1_000_000]),
        gap_loss=_array([200_000, 150_000, 333_333, 300_000, 950_000]),
        expected_sale_shares=_array([NULL] * 5),
        margin_eligible=np.array([True, True, True, False, True]),
        collateral_eligible=np.array([True, True, True, True, False]),
        special_treatment=np.array([False, False, True, False, False]),
        suspended=np.zeros(5, dtype=bool),
        scenarios=np.floor(moves * RATIO_ONE).astype(np.int32),
        funding_bps=300,
        net_capital_amt=10**15,
        headroom_amt=10**13,
        utilisation=500_000,
        tier_shift_bps=(-20, -10, 0, 0, 10, 30, 60),
        paths=make_paths(5),
    )
    return replace(base, **changes)


def make_paths(names: int, paths: int = 64, sessions: int = 20, seed: int = 8) -> ScenarioPaths:
    """A drawn scenario set: falls in common, a few suspensions, tilted weights."""
    rng = np.random.default_rng(seed)
    window = 120
    moves = rng.normal(0.0, 0.02, (1, window)) + rng.normal(0.0, 0.02, (names, window))
    micro = np.rint(np.clip(moves, -0.5, 0.5) * RATIO_ONE).astype(np.int32)
    micro[rng.random(micro.shape) < 0.02] = SUSPENDED
    weight = rng.uniform(0.2, 1.8, paths)
    stress = np.where(np.arange(paths) % 8 == 0, weight, 0.0)

    def mean_one(values: Any) -> IntArray:
        return _array(np.rint(values / values.mean() * RATIO_ONE))

    return ScenarioPaths(
        moves=micro,
        limit=np.full(names, 100_000, dtype=np.int64),
        days=rng.integers(0, window, (paths, sessions)).astype(np.int32),
        weight=mean_one(weight),
        stress_weight=mean_one(stress),
        year_rise=0,
    )


def make_policy(pack: str = "us", effective_on: dt.date = EFFECTIVE) -> Policy:
    """The shipped pack on the effective date of these tests."""
    return load_pack(pack).on(effective_on)


def under(policy: Policy, **values: int | list[int]) -> Policy:
    """The policy with other values of some rules: one, or one a tier."""
    changed = {
        n: replace(policy.in_force[n], values=tuple(v) if isinstance(v, list) else (v,))
        for n, v in values.items()
    }
    return replace(policy, in_force={**policy.in_force, **changed})


def make_loan(outstanding_amt: int, **changes: Any) -> Loan:
    """An open contract without financed shares, unless told otherwise."""
    base = Loan(
        contract_id="k1",
        symbol=None,
        kind="margin_loan",
        opened_on=dt.date(2024, 1, 2),
        due_on=None,
        quantity_shares=None,
        outstanding_amt=outstanding_amt,
        accrued_amt=0,
        ratio_at_opening=800_000,
        rate_bps=600,
        rule_pack="us",
    )
    return replace(base, **changes)


CLEAR = Status(kyc_expires_on=dt.date(2030, 1, 1), suitability_level=4)


def make_case(client_id: str = "c1", **changes: Any) -> Case:
    """A clear client with 100,000 in cash-like shares, in dollars."""
    base = Case(
        request=Request("nightly", "run-1"),
        client_id=client_id,
        account_id=f"a-{client_id}",
        currency="USD",
        as_of=SESSION,
        known_at=KNOWN_AT,
        status=CLEAR,
        book=Book(1_000_000, (Holding("AAA", 5_000), Holding("BBB", 1_000)), (make_loan(500_000),)),
    )
    return replace(base, **changes)


def make_frame(bundle: Bundle, clients: list[str], values: Any) -> FeatureFrame:
    """A frame of the bundle's feature set."""
    return FeatureFrame(
        bundle.features["feature_set"],
        bundle.feature_set_sha256,
        bundle.names,
        tuple(clients),
        SESSION,
        _array(values).reshape(len(clients), len(bundle.names)),
    )


def currency_of(kind: str) -> str:
    """Currency of a market of these tests."""
    return "USD" if kind == "us" else "CNY"


BUNDLE = make_bundle()
MARKETS = {"us": make_market("us"), "cn": make_market("cn")}
POLICIES = {"us": make_policy("us"), "cn": make_policy("cn")}
TYPICAL = (12, 30, 1, 0)


def decided(case: Case, kind: str = "us", values: Any = TYPICAL, **market: Any) -> Decision:
    """The decision on one case with the shared bundle."""
    used = replace(MARKETS[kind], **market) if market else MARKETS[kind]
    case = replace(case, currency=currency_of(kind))
    return decide(case, make_frame(BUNDLE, [case.client_id], values), BUNDLE, POLICIES[kind], used)


# --- strategies -----------------------------------------------------------------------------

amounts = st.one_of(
    st.integers(0, 50_000_000), st.integers(0, 10**11), st.just(0), st.just(2 * 10**12)
)
feature_rows = st.lists(st.one_of(st.integers(-5, 60), st.just(NULL)), min_size=4, max_size=4).map(
    tuple
)


@st.composite
def loans(draw: st.DrawFn, position: Holding | None, number: int) -> Loan:
    """A contract; with a position it finances some of its shares."""
    return make_loan(
        draw(amounts) // 4,
        contract_id=f"k{number}",
        symbol=position.symbol if position else None,
        quantity_shares=draw(st.integers(0, position.quantity_shares)) if position else None,
        accrued_amt=draw(st.integers(0, 100_000)),
        ratio_at_opening=draw(st.sampled_from([500_000, 800_000, 1_000_000, 1_200_000])),
    )


@st.composite
def books(draw: st.DrawFn, owes: bool = True) -> Book:
    """A book whose contracts finance no more shares than it holds."""
    symbols = draw(st.lists(st.sampled_from((*SYMBOLS, "UNKNOWN")), unique=True, max_size=5))
    shares = st.one_of(st.integers(0, 20_000), st.integers(0, 10**8))
    positions = tuple(Holding(s, draw(shares)) for s in symbols)
    contracts = []
    if owes:
        backed = [p for p in positions if draw(st.booleans())]
        contracts = [draw(loans(p, k)) for k, p in enumerate([*backed, None])]
    cash = draw(st.one_of(amounts, st.integers(-3_000_000, 0)))
    return Book(cash, positions, tuple(contracts))


previous_decisions = st.builds(
    Previous,
    soft_cap_amt=st.one_of(st.just(0), st.integers(1, 10**12)),
    rate_bps=st.integers(300, 1600),
    tier=st.integers(1, 7),
    candidate_tier=st.integers(1, 7),
    candidate_sessions=st.integers(0, 6),
    month_change_bps=st.integers(-50, 50),
    quarter_changes=st.integers(0, 3),
    sessions_since=st.sampled_from([1, 1, 2, 5, 300]),
)
margin_states: st.SearchStrategy[MarginState] = st.sampled_from(
    ("clear", "called", "overdue", "defaulted")
)
statuses = st.builds(
    Status,
    kyc_expires_on=st.sampled_from([None, EFFECTIVE, SESSION, dt.date(2030, 1, 1)]),
    suitability_level=st.sampled_from([None, 1, 2, 3, 4, 5]),
    pep=st.booleans(),
    sanctioned=st.booleans(),
    aml_level=st.sampled_from(["low", "medium", "high"]),
    automated_decision_refused=st.booleans(),
    margin_state=margin_states,
)


@st.composite
def cases(draw: st.DrawFn, client_id: str = "c1", kind: str = "us") -> Case:
    """A case with everything a case may have."""
    others = draw(st.lists(books(), max_size=2))
    return Case(
        request=Request("nightly", "run-1", draw(st.none() | amounts)),
        client_id=client_id,
        account_id="a1",
        currency=currency_of(kind),
        as_of=SESSION,
        known_at=KNOWN_AT,
        status=draw(st.one_of(st.just(CLEAR), statuses)),
        book=draw(books()),
        group=RelatedGroup("g1", tuple(others), draw(st.none() | st.integers(1, 7)))
        if draw(st.booleans())
        else None,
        previous=draw(st.none() | previous_decisions),
    )
