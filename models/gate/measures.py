"""The figures that the gate judges: pure functions over two nights' aligned columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import MINOR_PER_UNIT, NULL, RATIO_ONE, BoolArray, IntArray
from models.gate.judge import Measured
from models.margin.cap import CAP_TERMS
from models.stability import psi_of_counts

MOVED: Final = 4
"""A limit has moved that changed by more than one part in so many of the larger of the two."""
JUMP_DOWN, JUMP_UP = 550_000, 1_820_000
"""A price that leaves this range of the published one, 1e-6, has jumped: no session's limit of any
board allows as much, a decimal point does."""
ONE_CELL: Final = 0.99
"""A feature nearly all of whose values share a cell on both nights is the market's, no client's;
from one night to the next it moves for all at once, and that is no shift of the population."""
CSI_SHIFTED: Final = 0.25
"""Stability index from which a population has shifted (Siddiqi 2006)."""
SHOWN: Final = 5
"""Names or features that a figure lists."""


@dataclass(frozen=True)
class Both:
    """Columns of the clients that both nights decided on, aligned; ``0`` before, ``1`` tonight.

    ``target`` are limits before the step and any override, minor units; ``rate_target`` rates
    before step and clip, bps; ``tier`` 1 to 7, 8 for D; ``own_tier`` by the night's PD on tonight's
    edges.
    """

    cap0: IntArray
    cap1: IntArray
    target0: IntArray
    target1: IntArray
    debt0: IntArray
    debt1: IntArray
    rate_target0: IntArray
    rate_target1: IntArray
    tier0: IntArray
    tier1: IntArray
    own_tier0: IntArray
    own_tier1: IntArray

    def __len__(self) -> int:
        return len(self.cap0)


def cap_targets(limits: IntArray) -> IntArray:
    """The least term of each limit's waterfall but step and override; ``NULL`` terms do not apply.

    Parameters
    ----------
    limits : int64, shape (N, 9), in the order of ``CAP_TERMS``
    """
    free = [k for k, name in enumerate(CAP_TERMS) if name not in ("step", "override")]
    most = np.iinfo(np.int64).max
    least = np.where(limits[:, free] == NULL, most, limits[:, free]).min(axis=1)
    return np.asarray(np.where(least == most, 0, np.maximum(least, 0)), dtype=np.int64)


def _total(values: IntArray) -> int:
    # Python integers: a book of millions of clients passes int64
    return sum(values.tolist())


def _share(part: int, whole: int) -> int | None:
    """Part over whole in 1e-6, rounded up, so that no breach is rounded away."""
    return None if whole <= 0 else -(-part * RATIO_ONE // whole)


def _of(value: int | None, detail: str = "") -> Measured:
    return Measured(value, detail if value is not None else detail or "nothing to compare with")


def vanished(before: int, unexplained: int) -> Measured:
    """Share of the published clients without a decision tonight whose accounts are not closed."""
    return _of(_share(unexplained, before), f"{unexplained} of {before}" if before else "")


def lost(before: IntArray, after: IntArray) -> Measured:
    """Share of the published night's holdings that are gone.

    Gross, not net: of half a delivery some rows are missing that opened a holding, and some that
    closed one, and the count stays about the same.

    Parameters
    ----------
    before, after : one number a client and name held, of the clients of both nights
    """
    gone = len(np.setdiff1d(before, after))
    return _of(_share(gone, len(np.unique(before))), f"{gone} of {len(before)}")


def caps_moved(both: Both) -> Measured:
    """Share of clients whose limit before steps moved by more than a quarter of the larger."""
    larger = np.maximum(both.target0, both.target1)
    moved = np.abs(both.target1 - both.target0) > larger // MOVED
    return _of(_share(int(moved.sum()), len(both)), f"{int(moved.sum())} of {len(both)}")


def mean_cap_change(both: Both) -> Measured:
    """Change of the sum of limits before steps over the sum before, its size."""
    before, after = _total(both.target0), _total(both.target1)
    if before <= 0:
        return _of(None, "no limits before")
    sign = "-" if after < before else "+"
    return _of(_share(abs(after - before), before), f"direction {sign}")


def at_floor(soft: IntArray, floor: IntArray) -> BoolArray:
    """Which soft limits fell as far as the step lets them; ``NULL`` floors are no step.

    What stops there would have fallen further.
    """
    return np.asarray((floor > 0) & (soft <= floor // MINOR_PER_UNIT * MINOR_PER_UNIT))


def stepped_down(before: BoolArray, after: BoolArray) -> Measured:
    """Share of clients whose soft limit falls by the whole step tonight and did not before.

    A policy or a model that is wrong cuts everybody a step a night, and no night by much. A shock
    of the market does so too, once: the nights after it work the same cut off.
    """
    count = int((after & ~before).sum())
    return _of(_share(count, len(after)), f"{count} of {len(after)}" if len(after) else "")


def debt_change(both: Both) -> Measured:
    """Change of the whole debt, its size."""
    before, after = _total(both.debt0), _total(both.debt1)
    if before <= 0:
        return _of(None, "no debt before")
    return _of(_share(abs(after - before), before), f"direction {'-' if after < before else '+'}")


def mean_rate_change(both: Both) -> Measured:
    """Mean change of the rate before steps, its size in bps, rounded up."""
    if not len(both):
        return _of(None)
    moved = _total(both.rate_target1 - both.rate_target0)
    return _of(-(-abs(moved) // len(both)), f"direction {'-' if moved < 0 else '+'}")


def tiers_moved(both: Both) -> Measured:
    """Share of clients whose tier changed."""
    moved = int((both.tier0 != both.tier1).sum())
    return _of(_share(moved, len(both)), f"{moved} of {len(both)}")


def own_tiers_moved(both: Both) -> Measured:
    """Share of clients whose tier by the night's PD lies two or more away."""
    moved = int((np.abs(both.own_tier1 - both.own_tier0) >= 2).sum())
    return _of(_share(moved, len(both)), f"{moved} of {len(both)}")


