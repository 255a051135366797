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
    """What a default of one book costs per unit lent along each path, into ``loss``, shape (P,).

    -1 where the path does not sell it; ``tail_sums`` describes the others.
    """
    count, horizon = paths.shape[1], paths.shape[2]
    whole = np.int64(65536)
    total = np.int64(0)
    for k in range(len(symbol)):
        total += value[k]
    for p in range(count):
        loss[p] = -1
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
                sold = np.int64(min(h + 1, horizon - 1))
                break
        if sold < 0:
            continue
        loss[p] = lgd
        proceeds = np.int64(now[sold]) * kept // one
        if proceeds * one >= share * whole * unit:
            continue
        cover = (proceeds * one // share) * one // (whole * unit)
        lost = -(-(one - cover) * unrecovered // one)
        loss[p] = min(max(lost, lgd), one)


@compiled
def _sold_pd(weight: IntArray, loss: IntArray, pd: int, stressed: int, certain: int) -> int:
    """Default rate on paths that sell a book: its ``pd`` falls on them, ``stressed`` at least."""
    total, sold = np.int64(0), np.int64(0)
    for p in range(len(weight)):
        total += weight[p]
        if loss[p] >= 0:
            sold += weight[p]
    if sold == 0:
        return stressed
    rate = int(-(-pd * total // sold))
    return min(max(rate, stressed), certain)


@compiled
def tail_sums(
    first: IntArray,
    symbol: IntArray,
    value: IntArray,
    lowest: Int16Array,
    paths: Int16Array,
    unit: int,
    weight: IntArray,
    tail: IntArray,
    share: IntArray,
    lgd: IntArray,
    pd: IntArray,
    stressed: IntArray,
    rules: IntArray,
    one: int,
    certain: int,
    out: IntArray,
) -> None:
    """Each book's losses in the tail, summed by weight, int64, shape (B, 4), filled.

    The columns are the default rate on paths that sell it, the tail's weight on these, the loss per
    unit lent on these times their weight, and ``lgd`` times the rest of the tail's weight.

    Parameters
    ----------
    first : int64, shape (B + 1,), where each book's holdings begin
    symbol, value : int64, shape (M,), of the holdings
    lowest : int16, shape (N, P), the least of ``paths`` along each path
    paths : int16, shape (N, P, H), value of a unit held in 1 / ``unit``
    weight, tail : int64, shape (P,), of each path among all and in the tail
    share : int64, shape (B,), debt over assets in ``one``, from 0 to ``one``
    lgd : int64, shape (B,), least loss, in ``one``
    pd, stressed : int64, shape (B,), default rates, in ``certain``
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
        sold, lost, rest = np.int64(0), np.int64(0), np.int64(0)
        for p in range(count):
            if loss[p] >= 0:
                sold += tail[p]
                lost += tail[p] * loss[p]
            else:
                rest += tail[p]
        out[b, 0] = _sold_pd(weight, loss, pd[b], stressed[b], certain)
        out[b, 1] = sold
        out[b, 2] = lost
        out[b, 3] = rest * lgd[b]


@compiled
def firm_sums(
    first: IntArray,
    symbol: IntArray,
    value: IntArray,
    lowest: Int16Array,
    paths: Int16Array,
    unit: int,
    weight: IntArray,
    share: IntArray,
    lgd: IntArray,
    pd: IntArray,
    stressed: IntArray,
    rules: IntArray,
    one: int,
    certain: int,
    ead: IntArray,
    tier: IntArray,
    out: IntArray,
) -> None:
    """Add the books' losses along every path to ``out``, int64, shape (2 + tiers, P).

    The first two rows grow by the loss in whole minor units and in parts of one: the amount in
    default on the path, rounded up to whole minor units, times what it costs. The row of the
    book's tier, counted from 0 after these, grows by the default rate in ``one`` times the loss,
    above what they are on a path that does not sell it.

    Parameters
    ----------
    ead : int64, shape (B,), exposure at default, minor units
    tier : int64, shape (B,)

    The others are as in ``tail_sums``.
    """
    count, horizon = paths.shape[1], paths.shape[2]
    bound = np.empty(count, dtype=np.int32)
    now = np.empty(horizon, dtype=np.int32)
    loss = np.empty(count, dtype=np.int64)
    # in two parts of the rate, as a product passes int64
    parts = certain // one
    for b in range(len(first) - 1):
        held = slice(first[b], first[b + 1])
        _losses(
            symbol[held], value[held], lowest, paths, unit, share[b], lgd[b], rules, one,
            bound, now, loss,
        )  # fmt: skip
        rate = _sold_pd(weight, loss, pd[b], stressed[b], certain)
        big, small = ead[b] // one, ead[b] % one
        often = -(-(big * rate - (-small * rate // one)) // parts)
        rare = -(-(big * stressed[b] - (-small * stressed[b] // one)) // parts)
        calm = rare * lgd[b]
        whole, part = calm // one, calm % one
        sold_chance, calm_chance = -(-rate // parts), -(-stressed[b] // parts)
        row = 2 + tier[b]
        for p in range(count):
            if loss[p] < 0:
                out[0, p] += whole
                out[1, p] += part
            else:
                lost = often * loss[p]
                out[0, p] += lost // one
                out[1, p] += lost % one
                out[row, p] += sold_chance * loss[p] - calm_chance * lgd[b]
