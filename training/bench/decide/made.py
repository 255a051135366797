"""Made-up inputs of ``decide`` for ``bench decide``: a bundle, markets on the days that matter, cases.

Prices, books and features are drawn so that law and exchange rules bind often: margins are low,
scenarios mild, and every kind of oddity occurs (no price, nothing owed, more financed than held,
opening days on both sides of a change, groups, overrides, unknown features).
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.case import (
    Book,
    Case,
    Holding,
    Loan,
    Override,
    Previous,
    RelatedGroup,
    Request,
    Status,
)
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot, ScenarioPaths
from data_contracts.units import LOG_ODDS_ONE, NULL, PROB_ONE, RATIO_ONE, FloatArray, IntArray
from models.bundle import Bundle
from models.calibration import Calibration
from models.scorer import AdditiveTables
from models.scorer.tables import explained_effect

FAMILIES: Final = (
    "leverage", "concentration", "volatility", "liquidity", "trading", "history", "kyc", "market",
)  # fmt: skip
NAMES: Final = 24
BOARDS: Final = ("main", "main", "main", "star", "chinext", "bse", "etf", "treasury", "fund")
DAYS: Final = {
    "cn": (
        "2010-03-31", "2012-10-16", "2015-06-30", "2015-07-01", "2015-11-22", "2015-11-23",
        "2015-11-24", "2016-12-12", "2018-05-31", "2018-06-01", "2019-07-21", "2019-07-22",
        "2019-08-18", "2019-08-19", "2020-08-23", "2020-08-24", "2021-11-14", "2021-11-15", "2023-09-08",
        "2023-09-09", "2023-09-11", "2024-03-18", "2026-01-18", "2026-01-19", "2026-01-20",
        "2026-07-05", "2026-07-06", "2026-12-31",
    ),
    "us": (
        "1990-01-02", "2001-09-27", "2001-09-28", "2008-10-10", "2020-03-20", "2024-05-28",
        "2026-06-03", "2026-06-04", "2026-12-31",
    ),
    "eu-cfd": ("2018-08-01", "2019-07-31", "2019-08-01", "2022-03-15", "2026-12-31"),
    "uk-cfd": (
        "2018-08-01", "2019-07-31", "2019-08-01", "2021-01-05", "2021-01-06", "2022-03-15",
        "2026-12-31",
    ),
}  # fmt: skip
"""First days under a rule and the days before them, by pack."""
CHANGES: Final = (dt.date(2015, 11, 23), dt.date(2023, 9, 9), dt.date(2026, 1, 19))
CONTRACTS: Final = ("eu-cfd", "uk-cfd")
UNDERLYINGS: Final = (
    "fx_major", "fx_minor", "gold", "index_major", "index_minor", "commodity", "share",
    "government_bond", "crypto", "other", "unheard_of",
)  # fmt: skip
FIRST: Final = {
    "cn": dt.date(2010, 3, 31),
    "us": dt.date(1989, 1, 3),
    "eu-cfd": dt.date(2018, 8, 1),
    "uk-cfd": dt.date(2018, 8, 1),
}
CURRENCY: Final = {"cn": "CNY", "us": "USD", "eu-cfd": "EUR", "uk-cfd": "GBP"}
MIC: Final = {"cn": "XSHG", "us": "XNYS", "eu-cfd": "XOFF", "uk-cfd": "XOFF"}
RATIOS: Final = (0, 500_000, 800_000, 1_000_000, 1_000_000, 1_200_000)
POSTED: Final = (0, 33_334, 50_000, 100_000, 200_000, 500_000, 999_999, 1_000_000)
LARGE: Final = 10**14
WINDOW: Final = 250
PATHS, SESSIONS = 64, 20
"""Of the scenario sets on which law is looked at; speeds are of a night's own size."""


