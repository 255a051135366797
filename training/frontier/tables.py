"""Rows of the document: losses, windows taken together, kept scales, vintages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.frontier.compare import change, loss_change, measures, rounded
from training.frontier.vintage import Openings
from training.frontier.windows import Window
from training.lab.openings import FORCED, Fates


def joined(parts: Sequence[Fates]) -> Fates:
    """Accounts of several runs as one."""
    return Fates(np.concatenate([p.figures for p in parts]))


def losses(fates: Fates, static: Fates | None, seed: int) -> dict[str, Any]:
    """The lender's loss less the static rule's at the level, bp a year of debt, with its interval."""
    if static is None:
        return {"loss_change_bp": None, "loss_low": None, "loss_high": None, "loss_flag": None}
    value, low, high = loss_change(fates, static, seed)
    return {
        "loss_change_bp": rounded(value), "loss_low": rounded(low), "loss_high": rounded(high),
        "loss_flag": bool(low > 0),
    }  # fmt: skip


def together(
    kept: Mapping[str, Mapping[tuple[str, float], Fates]],
    windows: Sequence[str],
    policies: Sequence[str],
    levels: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """Some windows as one, at the first level; nothing while one of them is lacking."""
    found = [kept[name] for name in windows if name in kept]
    if len(found) < len(windows):
        return {}
    static, broker = (
        {
            lv: joined([k[rule, lv] for k in found])
            for lv in levels
            if all((rule, lv) in k for k in found)
        }
        for rule in ("static", "broker")
    )
    out = {}
    for policy in policies:
        if len(static) > 1 and all((policy, levels[0]) in k for k in found):
            whole = joined([k[policy, levels[0]] for k in found])
            out[policy] = against(whole, static, broker, seed)
    return out


def against(
    fates: Fates, static: Mapping[float, Fates], broker: Mapping[float, Fates], seed: int
) -> dict[str, Any]:
    """Forced accounts against the best static rule and against a broker's matrix, with intervals.

    Null where a reference was not run at two levels, or lent less or more than the rule.
    """
    one, other = (change(fates, r, seed) if len(r) > 1 else None for r in (static, broker))
    return {
        "change_vs_static": None if one is None else rounded(one.value),
        "low": None if one is None else rounded(one.low),
        "high": None if one is None else rounded(one.high),
        "change_vs_broker": None if other is None else rounded(other.value),
        "broker_low": None if other is None else rounded(other.low),
        "broker_high": None if other is None else rounded(other.high),
    }


def frozen_rows(
    window: Window, frozen: dict[str, list[Fates]], panels: int
) -> list[dict[str, Any]]:
    rows = []
    for policy, parts in frozen.items():
        if len(parts) == panels:
            found = measures(joined(parts))
            kept = ("loan_days", "used_leverage", "forced_rate", "call_rate", "shortfall_bp")
            rows.append(
                {"window": window.name, "policy": policy, **{k: rounded(found[k]) for k in kept}}
            )
    return rows


def vintage_rows(
    window: Window,
    books: Sequence[Openings],
    whole: dict[tuple[str, float], Fates],
    static: dict[float, Fates],
    policies: Sequence[str],
    level: float,
    seed: int,
) -> list[dict[str, Any]]:
    """By quarter of opening at the first level: what new limits do, apart from old loans."""
    month = np.concatenate([b.month for b in books])
    rows = []
    for quarter in range(int(month.max()) // 3 + 1):
        mine = month // 3 == quarter
        for policy in policies:
            if (policy, level) not in whole or not bool(mine.any()):
                continue
            fates = Fates(whole[policy, level].figures[mine])
            forced = float(fates.of(FORCED).sum())
            diff = change(whole[policy, level], static, seed, chosen=mine, resamples=200)
            rows.append(
                {
                    "window": window.name, "first_month": int(3 * quarter), "policy": policy,
                    "accounts": int(mine.sum()), "forced_accounts": forced,
                    "change_vs_static": rounded(diff.value), "low": rounded(diff.low),
                    "high": rounded(diff.high),
                }
            )  # fmt: skip
    return rows
