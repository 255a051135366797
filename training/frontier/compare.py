"""Lives under each rule, at the same credit, and how sure one can be of the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.units import BoolArray, FloatArray
from training.frontier.policies import BOUNDS, Bounded, Family, solve
from training.frontier.vintage import Openings, Scene
from training.lab.openings import (
    CALLS,
    DEBT_DAYS_AMT,
    EQUITY_DAYS,
    FORCED,
    FORCED_AMT,
    FORCED_OF_EQUITY,
    LIVE,
    LOAN_DAYS_OF_EQUITY,
    SHORT_AMT,
    SHORT_OF_EQUITY,
    Fates,
    live_on,
)

RESAMPLES: Final = 1000
SESSIONS_A_YEAR: Final = 243
_BLOCK: Final = 100

Families = Sequence[Mapping[str, Family]]
"""One mapping from rule to family a month."""


@dataclass(frozen=True)
class Limits:
    """Limits of all clients of a window under one rule and level, and each month's scale."""

    limit: FloatArray
    scale: FloatArray
    too_small: BoolArray


def limits_of(
    book: Openings, families: Families, policy: str, level: float, frozen: float | None = None
) -> Limits:
    """Scale a rule month by month to the uniform level, or use one frozen scale."""
    limit = np.empty(len(book.number))
    scales, short = [], []
    for month, family in enumerate(families):
        mine = np.flatnonzero(book.month == month)
        if len(mine) == 0:
            scales.append(np.nan)
            short.append(False)
            continue
        desired, rule = book.desired[mine], family[policy]
        if isinstance(rule, Bounded):
            rule = rule.at(desired, level)
        scale, lacks = (
            (frozen, np.array(False))
            if frozen is not None
            else solve(rule, desired, level, *BOUNDS[policy])
        )
        limit[mine] = rule(scale)
        scales.append(scale)
        short.append(bool(lacks))
    return Limits(limit, np.array(scales), np.array(short))


def lives(place: Scene, book: Openings, limit: FloatArray, threads: int | None) -> Fates:
    """Open every account of a window under the limits."""
    stage = place.stage
    return live_on(
        stage.market, stage.terms, stage.seed, book.cast(), limit, count_from=place.count_from,
        threads=threads,
    )  # fmt: skip


def measures(fates: Fates) -> dict[str, float]:
    """The figures of one run over all accounts that were live in the counted sessions."""
    f = fates
    live = max(float(f.of(LIVE).sum()), 1.0)
    loan, equity = float(f.of(LOAN_DAYS_OF_EQUITY).sum()), float(f.of(EQUITY_DAYS).sum())
    short = f.of(SHORT_AMT)
    debt_days = max(float(f.of(DEBT_DAYS_AMT).sum()), 1.0)
    worst = np.sort(f.of(SHORT_OF_EQUITY))[::-1][: max(round(0.01 * len(short)), 1)]
    return {
        "accounts": live,
        "loan_days": loan / live,
        "used_leverage": 1.0 + loan / max(equity, 1e-9),
        "forced_rate": float(f.of(FORCED).sum()) / live,
        "forced_accounts": float(f.of(FORCED).sum()),
        "call_rate": float(f.of(CALLS).sum()) / live,
        "forced_value": float(f.of(FORCED_OF_EQUITY).sum()) / live,
        "shortfalls": float((short > 0).sum()),
        "shortfall_bp": float(short.sum()) / debt_days * SESSIONS_A_YEAR * 1e4,
        "shortfall_es": float(worst.mean()),
        "forced_value_amt": float(f.of(FORCED_AMT).sum()) / 100,
    }


