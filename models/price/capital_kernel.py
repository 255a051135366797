"""Compiled loops of the capital charge: integers only, so that no order of work changes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_contracts.units import IntArray
from models.compiled import compiled

Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]


@compiled
def _losses(
    symbol: IntArray,
    value: IntArray,
    lowest: Int16Array,
    paths: Int16Array,
    unit: int,
    share: int,
    lgd: int,
    rules: IntArray,
    one: int,
    bound: Int32Array,
    now: Int32Array,
    loss: IntArray,
) -> None:
    """Loss of one book along each path, as ``tail_sums`` describes it, into ``loss``, shape (P,)."""
    count, horizon = paths.shape[1], paths.shape[2]
    whole = np.int64(65536)
    total = np.int64(0)
    for k in range(len(symbol)):
        total += value[k]
    for p in range(count):
        loss[p] = lgd
    if total <= 0 or share <= 0:
        return
    call, force, deadline = rules[0], rules[1], rules[2]
    kept, unrecovered = one - rules[3], one - rules[4]
    # a value below these is below the line: the path limit's comparison, turned round
    edge = -(-share * whole * unit // one)
    call_edge, force_edge = -(-call * edge // one), -(-force * edge // one)
    highest_edge = max(call_edge, force_edge)
    held = np.int64(0)
    for p in range(count):
        bound[p] = 0
    for k in range(len(symbol)):
        part = np.int32(value[k] * whole // total)
        held += part
        row = lowest[symbol[k]]
        for p in range(count):
            bound[p] += np.int32(part * np.int32(row[p]))
    before = deadline if held * unit < call_edge else np.int64(0)
    for p in range(count):
        # each name at its own lowest is no more than the book at any close
        if bound[p] >= highest_edge:
            continue
        for h in range(horizon):
            now[h] = 0
        for k in range(len(symbol)):
            part = np.int32(value[k] * whole // total)
            along = paths[symbol[k], p]
            for h in range(horizon):
                now[h] += np.int32(part * np.int32(along[h]))
        run, sold = before, np.int64(-1)
        for h in range(horizon):
            run = run + 1 if now[h] < call_edge else np.int64(0)
            if now[h] < force_edge or run > deadline:
                sold = min(h + 1, horizon - 1)
                break
        if sold < 0:
            continue
        proceeds = np.int64(now[sold]) * kept // one
        if proceeds * one >= share * whole * unit:
            continue
        cover = (proceeds * one // share) * one // (whole * unit)
        lost = -(-(one - cover) * unrecovered // one)
        loss[p] = min(max(lost, lgd), one)


@compiled
def tail_sums(
    first: IntArray,
    symbol: IntArray,
    value: IntArray,
    lowest: Int16Array,
    paths: Int16Array,
    unit: int,
    weight: IntArray,
    share: IntArray,
    lgd: IntArray,
    rules: IntArray,
    one: int,
    out: IntArray,
) -> None:
    """Each book's loss per unit lent along the paths, weighted and summed, int64, shape (B,).

    Parameters
    ----------
    first : int64, shape (B + 1,), where each book's holdings begin
    symbol, value : int64, shape (M,), of the holdings
    lowest : int16, shape (N, P), the least of ``paths`` along each path
    paths : int16, shape (N, P, H), value of a unit held in 1 / ``unit``
    weight : int64, shape (P,), of each path
    share : int64, shape (B,), debt over assets in ``one``, from 0 to ``one``
    lgd : int64, shape (B,), least loss, in ``one``
    rules : call line, force line, sessions of the deadline, cost of sale, unsecured recovery
    """
    count, horizon = paths.shape[1], paths.shape[2]
    bound = np.empty(count, dtype=np.int32)
    now = np.empty(horizon, dtype=np.int32)
    loss = np.empty(count, dtype=np.int64)
    for b in range(len(first) - 1):
        held = slice(first[b], first[b + 1])
        _losses(
            symbol[held], value[held], lowest, paths, unit, share[b], lgd[b], rules, one,
            bound, now, loss,
        )  # fmt: skip
        total = np.int64(0)
        for p in range(count):
            total += weight[p] * loss[p]
        out[b] = total


@compiled
def firm_sums(
    first: IntArray,
    symbol: IntArray,
    value: IntArray,
    lowest: Int16Array,
    paths: Int16Array,
    unit: int,
    share: IntArray,
    lgd: IntArray,
    rules: IntArray,
    one: int,
    amount: IntArray,
    chance: IntArray,
    tier: IntArray,
    out: IntArray,
) -> None:
    """Add the books' losses along every path to ``out``, int64, shape (2 + tiers, P).

    Parameters
    ----------
    amount : int64, shape (B,), minor units expected to default; with the loss, the first two rows
        of ``out`` grow by whole minor units and by millionths of one
    chance, tier : int64, shape (B,), stressed default rate in 1e-6 and row after the first two: that
        row grows by the rate times what the path's loss is above ``lgd``

    The others are as in ``tail_sums``.
    """
    count, horizon = paths.shape[1], paths.shape[2]
    bound = np.empty(count, dtype=np.int32)
    now = np.empty(horizon, dtype=np.int32)
    loss = np.empty(count, dtype=np.int64)
    for b in range(len(first) - 1):
        held = slice(first[b], first[b + 1])
        _losses(
            symbol[held], value[held], lowest, paths, unit, share[b], lgd[b], rules, one,
            bound, now, loss,
        )  # fmt: skip
        row = 2 + tier[b]
        for p in range(count):
            lost = amount[b] * loss[p]
            out[0, p] += lost // one
            out[1, p] += lost % one
            out[row, p] += chance[b] * (loss[p] - lgd[b])
