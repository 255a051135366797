"""What a night does with one bucket: pure functions from a book to decisions.

``first_pass`` finds what the firm-level terms need; ``score_partition`` decides once they are
known. The engines only call these for every bucket; the decisions depend on no clock, file or
random state.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.case import Override
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import MINOR_PER_UNIT, PROB_ONE, IntArray
from features.asof import BookHistory
from features.build import build_frame
from features.sets import feature_set
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.decide import DecisionColumns
from models.decide.columns import Losses, decide_prepared, firm_limit, losses_of, tier_share
from models.margin.book import BookColumns
from models.margin.limits import book_limits
from models.margin.paths import PathRisk
from models.policy import Policy
from models.price.capital import exposure_amt, path_losses
from models.price.rate import loss_given_default, risk_components
from serving.nightly.columns import Before, night_columns, worst_tiers
from serving.nightly.rows import (
    NightRows,
    group_books,
    night_rows,
    own_books,
    refusals,
    related,
)

TIERS: Final = 7
MILLION: Final = 1_000_000


class Timer:
    """Processor seconds by stage of one partition; the decisions never depend on them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def __call__(self, stage: str) -> None:
        """What was spent since the last call belongs to this stage."""
        now = time.process_time()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class Held:
    """A client that could not be decided on: it keeps min(last published, today's hard limit)."""

    client_id: str
    account_id: str
    hard_amt: int
    why: str


@dataclass(frozen=True)
class FirstPass:
    """A bucket after the first pass.

    Attributes
    ----------
    rows : the clients that can be decided on
    own_tier : tier by the score alone
    losses : the structural part of the clients' books and of their related groups'
    risk_bps, clients : by tier from 1 to 7, sums of the risk charge and numbers of clients
    sale_shares : shares of each symbol that are expected to be sold for clients who owe: their
        holdings weighted with the chance of a default within a year
    path_loss : what the clients together lose on each path of the scenario set, as
        ``models.price.capital.path_losses`` says
    held : clients that cannot be decided on, with the hard limit of what of their book can be read
    """

    rows: NightRows
    own_tier: IntArray
    losses: Losses
    risk_bps: IntArray
    clients: IntArray
    sale_shares: IntArray
    path_loss: IntArray
    held: tuple[Held, ...] = ()


def first_pass(
    history: BookHistory,
    as_of: dt.date,
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
    timer: Timer | None = None,
) -> FirstPass:
    """Features, scores and risk of one bucket, on a market without the night's shifts."""
    spent = timer or Timer()
    view = history.as_of(as_of)
    spent("join")
    frame = build_frame(view, feature_set(str(bundle.features["feature_set"])))
    spent("features")
    everyone = night_rows(view, frame.values)
    refused = refusals(everyone, market)
    held = tuple(_held(everyone, k, why, market, policy) for k, why in sorted(refused.items()))
    keep = np.array([k for k in range(len(everyone)) if k not in refused], dtype=np.int64)
    rows = everyone.take(keep) if refused else everyone
    pd = bundle.calibration.of_score(bundle.head.score(rows.features))[0]
    tier = tier_of_pd(pd, bundle.tier_edges)
    spent("score")
    own = own_books(rows, market)
    found = related(rows)
    pool = group_books(rows, found, market)[0] if len(found.rows) else None
    losses = losses_of(own, pool, market, policy)
    spent("structural")
    limits = book_limits(own, market, policy, loss=losses.own, paths=losses.own_paths)
    lgd = loss_given_default(limits.portfolio_gap, policy)
    expected, capital = risk_components(pd, lgd, policy)
    risk, clients = np.zeros(TIERS, dtype=np.int64), np.zeros(TIERS, dtype=np.int64)
    np.add.at(risk, tier - 1, expected + capital)
    np.add.at(clients, tier - 1, 1)
    spent("limits")
    ead = exposure_amt(limits, own.debt, tier_share(tier, policy), policy)
    lost = path_losses(own, limits, pd, lgd, tier, ead, market, policy)
    spent("capital")
    return FirstPass(rows, tier, losses, risk, clients, _expected_sale(rows, own, pd), lost, held)


def _expected_sale(rows: NightRows, own: BookColumns, pd: IntArray) -> IntArray:
    """Shares times the chance of a default, by symbol, each holding rounded up to whole shares."""
    out = np.zeros(len(rows.symbols), dtype=np.int64)
    mine = own.debt[rows.holding_client] > 0
    chance, shares = pd[rows.holding_client[mine]], rows.holding_shares[mine]
    # in two parts, because a trillion shares times 1e9 pass int64
    whole, rest = np.divmod(shares, MILLION)
    part = whole * chance // (PROB_ONE // MILLION) + -(-rest * chance // PROB_ONE)
    np.add.at(out, rows.holding_symbol[mine], part)
    return out


def _held(rows: NightRows, k: int, why: str, market: MarketSnapshot, policy: Policy) -> Held:
    """The hard limit of a client on what of its book can be read: other shares are worth nothing.

    Zero where money owed cannot be read, or the client has related ones: there no limit is proved.
    """
    mine = rows.take(np.array([k], dtype=np.int64))
    readable = np.array(
        [not refusals(mine.holding(j), market) for j in range(len(mine.holding_client))], dtype=bool
    )
    mine = mine.holding(np.flatnonzero(readable))
    hard = 0
    if rows.group[k] < 0 and not refusals(mine, market):
        book = own_books(mine, market)
        # only the hard terms are read: no path is followed
        limits = book_limits(book, market, policy, paths=PathRisk.undefined(book.n))
        firm = firm_limit(book.debt, market, policy)
        terms = (limits.statutory, limits.line, limits.concentration, firm)
        hard = max(int(np.minimum.reduce(terms)[0]), 0) // MINOR_PER_UNIT * MINOR_PER_UNIT
    return Held(rows.client_ids[k], rows.account_ids[k], hard, why)


def score_partition(
    first: FirstPass,
    before: Before,
    overrides: Mapping[str, Override],
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
    *,
    run_id: str,
    currency: str,
    known_at: dt.datetime,
    timer: Timer | None = None,
) -> DecisionColumns:
    """Decide on one bucket: the same as ``decide`` on each of its cases.

    Parameters
    ----------
    first : the bucket after the first pass
    before : the last published decision of each of its clients, in order
    overrides : people's limits that bind, by client
    market : the snapshot with the night's firm-level terms
    """
    spent = timer or Timer()
    rows = first.rows
    found = related(rows)
    groups = group_books(rows, found, market) if len(found.rows) else None
    columns = night_columns(
        rows, found, own_books(rows, market), groups, worst_tiers(rows, first.own_tier), before,
        overrides, market, run_id=run_id, currency=currency, known_at=known_at,
    )  # fmt: skip
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        tuple(rows.client_ids),
        market.session,
        rows.features,
    )
    spent("cases")
    made = decide_prepared(columns, frame, bundle, policy, market, first.losses)
    spent("decide")
    return made