def _interpolated(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """log y at ``at``, linear in x, for each row; NaN outside. ``x`` rising along a row."""
    out = np.full(len(at), np.nan)
    for k in range(x.shape[1] - 1):
        inside = (at >= x[:, k]) & (at <= x[:, k + 1]) & np.isnan(out)
        share = (at - x[:, k]) / np.maximum(x[:, k + 1] - x[:, k], 1e-12)
        value = (1.0 - share) * np.log(y[:, k] + 0.5) + share * np.log(y[:, k + 1] + 0.5)
        out = np.where(inside, np.exp(value) - 0.5, out)
    return out


@dataclass(frozen=True)
class Change:
    """Relative change against the static frontier at the same loan-days, with its interval."""

    value: float | None
    low: float | None
    high: float | None


def change(
    policy: Fates,
    static: Mapping[float, Fates],
    seed: int,
    column: int = FORCED,
    chosen: BoolArray | None = None,
    resamples: int = RESAMPLES,
) -> Change:
    """Accounts sold by force under a rule against the static frontier, paired client bootstrap.

    The frontier is the static rule at each level, interpolated (log events, linear in loan-days) to
    the loan-days the rule really lent, in each resample anew; None outside its range.
    """
    levels = sorted(static)
    columns = [policy.of(column), policy.of(LOAN_DAYS_OF_EQUITY)]
    columns += [static[k].of(LOAN_DAYS_OF_EQUITY) for k in levels]
    columns += [static[k].of(column) for k in levels]
    data = np.stack(columns, axis=1)
    if chosen is not None:
        data = data[chosen]
    moving = data[np.any(data != 0.0, axis=1)]
    if len(moving) == 0:
        return Change(None, None, None)

    def ratio(sums: FloatArray) -> FloatArray:
        m = len(levels)
        order = np.argsort(sums[:, 2 : 2 + m].mean(axis=0))
        loans, events = sums[:, 2 : 2 + m][:, order], sums[:, 2 + m :][:, order]
        reference = _interpolated(loans, events, sums[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(reference > 0, sums[:, 0] / reference - 1.0, np.nan))

    point = float(ratio(moving.sum(axis=0)[None, :])[0])
    if np.isnan(point):
        return Change(None, None, None)
    # Accounts with an event under some rule are drawn one by one. Of the others only sums of
    # loan-days matter: over so many they are normal, with the moments of the same draws.
    m = len(levels)
    hurt = np.any(moving[:, [0, *range(2 + m, 2 + 2 * m)]] != 0.0, axis=1)
    calm, struck = moving[~hurt], moving[hurt]
    rng = np.random.default_rng(seed)
    mean, spread = calm.sum(axis=0), calm.T @ calm
    found = []
    for low in range(0, resamples, _BLOCK):
        count = min(_BLOCK, resamples - low)
        weight = rng.poisson(1.0, (count, len(struck))).astype(np.float64)
        others = rng.multivariate_normal(mean, spread, count, method="svd", check_valid="ignore")
        found.append(ratio(weight @ struck + others))
    if not found:
        return Change(point, None, None)
    sample = np.concatenate(found)
    if np.isnan(sample).mean() > 0.05:
        return Change(point, None, None)
    a, b = np.nanquantile(sample, [0.025, 0.975])
    return Change(point, float(a), float(b))


def loss_change(
    policy: Fates, static: Fates, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Lender's loss over debt, bp a year, less the static rule's; paired client bootstrap."""
    data = np.stack(
        [policy.of(SHORT_AMT), policy.of(DEBT_DAYS_AMT), static.of(SHORT_AMT),
         static.of(DEBT_DAYS_AMT)], axis=1,
    )  # fmt: skip

    def less(sums: FloatArray) -> FloatArray:
        year = SESSIONS_A_YEAR * 1e4
        ours, theirs = (sums[:, k] / np.maximum(sums[:, k + 1], 1.0) * year for k in (0, 2))
        return np.asarray(ours - theirs)

    total = data.sum(axis=0)
    hurt = (data[:, 0] > 0) | (data[:, 2] > 0)
    rng = np.random.default_rng(seed)
    # debt is nearly the same in every resample; the losses are what varies
    weight = rng.poisson(1.0, (resamples, int(hurt.sum()))).astype(np.float64)
    moved = weight @ data[hurt]
    sums = np.broadcast_to(total, moved.shape).copy()
    sums[:, [0, 2]] = moved[:, [0, 2]]
    sample = less(sums)
    low, high = np.quantile(sample, [0.025, 0.975])
    return float(less(total[None, :])[0]), float(low), float(high)


def rounded(found: Any) -> Any:
    """Figures for a document: six significant digits, NaN as None."""
    if isinstance(found, float):
        return None if np.isnan(found) else float(f"{found:.6g}")
    return found
