"""All that was known about the clients at one session's cut-off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from data_contracts.tables.account import CASH_KINDS, CONTRACT_KINDS, MARGIN_EVENT_KINDS
from data_contracts.units import NULL, BoolArray, FloatArray, IntArray
from features.panel import DateArray, PricePanel
from features.paths import Intervals

if TYPE_CHECKING:
    from features.tallies.values import Tallies

ObjectArray = npt.NDArray[np.object_]

LONGEST_WINDOW_SESSIONS: Final = 250
"""How far back paths and flows reach: one trading year."""
DEFAULT_MEMORY_SESSIONS: Final = 60
"""A client counts as in default for this many sessions, the horizon of the default label."""
EXTERNAL_KINDS: Final = ("deposit", "withdrawal", "cash_cure", "write_off")
"""Cash flows that are no result of investing: a return leaves them out."""
CONTRACT_KIND_NAMES: Final = CONTRACT_KINDS


@dataclass(frozen=True)
class Positions:
    """What the clients hold, by client then symbol, pooled over a client's accounts."""

    client: IntArray
    symbol: IntArray
    quantity_shares: IntArray
    cost_amt: IntArray


@dataclass(frozen=True)
class Contracts:
    """Open loan contracts, by client then contract number.

    ``symbol`` is -1 for a margin loan; ``kind`` is a position in ``CONTRACT_KIND_NAMES``;
    ``quantity_shares`` is ``NULL`` for a margin loan; ``ratio_at_opening`` is in 1e-6.
    """

    client: IntArray
    contract_id: ObjectArray
    symbol: IntArray
    kind: IntArray
    opened_on: DateArray
    due_on: DateArray
    rollovers: IntArray
    quantity_shares: IntArray
    principal_amt: IntArray
    outstanding_amt: IntArray
    accrued_amt: IntArray
    ratio_at_opening: IntArray
    rate_bps: IntArray
    rule_pack: ObjectArray


@dataclass(frozen=True)
class Kyc:
    """KYC of each client; ``NULL``, ``NaT`` or ``None`` where unknown, flags false."""

    income_amt: IntArray
    net_worth_amt: IntArray
    liquid_assets_amt: IntArray
    experience_months: IntArray
    suitability_level: IntArray
    literacy_score: IntArray
    bureau_status: ObjectArray
    kyc_verified_on: DateArray
    kyc_expires_on: DateArray
    pep: BoolArray
    sanctioned: BoolArray
    aml_level: ObjectArray
    automated_decision_refused: BoolArray


@dataclass(frozen=True)
class Paths:
    """Money at the end of each session of the window, int64 minor units, (clients, sessions).

    The last column is the as-of session. ``NULL`` before a client's first balance.
    """

    securities: IntArray
    cash: IntArray
    debt: IntArray
    accrued: IntArray

    @cached_property
    def _both(self) -> tuple[IntArray, IntArray]:
        # Here, so that a process that reads no lake loads no compiler.
        from features.loops import assets_and_nav

        columns = (self.securities.T, self.cash.T, self.debt.T, self.accrued.T)
        assets, nav = assets_and_nav(*columns, NULL)
        return assets.T, nav.T

    @property
    def assets(self) -> IntArray:
        """Cash plus securities."""
        return self._both[0]

    @property
    def nav(self) -> IntArray:
        """Assets less principal and interest owed."""
        return self._both[1]


@dataclass(frozen=True)
class Trades:
    """Fills of the window, by session. ``price`` is in 0.0001; ``account`` is a lake-wide code."""

    client: IntArray
    account: IntArray
    session: IntArray
    symbol: IntArray
    buy: BoolArray
    quantity_shares: IntArray
    price: IntArray
    financed: BoolArray


@dataclass(frozen=True)
class CashFlows:
    """Cash flows of the window, by session. ``kind`` is a position in ``CASH_KINDS``."""

    client: IntArray
    session: IntArray
    kind: IntArray
    amount_amt: IntArray

    def of_kinds(self, *kinds: str) -> BoolArray:
        """Which flows are of one of the kinds."""
        return np.isin(self.kind, [CASH_KINDS.index(k) for k in kinds])


@dataclass(frozen=True)
class MarginEvents:
    """Margin events by session, whole history. ``kind`` is a position in ``MARGIN_EVENT_KINDS``."""

    client: IntArray
    account: IntArray
    session: IntArray
    event_at: IntArray
    kind: IntArray
    amount_amt: IntArray
    deadline_at: IntArray

    def of_kinds(self, *kinds: str) -> BoolArray:
        """Which events are of one of the kinds."""
        return np.isin(self.kind, [MARGIN_EVENT_KINDS.index(k) for k in kinds])


@dataclass(frozen=True)
class Windows:
    """How a book reads its windows, each at most once."""

    paths: Callable[[], Paths]
    trades: Callable[[], Trades]
    cash_flows: Callable[[], CashFlows]
    intervals: Callable[[], Intervals]
    tallies: Callable[[], Tallies]
    diluted_cost: Callable[[], IntArray]


