"""The tallies of some clients at a session, as the feature functions read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import FloatArray, IntArray
from features.tallies.kernel import (
    DECAY,
    SUM_COLUMNS,
    WINDOWS,
    Int32Array,
    add_days,
    decay_powers,
)

NO_SESSION: Final = -1


@dataclass(frozen=True)
class Tallies:
    """Sums of each client's fills as of session ``t``.

    Attributes
    ----------
    sums : int64 (windows, columns, clients), see ``WINDOWS`` and ``SUM_COLUMNS``
    decayed : decaying sum of traded value as of the client's last session with a fill
    last : that session, -1 without one
    """

    t: int
    sums: IntArray
    decayed: FloatArray
    last: Int32Array

    @staticmethod
    def empty(clients: int, t: int) -> Tallies:
        """No fills."""
        return Tallies(
            t,
            np.zeros((len(WINDOWS), len(SUM_COLUMNS), clients), dtype=np.int64),
            np.zeros(clients),
            np.full(clients, NO_SESSION, dtype=np.int32),
        )

    def add(self, client: Int32Array, session: Int32Array, numbers: IntArray) -> None:
        """Add sessions' sums, in order of session for each client."""
        powers = decay_powers(self.t + 1)
        add_days(client, session, numbers, self.t, powers, self.sums, self.decayed, self.last)

    def take(self, rows: IntArray) -> Tallies:
        """The tallies of some of the clients."""
        return Tallies(self.t, self.sums[:, :, rows], self.decayed[rows], self.last[rows])

    def part(self, clients: slice) -> Tallies:
        """The tallies of neighbouring clients, without a copy."""
        return Tallies(self.t, self.sums[:, :, clients], self.decayed[clients], self.last[clients])

    @staticmethod
    def together(parts: Sequence[Tallies]) -> Tallies:
        """The clients of several, one after the other; all as of the same session."""
        return Tallies(
            parts[0].t,
            np.concatenate([part.sums for part in parts], axis=2),
            np.concatenate([part.decayed for part in parts]),
            np.concatenate([part.last for part in parts]),
        )

    def sum(self, name: str, window: int) -> IntArray:
        """One sum over one window."""
        found: IntArray = self.sums[WINDOWS.index(window), SUM_COLUMNS.index(name)]
        return found

    def traded(self, window: int) -> IntArray:
        """Value bought plus value sold over a window, in 0.0001."""
        return self.sum("bought", window) + self.sum("sold", window)

    def mean_traded(self) -> FloatArray:
        """Decaying mean of the value traded a session, in 0.0001."""
        aged = decay_powers(self.t + 1)[self.t - np.maximum(self.last, 0)]
        return np.where(self.last >= 0, self.decayed * aged * (1.0 - DECAY), 0.0)
