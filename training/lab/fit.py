"""Fit the strengths of leverage, activity and wealth to the calm rows of ``bands.yaml``.

A small deterministic pattern search (Hooke and Jeeves 1961) on the logarithms of the three
strengths, the same clients and random numbers at each point. Behaviour is not fitted, nor is
anything outside the calm window: the book is simulated to the end of that window and no further.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from data_contracts.columns import TABLES
from data_contracts.errors import InputError
from data_contracts.lake import to_arrow
from features.panel import PricePanel
from training.lab.calibration import Band, bands
from training.lab.measure import connect_book, figures
from training.lab.rules import MarginRules
from training.lab.simulate import set_stage, simulate_block
from training.lab.strengths import FILE, Strengths

WINDOW: Final = "calm"
FITTED: Final = ("leverage", "activity", "wealth")
CLIENTS: Final = 4_000
ARRIVALS: Final = 265
"""Clients arrive as in a book of thirteen months, so that the calm months of one are fitted."""
STEPS: Final = (0.4, 0.2, 0.1, 0.05, 0.025)
"""Steps of the search, in logarithms of a strength."""
INNER: Final = 0.5
"""A band says no more of its middle than of the rest: a figure in the inner half is left there."""
NEARNESS: Final = 0.01
"""Weight of the squared logarithms of the strengths: of all that fit, the nearest to 1 are taken."""
MOST_ROUNDS: Final = 6
"""Rounds over the strengths at one step size."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fit:
    """The strengths found.

    Attributes
    ----------
    objective : sum over rows of the square by which a figure leaves the inner half of its band, in
        half widths of the band's logarithm: 0 in the inner half, 0.25 at an edge; and ``NEARNESS``
    achieved : figure of each fitted row
    looked_at : books simulated
    """

    strengths: Strengths
    objective: float
    achieved: dict[str, float]
    looked_at: int
    seed: int
    clients: int
    window: tuple[dt.date, dt.date]

    def as_dict(self) -> dict[str, Any]:
        """The JSON keys of ``lab fit``."""
        return {**asdict(self), "window": [day.isoformat() for day in self.window]}


def distance(rows: list[Band], achieved: Mapping[str, float | None]) -> float:
    """What leaves the bands; infinite where a figure is missing or not positive."""
    total = 0.0
    for band in rows:
        value = achieved[band.quantity]
        if value is None or value <= 0:
            return math.inf
        low, high = math.log(band.low), math.log(band.high)
        from_middle = abs(math.log(value) - (low + high) / 2) / ((high - low) / 2)
        total += max(from_middle - INNER, 0.0) ** 2
    return total


def fit_strengths(
    panel: PricePanel,
    rules: MarginRules,
    market: Path,
    *,
    seed: int,
    clients: int = CLIENTS,
    threads: int | None = None,
    start: Strengths | None = None,
    steps: tuple[float, ...] = STEPS,
    progress: Progress | None = None,
) -> Fit:
    """Search from ``start``, the habits as ``people`` states them, for figures inside the bands.

    Raises
    ------
    InputError
        If no row of the market's currency is to be fitted, or the market does not hold the window.
    """
    wanted, windows = bands(panel.currency)
    rows = [b for b in wanted if b.fit and b.window == WINDOW]
    if not rows:
        raise InputError(
            f"bands.yaml marks no row of {panel.currency} as `fit: true` in the window {WINDOW!r}"
        )
    low, high = windows[WINDOW]
    known = panel.sessions.astype("datetime64[D]")
    if known[0] > np.datetime64(low, "D") + 7 or known[-1] < np.datetime64(high, "D") - 7:
        raise InputError(
            f"the market runs {known[0]} to {known[-1]}, the fit needs {low} to {high}"
        )
    names = [b.quantity for b in rows]
    seen: dict[tuple[float, ...], tuple[float, dict[str, float | None]]] = {}
    base = start or Strengths()
    most = len(steps) * MOST_ROUNDS * 2 * len(FITTED) + 1

    def look(at: tuple[float, ...]) -> tuple[float, dict[str, float | None]]:
        if at not in seen:
            given = replace(base, **dict(zip(FITTED, at, strict=True)))
            stage = set_stage(panel, rules, seed, low, high, given, ARRIVALS)
            book = simulate_block(stage, 0, clients, threads)
            tables = {
                name: to_arrow(TABLES[name], book.tables[name])
                for name in ("balances", "positions", "trades", "margin_events")
            }
            with connect_book(tables, market, threads) as connection:
                found = figures(connection, names, low, high, panel.currency)
            far = sum(math.log(x) ** 2 for x in at)
            seen[at] = distance(rows, found) + NEARNESS * far, found
            if progress is not None:
                progress(len(seen), most)
        return seen[at]

    here = tuple(round(float(getattr(base, name)), 4) for name in FITTED)
    for step in steps:
        for _ in range(MOST_ROUNDS):
            before = here
            for k in range(len(FITTED)):
                moves = [
                    (*here[:k], round(here[k] * math.exp(sign * step), 4), *here[k + 1 :])
                    for sign in (1.0, -1.0)
                ]
                here = min([here, *moves], key=lambda at: look(at)[0])
            if here == before:
                break
    objective, achieved = look(here)
    if not math.isfinite(objective):
        raise InputError("no strengths gave a book with debt and trades; simulate more clients")
    if progress is not None:
        progress(most, most)
    return Fit(
        strengths=replace(base, **dict(zip(FITTED, here, strict=True))),
        objective=objective,
        achieved={name: float(value) for name, value in achieved.items() if value is not None},
        looked_at=len(seen),
        seed=seed,
        clients=clients,
        window=(low, high),
    )


def write_strengths(currency: str, fit: Fit, path: Path = FILE) -> None:
    """Put the fit in the place of a currency's entry; the other entries stay as they are."""
    text = path.read_text("utf-8")
    comment = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    stated: dict[str, Any] = yaml.safe_load(text)
    s = fit.strengths
    stated[currency] = {
        "found": f"fitted on {WINDOW} {fit.window[0]:%Y-%m}..{fit.window[1]:%Y-%m}",
        "seed": fit.seed,
        "clients": fit.clients,
        "objective": round(fit.objective, 4),
        "achieved": {name: float(f"{value:.5g}") for name, value in fit.achieved.items()},
        "strengths": {
            "behaviour": s.behaviour,
            "leverage": s.leverage,
            "activity": s.activity,
            "wealth": s.wealth,
        },
    }
    body = yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=100)
    path.write_text(comment + body, "utf-8")