def made_bundle(features: int = 43, pairs: int = 30, seed: int = 1) -> Bundle:
    """A bundle of the size that a trained one has; all tiers are reached."""
    rng = np.random.default_rng(seed)
    effects = []

    def splits(n: int) -> IntArray:
        return np.sort(rng.choice(1000, n, replace=False)).astype(np.int64)

    shapes: list[tuple[int, ...]] = [(k,) for k in range(features)]
    shapes += [(k, k + 1) for k in range(pairs)]
    for which in shapes:
        cuts = tuple(splits(12 if len(which) == 1 else 6) for _ in which)
        # one bin more for an unknown value
        score = rng.normal(0.0, 0.25, size=tuple(len(c) + 2 for c in cuts)) * LOG_ODDS_ONE
        table = np.rint(score).astype(np.int64)
        effects.append(explained_effect(which, cuts, table, np.ones(table.shape, dtype=np.int64)))
    knots = np.arange(-12, 5, dtype=np.int64) << 20
    pd = (1e9 / (1.0 + np.exp(-np.arange(-12.0, 5.0)))).astype(np.int64)
    return Bundle(
        head=AdditiveTables("default_60", features, -6 * LOG_ODDS_ONE, tuple(effects)),
        calibration=Calibration(
            knots, pd, pd // 2, np.minimum(pd * 11 // 10, PROB_ONE), pd // 3, 9, True, "made"
        ),
        tier_edges=np.array([1, 2, 4, 8, 20, 60], dtype=np.int64) * 1_000_000,
        features={
            "feature_set": "made/1",
            "feature_set_sha256": "ab" * 32,
            "features": [
                {
                    "name": f"feature_{k:02d}",
                    "family": FAMILIES[k % len(FAMILIES)],
                    "direction": 1,
                    "en": f"Feature {k}",
                    "zh": f"特征{k}",
                }
                for k in range(features)
            ],
        },
        reference={"sha256": "cd" * 32, "rows": 1},
    )


def made_market(
    pack: str,
    effective_on: dt.date,
    seed: int,
    *,
    names: int = NAMES,
    scenarios: int = 20,
    paths: int = PATHS,
    sessions: int = SESSIONS,
) -> MarketSnapshot:
    """A snapshot of the eve of a day, with every kind of name."""
    rng = np.random.default_rng(seed)
    price = rng.integers(10_000, 1_000_000, names)
    price[0], price[1] = NULL, 0
    boards = {"cn": BOARDS, "us": ("main",)}.get(pack, UNDERLYINGS)
    board = tuple(boards[k % len(boards)] for k in range(names))
    special = np.zeros(names, dtype=bool)
    special[2] = pack == "cn"
    haircut = rng.choice([NULL, 500_000, 650_000, 700_000, 900_000, RATIO_ONE], names)
    limit = np.full(names, NULL)
    eligible = rng.random(names) < 0.8
    eligible[5:8] = True
    crowding = rng.choice([NULL, 0, 100_000, 249_999, 250_000, 400_000], names)
    crowding[5:8] = NULL, 250_000, 249_999
    tight = rng.random() < 0.25
    # the law leaves thirty to one where a house that fears a gap does not: it must bind too
    calm = 20 if pack in CONTRACTS else 1
    return MarketSnapshot(
        session=effective_on - dt.timedelta(days=1),
        mic=MIC[pack],
        currency=CURRENCY[pack],
        symbols=tuple(f"N{k:03d}" for k in range(names)),
        board=board,
        price=price,
        price_limit=limit,
        haircut=haircut,
        security_margin=rng.integers(20_000, 120_000, names) // calm,
        gap_loss=rng.integers(10_000, 60_000, names) // calm,
        expected_sale_shares=np.full(names, NULL),
        margin_eligible=eligible,
        collateral_eligible=rng.random(names) < 0.9,
        special_treatment=special,
        suspended=np.zeros(names, dtype=bool),
        scenarios=rng.integers(-30_000 // calm, 30_000 // calm, (scenarios, names)).astype(
            np.int32
        ),
        funding_bps=300,
        net_capital_amt=int(rng.integers(0, 10**9)) if tight else LARGE,
        headroom_amt=int(rng.integers(0, 10**8)) if tight and rng.random() < 0.5 else 10**13,
        utilisation=500_000,
        tier_shift_bps=(-20, -10, 0, 0, 10, 30, 60),
        financing_ratio=crowding,
        paths=made_paths(names, seed, paths, sessions),
    )


