"""What is learnt before a window: the best static rule, the form of the risk budget, the heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from data_contracts.units import FloatArray, IntArray
from models.margin.structural import LEVERAGE_GRID
from training.frontier.compare import limits_of, lives, measures
from training.frontier.heads import Head, Line, fit_head, fit_line
from training.frontier.policies import (
    CONCENTRATION_SLOPE,
    HOT_RISE,
    MOST,
    POLICIES,
    RULES,
    STATIC_GRID,
    STRETCH,
    Bounded,
    Family,
    Static,
    broker_capacity,
    by_capacity,
    by_margin,
    by_risk,
    calm,
    concentration_margin,
    lock_limit,
    log_odds_of,
    thirds_of,
    with_margin,
)
from training.frontier.vintage import Openings, Scene
from training.lab.openings import FORCED_EVER, LOAN_DAYS_OF_EQUITY, live_on
from training.lab.random import uniform_table

FORMS: Final = ("chance", "marginal")
"""A risk budget caps the chance of a forced sale, or what another unit of leverage adds to it."""
STRESS_SHARES: Final = (0.05, 0.0, 0.25)
"""Weights of the chance in a falling market that the structure is given."""
TUNED_AT: Final = (2.0,)
MOST_USED: Final = 3.0
_DRAWN: Final = (1 << 40) + 902
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Lesson:
    """Clients of an earlier window with the limits drawn for them and what became of them."""

    scene: Scene
    book: Openings
    label: IntArray
    opened: FloatArray
    used: FloatArray
    rises: FloatArray

    def log_odds(self, share: float) -> FloatArray:
        """Structural log-odds at the leverage each account opened with."""
        return at_leverage(log_odds_of(self.book.blended(share)), self.opened)


@dataclass(frozen=True)
class Learnt:
    """All that a window's rules take from before it."""

    static: Static
    form: str
    line: Line
    heads: dict[str, Head]
    report: dict[str, Any]
    stress: float = STRESS_SHARES[0]


def at_leverage(curve: FloatArray, leverage: FloatArray) -> FloatArray:
    """A curve over the grid read at each client's leverage, linear between points."""
    grid = LEVERAGE_GRID
    place = np.clip((leverage - grid[0]) / (grid[1] - grid[0]), 0.0, len(grid) - 1.000001)
    low = place.astype(np.int64)
    rows = np.arange(len(curve))
    share = place - low
    return np.asarray(curve[rows, low] * (1.0 - share) + curve[rows, low + 1] * share)


def lesson(
    scene: Scene, book: Openings, rises: FloatArray, seed: int, threads: int | None
) -> Lesson:
    """Let clients live under limits drawn evenly from 1.1 to 3."""
    u = uniform_table(seed, book.number, _DRAWN, 1)[:, 0]
    limit = 1.1 + (MOST - 1.1) * u
    stage = scene.stage
    fates = live_on(
        stage.market, stage.terms, stage.seed, book.cast(), limit, count_from=0, threads=threads
    )
    opened = np.minimum(limit, book.desired)
    # debt carried over the term against the debt of the opening kept all through
    whole = np.maximum(opened - 1.0, 0.05) * (book.ends - book.opens)
    used = np.clip(fates.of(LOAN_DAYS_OF_EQUITY) / whole, 0.0, MOST_USED)
    return Lesson(scene, book, fates.of(FORCED_EVER).astype(np.int64), opened, used, rises)


def risk_curve(log_odds: FloatArray, form: str) -> FloatArray:
    """The risk that a budget caps, along the grid, from log-odds of a forced sale."""
    p = 1.0 / (1.0 + np.exp(-log_odds))
    if form == "chance":
        return np.asarray(p)
    return np.asarray(np.gradient(p, LEVERAGE_GRID, axis=1))


def _bounded(
    risk: FloatArray,
    *,
    narrow: FloatArray,
    locks: FloatArray,
    anchor: Family,
    structure: Bounded | None = None,
    relaxed: float = 0.0,
) -> Bounded:
    """A rule of ours: a risk budget, the concentration margin on it, never above the lock term."""
    return Bounded(with_margin(by_risk(risk), narrow, locks), anchor, structure, relaxed)


