"""The accounts of a lake at a session, laid out for the kernels; or any book given as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray, IntArray
from features.book import BookAsOf
from features.panel import PricePanel
from training.stress.scenario import Names

BETA_SESSIONS = 250


@dataclass(frozen=True)
class StressBook:
    """Clients in columns.

    Attributes
    ----------
    client_ids : ascending within the order of the lake's buckets
    pointer : (clients + 1,); symbol, shares : holdings by client, largest value first
    cash, owed : minor units; cash below zero is owed
    group : (clients,), number of the client's related group; a client of none is its own
    haircut : (names,), share of a name's value that the lines count, 1e-6
    """

    client_ids: tuple[str, ...]
    pointer: IntArray
    symbol: IntArray
    shares: IntArray
    cash: IntArray
    owed: IntArray
    group: IntArray
    haircut: IntArray

    @property
    def clients(self) -> int:
        """How many."""
        return len(self.cash)

    def take(self, chosen: IntArray) -> StressBook:
        """Some of the clients, in the order given."""
        parts = [np.arange(self.pointer[i], self.pointer[i + 1]) for i in chosen]
        at = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        return StressBook(
            tuple(self.client_ids[i] for i in chosen) if self.client_ids else (),
            np.r_[0, np.cumsum([len(p) for p in parts])].astype(np.int64),
            self.symbol[at],
            self.shares[at],
            self.cash[chosen],
            self.owed[chosen],
            self.group[chosen],
            self.haircut,
        )


def book_of(views: Sequence[BookAsOf], price: IntArray) -> StressBook:
    """The clients of a lake's buckets at one session; a name without a price is worth nothing."""
    ids: list[str] = []
    client, symbol, shares, cash, owed = [], [], [], [], []
    groups: list[str] = []
    before = 0
    for view in views:
        p = view.positions
        held = p.quantity_shares > 0
        client.append(p.client[held] + before)
        symbol.append(p.symbol[held])
        shares.append(p.quantity_shares[held])
        debt = np.zeros(view.clients, dtype=np.int64)
        np.add.at(
            debt, view.contracts.client, view.contracts.outstanding_amt + view.contracts.accrued_amt
        )
        cash.append(np.maximum(view.cash, 0))
        owed.append(debt + np.maximum(-view.cash, 0))
        ids += list(view.client_ids)
        groups += [g or c for g, c in zip(view.related_group, view.client_ids, strict=True)]
        before += view.clients
    of, name, quantity = (np.concatenate(c).astype(np.int64) for c in (client, symbol, shares))
    worth = np.maximum(price, 0)[name] * quantity // 100
    order = np.lexsort((name, -worth, of))
    counts = np.bincount(of, minlength=before)
    _, group = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    return StressBook(
        tuple(ids),
        np.r_[0, np.cumsum(counts)].astype(np.int64),
        name[order],
        quantity[order],
        np.concatenate(cash).astype(np.int64),
        np.concatenate(owed).astype(np.int64),
        group.astype(np.int64),
        np.full(len(price), RATIO_ONE, dtype=np.int64),
    )


def names_of(panel: PricePanel, t: int) -> Names:
    """Last price, beta to the equal-weighted market and daily volatility over ``BETA_SESSIONS``."""
    price = np.where(panel.close[t] == NULL, 0, panel.close[t])
    returns = panel.simple_returns()[max(0, t + 1 - BETA_SESSIONS) : t + 1]
    market = np.nan_to_num(np.nanmean(np.where(np.isfinite(returns), returns, np.nan), axis=1))
    beta, volatility = np.ones(len(price)), np.full(len(price), 0.02)
    spread = float(market.var())
    for k in range(len(price)):
        known = np.isfinite(returns[:, k])
        if known.sum() >= 60 and spread > 0:
            r, m = returns[known, k], market[known]
            beta[k] = float(np.clip(np.cov(r, m)[0, 1] / m.var(ddof=1), 0.2, 3.0))
            volatility[k] = float(np.std(r - beta[k] * m))
    return Names(price.astype(np.int64), beta, volatility)


def clients_who_cure(clients: int, share: float, seed: int) -> IntArray:
    """1 for clients who pay up at the deadline: a fixed draw, larger shares contain smaller ones."""
    draw: FloatArray = np.random.default_rng([seed, 0xC0DE]).random(clients)
    chosen: BoolArray = draw < share
    return chosen.astype(np.int64)