@dataclass(frozen=True)
class BookAsOf:
    """What the lender knew about its clients at a session's cut-off.

    Attributes
    ----------
    panel : prices up to and including the session; later ones are not in it
    returns, index_returns : the panel's, shape (t + 1, symbols) and (t + 1,)
    t : index of the session, the last row of the panel
    cut_off : 18:00 market time of the session, UTC
    client_ids : ascending; clients with an account open at the session
    account_ids, account_client : open accounts by client, and the client's index
    account_age_sessions : sessions since the oldest open account was opened
    related_group : group of related clients, ``""`` for none
    cash, debt, accrued : minor units, from the last visible balance of each open account
    called_on, deadline_at : of the open call (UTC), ``NaT`` for none. A call is open while no cure,
        forced sale or default of its account is later; of several the first and its deadline
    in_default : a default event within the last 60 sessions
    events : margin events of all sessions, of closed accounts too
    """

    panel: PricePanel
    returns: FloatArray
    index_returns: FloatArray
    t: int
    session: dt.date
    cut_off: np.datetime64
    client_ids: tuple[str, ...]
    account_ids: tuple[str, ...]
    account_client: IntArray
    account_age_sessions: IntArray
    related_group: ObjectArray
    cash: IntArray
    debt: IntArray
    accrued: IntArray
    positions: Positions
    contracts: Contracts
    kyc: Kyc
    called_on: npt.NDArray[np.datetime64]
    deadline_at: npt.NDArray[np.datetime64]
    in_default: BoolArray
    events: MarginEvents
    windows: Windows = field(repr=False, compare=False)

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self.client_ids)

    @cached_property
    def close(self) -> IntArray:
        """Close of each symbol in 0.0001; 0 where there is no price (not listed)."""
        last = self.panel.close[self.t]
        return np.where(last == NULL, 0, last)

    @cached_property
    def position_value(self) -> IntArray:
        """Quantity times close of each position, in 0.0001 of a currency unit."""
        return self.positions.quantity_shares * self.close[self.positions.symbol]

    @cached_property
    def securities(self) -> IntArray:
        """Market value of the securities held, minor units, rounded down once a client."""
        return self.sum_by_client(self.positions.client, self.position_value) // 100

    @cached_property
    def assets(self) -> IntArray:
        """Cash plus securities, minor units."""
        return self.cash + self.securities

    @cached_property
    def owed(self) -> IntArray:
        """Principal and interest owed, minor units."""
        return self.debt + self.accrued

    @cached_property
    def paths(self) -> Paths:
        """Money over the last 250 sessions."""
        return self.windows.paths()

    @cached_property
    def external_flows(self) -> IntArray:
        """What came in or went out from outside, (clients, 250 sessions), minor units."""
        flows = self.cash_flows
        amount = np.where(flows.of_kinds(*EXTERNAL_KINDS), flows.amount_amt, 0)
        return self.sum_by_session(flows.client, flows.session, amount, LONGEST_WINDOW_SESSIONS)

    @cached_property
    def worked_out(self) -> dict[str, FloatArray]:
        """By name, what one feature worked out and another needs too."""
        return {}

    @property
    def nav_path(self) -> IntArray:
        """Assets less all owed, (clients, up to 250 sessions), ``NULL`` before any balance."""
        return self.paths.nav

    @cached_property
    def trades(self) -> Trades:
        """Fills of the last 250 sessions."""
        return self.windows.trades()

    @cached_property
    def cash_flows(self) -> CashFlows:
        """Cash flows of the last 250 sessions."""
        return self.windows.cash_flows()

    @cached_property
    def intervals(self) -> Intervals:
        """Holdings that touch the last 251 sessions, by account, symbol, start."""
        return self.windows.intervals()

    @cached_property
    def tallies(self) -> Tallies:
        """Exact sums of the fills, over windows of sessions and of the whole history."""
        return self.windows.tallies()

    @cached_property
    def diluted_cost(self) -> IntArray:
        """Paid for what is held less what its sales brought, minor units, rounded down."""
        return self.windows.diluted_cost()

    def sum_by_client(self, client: IntArray, values: IntArray | BoolArray) -> IntArray:
        """Exact integer sums; rows with client -1 are left out."""
        out = np.zeros(self.clients, dtype=np.int64)
        mine = client >= 0
        np.add.at(out, client[mine], values[mine].astype(np.int64))
        return out

    def sum_by_session(
        self, client: IntArray, session: IntArray, values: IntArray, sessions: int
    ) -> IntArray:
        """Exact integer sums (clients, sessions) over the last sessions, the as-of one last."""
        out = np.zeros((sessions, self.clients), dtype=np.int64)
        first = self.t - sessions + 1
        mine = (client >= 0) & (session >= first)
        np.add.at(out, (session[mine] - first, client[mine]), values[mine])
        return out.T