def made_paths(names: int, seed: int, paths: int, sessions: int) -> ScenarioPaths:
    """A scenario set of a made-up year; mild as often as not, so that law binds too."""
    rng = np.random.default_rng(seed)
    wild = rng.choice([0.1, 0.3, 1.0])
    moves = rng.normal(0.0, 0.012, (1, WINDOW)) + rng.normal(0.0, 0.015, (names, WINDOW))
    moves *= wild
    weight = rng.uniform(0.1, 1.9, paths)
    stress = np.where(np.arange(paths) % 10 == 0, weight, 0.0)

    def mean_one(values: FloatArray) -> IntArray:
        return np.asarray(np.rint(values / values.mean() * RATIO_ONE), dtype=np.int64)

    return ScenarioPaths(
        moves=np.rint(np.clip(moves, -0.5, 0.5) * RATIO_ONE).astype(np.int32),
        limit=np.full(names, 100_000, dtype=np.int64),
        days=rng.integers(0, WINDOW, (paths, sessions)).astype(np.int32),
        weight=mean_one(weight),
        stress_weight=mean_one(stress),
        year_rise=(NULL, 0, 250_000, 600_000)[int(rng.integers(4))],
    )


@dataclass(frozen=True)
class _Maker:
    """Draws the parts of a case."""

    r: random.Random
    pack: str
    market: MarketSnapshot
    effective_on: dt.date

    def amount(self) -> int:
        r = self.r.random()
        if r < 0.08:
            return 0
        if r < 0.9:
            return self.r.randrange(1_000_000_00)
        return self.r.randrange(10**10)

    def opened(self) -> dt.date:
        """A day a contract may have been opened: near a change as often as not."""
        first = FIRST[self.pack]
        if self.r.random() < 0.5:
            day = self.r.choice(CHANGES) + dt.timedelta(days=self.r.randrange(-2, 3))
        else:
            day = self.effective_on - dt.timedelta(days=self.r.randrange(1, 400))
        return max(first, min(day, self.effective_on - dt.timedelta(days=1)))

    def book(self, name: str, most: int = 5) -> Book:
        r = self.r
        positions: list[Holding] = []
        contracts: list[Loan] = []
        for k in r.sample(range(len(self.market.symbols)), r.randrange(most + 1)):
            symbol = "UNKNOWN" if r.random() < 0.01 else self.market.symbols[k]
            if any(p.symbol == symbol for p in positions):
                continue
            shares = r.randrange(0, 200) * 100
            positions.append(Holding(symbol, shares))
            if r.random() < 0.5:
                part = r.random() * (1.3 if r.random() < 0.1 else 1.0)
                financed = int(shares * part)
                price = max(int(self.market.price[k]), 0)
                owed = int(financed * price // 100 * (0.5 + 0.9 * r.random()))
                if self.pack in CONTRACTS and r.random() < 0.7:
                    # posted like a contract's margin: the close-out is near
                    owed = int(financed * price // 100 * (0.9 + 0.11 * r.random()))
                contracts.append(self.contract(f"{name}-{k}", symbol, financed, owed))
        if r.random() < 0.1:
            contracts.append(self.contract(f"{name}-x", None, None, self.amount() // 10))
        cash = -self.amount() // 50 if r.random() < 0.05 else self.amount()
        return Book(cash, tuple(positions), tuple(contracts))

    def contract(self, name: str, symbol: str | None, shares: int | None, owed: int) -> Loan:
        return Loan(
            contract_id=name,
            symbol=symbol,
            kind="financing",
            opened_on=self.opened(),
            due_on=None,
            quantity_shares=shares,
            outstanding_amt=owed,
            accrued_amt=self.r.choice([0, owed // 500, owed // 50]),
            ratio_at_opening=self.r.choice(RATIOS if self.pack not in CONTRACTS else POSTED),
            rate_bps=600,
            rule_pack=self.pack,
        )

    def status(self, application: bool) -> Status:
        r = self.r
        odd = r.random() < 0.15
        kyc = self.effective_on + dt.timedelta(days=r.choice([-1, 0, 400]) if odd else 400)
        return Status(
            kyc_expires_on=None if odd and r.random() < 0.1 else kyc,
            suitability_level=r.choice([None, 1, 2, 3, 4, 5]) if odd else 4,
            pep=odd and r.random() < 0.1,
            sanctioned=odd and r.random() < 0.1,
            aml_level=r.choice(["low", "medium", "high"]) if odd else "low",
            automated_decision_refused=odd and r.random() < 0.2,
            margin_state=r.choice(["clear", "called", "overdue", "defaulted"]) if odd else "clear",
            experience_months=r.choice([None, 0, 5, 6, 60, 60, 60]) if application else None,
            mean_assets_amt=r.choice([None, 499_999_99, 500_000_00, 10**9, 10**9])
            if application
            else None,
            day_trader=self.pack == "us" and r.random() < 0.3,
            professional=self.pack in CONTRACTS and r.random() < 0.15,
        )

    def previous(self) -> Previous:
        r = self.r
        tier = r.randrange(1, 8)
        return Previous(
            soft_cap_amt=self.amount(),
            rate_bps=r.randrange(300, 1200),
            tier=tier,
            candidate_tier=min(7, max(1, tier + r.randrange(-1, 2))),
            candidate_sessions=r.randrange(6),
            month_change_bps=r.randrange(-50, 51),
            quarter_changes=r.randrange(4),
            sessions_since=r.choice([1, 1, 3, 200]),
        )

    def case(self, number: int, run: str) -> Case:
        r = self.r
        name = f"C{number:07d}"
        application = r.random() < 0.3
        symbol = None
        if r.random() < 0.4:
            symbol = "UNKNOWN" if r.random() < 0.02 else r.choice(self.market.symbols)
        group = None
        if r.random() < 0.12:
            others = tuple(self.book(f"{name}-o{k}", 3) for k in range(r.randrange(1, 3)))
            group = RelatedGroup(f"R{number}", others, r.randrange(1, 8))
        return Case(
            request=Request(
                "application" if application else "nightly",
                run,
                self.amount() * 2 if application else None,
                symbol,
            ),
            client_id=name,
            account_id=f"A{number:07d}",
            currency=CURRENCY[self.pack],
            as_of=self.market.session,
            known_at=dt.datetime.combine(self.market.session, dt.time(10), dt.UTC),
            status=self.status(application),
            book=self.book(name),
            group=group,
            previous=self.previous() if r.random() < 0.3 else None,
            override=Override(self.amount(), "P1", f"D{number}", loosens=number % 2 == 1)
            if r.random() < 0.05
            else None,
        )


def made_cases(
    pack: str, effective_on: dt.date, market: MarketSnapshot, count: int, seed: int
) -> list[Case]:
    """Cases of one session."""
    maker = _Maker(random.Random(seed), pack, market, effective_on)
    run = f"law-{pack}-{effective_on}"
    return [maker.case(k, run) for k in range(count)]


def made_frame(bundle: Bundle, cases: list[Case], seed: int) -> FeatureFrame:
    """Features of the cases; one in twenty is not known (NaN before it was quantised)."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1000, (len(cases), len(bundle.names)))
    values[rng.random(values.shape) < 0.05] = NULL
    described: dict[str, Any] = bundle.features
    return FeatureFrame(
        str(described["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        tuple(c.client_id for c in cases),
        cases[0].as_of,
        values,
    )