def families_of(
    book: Openings, learnt: Learnt, rises: FloatArray, wanted: Sequence[str] = POLICIES
) -> list[dict[str, Family]]:
    """The rules' families of limits, month by month.

    Parameters
    ----------
    rises : shape (months,), the market's rise in the year before each month (``year_rises``)
    """
    shift: dict[str, tuple[FloatArray, FloatArray]] = {}
    if "base" in wanted:
        shift["base"] = (np.zeros(len(book.number)), np.ones(len(book.number)))
    shift |= {k: (h.of(book), h.usage(book)) for k, h in learnt.heads.items() if k in wanted}
    ours = bool(shift) or "structural" in wanted
    odds = log_odds_of(book.blended(learnt.stress)) if ours else book.forced
    locks = lock_limit(book) if ours else book.desired
    made: list[dict[str, Family]] = []
    for month in range(int(book.month.max()) + 1):
        mine = np.flatnonzero(book.month == month)
        part = book.take(mine)
        families: dict[str, Family] = {}
        if len(mine):
            families |= {
                "uniform": by_capacity(np.ones(len(mine))),
                "static": by_capacity(learnt.static.capacity(part, thirds_of(part))),
                "broker": by_capacity(broker_capacity(part)),
                "var": by_margin(part.var),
                "es": by_margin(part.es),
            }
        if len(mine) and ours:
            narrow = concentration_margin(part)
            anchor = with_margin(families["static"], narrow)

            relaxed = (STRETCH - 1.0) * float(calm(rises[month]))
            ours_of = partial(_bounded, narrow=narrow, locks=locks[mine], anchor=anchor)
            plain = ours_of(risk_curve(odds[mine], learnt.form))
            families["structural"] = plain
            for name, (moved, used) in shift.items():
                whole = learnt.line.of(odds[mine]) + moved[mine, None]
                risk = risk_curve(whole, learnt.form) / used[mine, None]
                families[name] = ours_of(risk, structure=plain, relaxed=relaxed)
        made.append(families)
    return made


Memo = Callable[[str, Callable[[], list[float]]], list[float]]
"""Keeps what a name stands for: windows teach more than once, and a run is taken up again."""


def unkept(name: str, compute: Callable[[], list[float]]) -> list[float]:
    """A memo that keeps nothing."""
    return compute()


def _per_loan_day(
    lessons: Sequence[Lesson],
    learnt: Learnt,
    policy: str,
    threads: int | None,
    memo: Memo = unkept,
    name: str = "",
) -> float:
    """Forced sales a loan-day under a rule, over the teaching windows and tuning levels."""
    total = np.zeros(2)
    for x in lessons:

        def one(x: Lesson = x) -> list[float]:
            families = families_of(x.book, learnt, x.rises, (policy,))
            forced = loans = 0.0
            for level in TUNED_AT:
                limit = limits_of(x.book, families, policy, level).limit
                found = measures(lives(x.scene, x.book, limit, threads))
                forced += found["forced_accounts"]
                loans += found["loan_days"] * found["accounts"]
            return [forced, loans]

        total += memo(f"{x.scene.window.name} {len(x.book.number)} {policy} {name}", one)
    return float(total[0] / max(total[1], 1e-9))


def learn(
    lessons: Sequence[Lesson],
    seed: int,
    threads: int | None,
    say: Progress,
    heads: Sequence[str],
    memo: Memo = unkept,
) -> Learnt:
    """Tune and fit on the windows before a test window; the test window itself is never seen."""
    nothing = Line(0.0, 1.0)
    tried: list[float] = []
    for rule in STATIC_GRID:
        say(f"static rule {len(tried) + 1} of {len(STATIC_GRID)}")
        tried.append(
            _per_loan_day(lessons, Learnt(rule, FORMS[0], nothing, {}, {}), "static", threads, memo)
        )
    best = STATIC_GRID[int(np.argmin(tried))]
    shapes: dict[tuple[float, str], float] = {}
    for share in STRESS_SHARES:
        for form in FORMS:
            say(f"a budget on the {form} with a share of {share:g} of stress")
            trial = Learnt(best, form, nothing, {}, {}, stress=share)
            shapes[share, form] = _per_loan_day(
                lessons, trial, "structural", threads, memo, f"{form} {share:g} r{RULES}"
            )
    stress, form = min(shapes, key=lambda k: shapes[k])
    book = Openings.joined([x.book for x in lessons])
    odds = np.concatenate([x.log_odds(stress) for x in lessons])
    label = np.concatenate([x.label for x in lessons])
    used = np.concatenate([x.used for x in lessons])
    line = fit_line(odds, label)
    fitted = {}
    for name in heads:
        say(f"head {name}")
        columns = {"learned": "seen", "perfect": "truth", "systemic": "systemic"}[name]
        fitted[name] = fit_head(book, odds, label, used, columns, seed, threads or 2)
    report = {
        "windows": [x.scene.window.name for x in lessons],
        "first": str(min(x.scene.window.first for x in lessons)),
        "last": str(max(x.scene.window.last for x in lessons)),
        "clients": len(label),
        "forced_sales": int(label.sum()),
        "static": {"middle": best.middle, "high": best.high, "concentrated": best.concentrated},
        "static_tried": len(STATIC_GRID),
        "tuned_at": list(TUNED_AT),
        "form": form,
        "stress": stress,
        "shapes_per_loan_day": {
            f"{k[1]} {k[0]:g}": float(f"{v:.4g}") for k, v in shapes.items()
        },
        "most_over_anchor": STRETCH,
        "concentration_slope": CONCENTRATION_SLOPE,
        "heads_relax_nothing_above_a_years_rise_of": HOT_RISE,
        "alpha": round(line.alpha, 4),
        "beta": round(line.beta, 4),
        "heads": {
            name: {
                "rows": h.rows, "events": h.events, "trees": h.trees,
                "auc_structure_held_out": round(h.auc_offset, 4), "auc_held_out": round(h.auc, 4),
            }
            for name, h in fitted.items()
        },
    }  # fmt: skip
    return Learnt(best, form, line, fitted, report, stress)
