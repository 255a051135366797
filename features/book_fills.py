"""The fills of a book's clients, whole history, and what is summed over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from data_contracts.units import BoolArray, IntArray

if TYPE_CHECKING:
    from features.tallies.values import Tallies


@dataclass(frozen=True)
class BookFills:
    """One array a column; ``name`` stands for account and symbol, ``open`` for an open account."""

    client: IntArray
    session: IntArray
    event_at: IntArray
    name: IntArray
    buy: BoolArray
    quantity_shares: IntArray
    price: IntArray
    financed: BoolArray
    open: BoolArray

    def tallies(self, clients: int, t: int) -> Tallies:
        """Sums over windows, by the loops of the full and the nightly build."""
        # Here, so that a process that needs no tallies loads no compiler.
        from features.tallies.kernel import day_sums
        from features.tallies.values import Tallies

        out = Tallies.empty(clients, t)
        value = self.quantity_shares * self.price
        days = day_sums(self.client, self.session, self.name, self.buy, value, self.financed, t + 1)
        out.add(*days)
        return out

    def diluted_cost(self, clients: int) -> IntArray:
        """Paid less brought in for every name since it was last not held, minor units.

        Rounded down once a client. Of equal instants buys come before sells.
        """
        order = np.lexsort((~self.buy, self.event_at, self.name))
        order = order[self.open[order]]
        name = self.name[order]
        shares = np.where(self.buy, self.quantity_shares, -self.quantity_shares)[order]
        paid = shares * self.price[order]
        starts = np.flatnonzero(np.r_[True, name[1:] != name[:-1]][: len(name)])
        lengths = np.diff(np.r_[starts, len(name)])

        def running(values: IntArray) -> IntArray:
            total = np.cumsum(values)
            before = total[starts] - values[starts]
            return total - np.repeat(before, lengths)

        held, spent = running(shares), running(paid)
        # What was spent up to the last moment at which nothing was held no longer counts.
        place = np.where(held <= 0, np.arange(len(held)), -1)
        group = np.repeat(starts, lengths)
        emptied = np.maximum.accumulate(place) if len(place) else place
        since = np.where(emptied >= group, spent[np.maximum(emptied, 0)], 0)
        last = starts + lengths - 1
        still = last[held[last] > 0]
        out = np.zeros(clients, dtype=np.int64)
        np.add.at(out, self.client[order][still], spent[still] - since[still])
        return out // 100