def tier_psi(both: Both) -> Measured:
    """PSI of the tiers by the night's PD."""
    counts = [np.bincount(t, minlength=8)[1:8] for t in (both.own_tier0, both.own_tier1)]
    index = psi_of_counts(*counts).value
    return _of(None if index is None else math.ceil(index * RATIO_ONE))


def feature_csi(
    before: Mapping[str, IntArray], after: Mapping[str, IntArray]
) -> list[tuple[str, float]]:
    """CSI of each feature between two nights' counts in the same cells, the largest first."""
    found = []
    for name, e in before.items():
        a = after[name]
        if not e.sum() or not a.sum():
            continue
        if min(e.max() / e.sum(), a.max() / a.sum()) >= ONE_CELL:
            continue
        value = psi_of_counts(e, a).value
        if value is not None:
            found.append((name, value))
    return sorted(found, key=lambda f: (-f[1], f[0]))


def features_shifted(before: Mapping[str, IntArray], after: Mapping[str, IntArray]) -> Measured:
    """Share of the features whose CSI between the nights is above ``CSI_SHIFTED``.

    Not the largest CSI: a calm week's moves shift what is measured on returns, such as the best
    five days, for everyone at once. A table that is wrong shifts what is measured on it.
    """
    if not before or before.keys() != after.keys():
        return _of(None, "no cells frozen for both nights; fit the bundle again to have them")
    found = feature_csi(before, after)
    if not found:
        return _of(None, "no feature varies between clients")
    shifted = [(n, v) for n, v in found if v > CSI_SHIFTED]
    listed = ", ".join(f"{name} {value:.3f}" for name, value in shifted[:SHOWN])
    return _of(_share(len(shifted), len(found)), listed)


def missing_rise(
    names: Sequence[str], before: IntArray, n_before: int, after: IntArray, n_after: int
) -> Measured:
    """Largest rise of a feature's share of missing values, from counts in the order of names."""
    if not n_before or not n_after:
        return _of(None)
    rise = after * RATIO_ONE // n_after - before * RATIO_ONE // n_before
    worst = np.argsort(-rise, kind="stable")[:SHOWN]
    listed = ", ".join(f"{names[k]} +{rise[k] / RATIO_ONE:.1%}" for k in worst if rise[k] > 0)
    return _of(max(int(rise.max(initial=0)), 0), listed)


@dataclass(frozen=True)
class Names:
    """What the book holds of the names that both nights priced.

    ``price`` in 0.0001, ``NULL`` for none; ``shares`` of all clients together.
    """

    symbols: tuple[str, ...]
    price0: IntArray
    price1: IntArray
    shares0: IntArray
    shares1: IntArray


