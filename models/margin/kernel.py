"""Compiled loop of the joint tail loss: integers only, so that no order of work changes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_contracts.units import IntArray
from models.compiled import compiled


@compiled
def worst_sums(
    first: IntArray,
    symbol: IntArray,
    value: IntArray,
    moves: npt.NDArray[np.int32],
    worst: int,
    one: int,
) -> tuple[IntArray, IntArray]:
    """Each book's ``worst`` smallest results over the scenarios, summed in whole units and rest.

    Parameters
    ----------
    first : int64, shape (B + 1,), where each book's holdings begin
    symbol, value : int64, shape (M,), of the holdings
    moves : int32, shape (N, S), returns by name and scenario, 1e-6
    one : 1 in the unit of ``moves``
    """
    books, count = len(first) - 1, moves.shape[1]
    whole = np.zeros(books, dtype=np.int64)
    rest = np.zeros(books, dtype=np.int64)
    result = np.empty(count, dtype=np.int64)
    lowest = np.empty(worst, dtype=np.int64)
    least, most = np.int64(-one), np.int64(one)
    for b in range(books):
        for s in range(count):
            result[s] = 0
        for h in range(first[b], first[b + 1]):
            name, worth = symbol[h], value[h]
            for s in range(count):
                # nobody loses more than all, and no gain above all is counted
                move = min(max(np.int64(moves[name, s]), least), most)
                result[s] += move * worth
        held = 0
        for s in range(count):
            r = result[s]
            if held < worst:
                at = held
                held += 1
            elif r < lowest[worst - 1]:
                at = worst - 1
            else:
                continue
            while at > 0 and lowest[at - 1] > r:
                lowest[at] = lowest[at - 1]
                at -= 1
            lowest[at] = r
        for k in range(held):
            # towards minus infinity, as the tail is counted
            part = lowest[k] // one
            whole[b] += part
            rest[b] += lowest[k] - part * one
    return whole, rest