def price_jump(names: Names) -> Measured:
    """What names whose price jumped changed of the book's value, over that value.

    Shares times price on both nights, so that a split, which changes both, is no jump.
    """
    known = (names.price0 != NULL) & (names.price1 != NULL) & (names.price0 > 0)
    p0 = np.where(known, names.price0, 1)
    p1 = np.where(known, names.price1, 1)
    jumped = known & ((p1 < p0 * (JUMP_DOWN / RATIO_ONE)) | (p1 > p0 * (JUMP_UP / RATIO_ONE)))
    whole = sum(p * q for p, q in zip(p0.tolist(), names.shares0.tolist(), strict=True))
    changes = [
        (abs(int(p1[k]) * int(names.shares1[k]) - int(p0[k]) * int(names.shares0[k])), k)
        for k in np.flatnonzero(jumped)
    ]
    changes = [(c, k) for c, k in sorted(changes, key=lambda c: (-c[0], c[1])) if c]
    listed = ", ".join(f"{names.symbols[k]} x{p1[k] / p0[k]:.3g}" for _, k in changes[:SHOWN])
    return _of(_share(sum(c for c, _ in changes), whole), listed)


@dataclass(frozen=True)
class Lots:
    """Holdings of tonight: one row a client and name; ``client`` counts in the common clients."""

    client: IntArray
    name: IntArray
    shares: IntArray


def fire_sale(
    both: Both, lots: Lots, price: IntArray, adv_shares: IntArray, symbols: Sequence[str]
) -> Measured:
    """Sales over average daily volume, were tonight's cuts below the debt followed by selling.

    What a client owes above tonight's limit, less what it owed above the published one, is spread
    over the client's holdings by value. No client has to sell for a limit: this is what the cut
    would do to the names if they did.

    Parameters
    ----------
    price : 0.0001, ``NULL`` for none, by name
    adv_shares : average daily volume, ``NULL`` where it is unknown, by name
    """
    over1 = np.maximum(both.debt1 - both.cap1, 0)
    over0 = np.maximum(both.debt0 - both.cap0, 0)
    cut = np.maximum(over1 - over0, 0)
    if not cut.any():
        return Measured(0, "no limit was cut below a debt tonight")
    priced = (price[lots.name] != NULL) & (price[lots.name] > 0)
    client, name = lots.client[priced], lots.name[priced]
    worth = lots.shares[priced].astype(float) * price[name]
    held = np.bincount(client, weights=worth, minlength=len(both))
    # minor units are 0.01, prices 0.0001
    part = np.minimum(cut * 100.0, held) / np.where(held > 0, held, 1.0)
    sold = np.bincount(name, weights=part[client] * lots.shares[priced], minlength=len(price))
    known = (adv_shares != NULL) & (adv_shares > 0)
    if not known.any():
        return _of(None, "the lake has no volumes")
    ratio = np.where(known, sold / np.where(known, adv_shares, 1), 0.0)
    worst = np.argsort(-ratio, kind="stable")[:SHOWN]
    listed = ", ".join(f"{symbols[k]} {ratio[k]:.3g}" for k in worst if ratio[k] > 0)
    return _of(math.ceil(float(ratio.max()) * RATIO_ONE), listed)


def jeffreys_p(cases: int, defaults: int, pd: float) -> float:
    """Jeffreys: BetaCDF(PD; D + 1/2, N - D + 1/2), small where the PD is too low (ECB 2019)."""
    from scipy.special import betainc

    return float(betainc(defaults + 0.5, cases - defaults + 0.5, pd))


def calibration(predicted_e9: IntArray, defaulted: BoolArray) -> Measured:
    """Confidence that the mean predicted probability was too low for the defaults that followed."""
    n = len(predicted_e9)
    if n == 0:
        return _of(None, "no labels have matured")
    mean, defaults = _total(predicted_e9) / n / 1e9, int(defaulted.sum())
    confidence = 1.0 - jeffreys_p(n, defaults, mean)
    return _of(
        math.floor(confidence * RATIO_ONE),
        f"{defaults} defaults of {n}, {mean * n:.1f} predicted",
    )


__all__ = [
    "Both", "Lots", "Names", "at_floor", "calibration", "cap_targets", "caps_moved", "debt_change",
    "feature_csi", "features_shifted", "fire_sale", "jeffreys_p", "lost", "mean_cap_change",
    "mean_rate_change", "missing_rise", "own_tiers_moved", "price_jump", "stepped_down",
    "tier_psi", "tiers_moved", "vanished",
]  # fmt: skip
