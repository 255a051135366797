"""How a simulated book compares with what is known of margin books: ``bands.yaml`` against it."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from training.lab.measure import connect, figures

BANDS_FILE: Final = Path(__file__).with_name("bands.yaml")


@dataclass(frozen=True)
class Band:
    """A quantity with the range a book should fall in, the window it is taken over, its source.

    ``kind`` is ``published`` or ``assumption``; ``fit`` says that strengths are fitted to it.
    """

    quantity: str
    window: str
    low: float
    high: float
    kind: str
    source: str
    fit: bool = False


@dataclass(frozen=True)
class Calibrated:
    """A band and what a book achieved; None where it has no such events."""

    quantity: str
    window: str
    low: float
    high: float
    achieved: float | None
    inside: bool | None
    kind: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON keys."""
        return asdict(self)


def bands(currency: str) -> tuple[list[Band], dict[str, tuple[dt.date, dt.date]]]:
    """The bands of a market and their windows, from ``bands.yaml``."""
    stated = yaml.safe_load(BANDS_FILE.read_text("utf-8"))[currency]
    windows = {name: (low, high) for name, (low, high) in stated["windows"].items()}
    return [Band(**row) for row in stated["bands"]], windows


def calibrate(
    lake: Path,
    currency: str,
    first: dt.date,
    last: dt.date,
    threads: int | None = None,
    buckets: int | None = None,
) -> list[Calibrated]:
    """Each band whose window the book covers, with what the book achieved.

    With ``buckets`` only the clients of the first so many buckets are looked at.
    """
    wanted, windows = bands(currency)
    windows = {**windows, "all": (first, last)}
    found: list[Calibrated] = []
    with connect(lake, threads, buckets) as connection:
        for window, (low, high) in windows.items():
            rows = [b for b in wanted if b.window == window]
            # a book that begins or ends a few days inside the window still covers it
            week = dt.timedelta(days=7)
            if not rows or low < first - week or high > last + week:
                continue
            achieved = figures(connection, [b.quantity for b in rows], low, high, currency)
            for b in rows:
                value = achieved[b.quantity]
                inside = None if value is None else b.low <= value <= b.high
                found.append(
                    Calibrated(b.quantity, window, b.low, b.high, value, inside, b.kind, b.source)
                )
    return found


def table_text(rows: list[Calibrated]) -> str:
    """The calibration for a terminal, windows apart."""
    if not rows:
        return "none: bands.yaml states no band for these days"
    lines: list[str] = []
    for window in dict.fromkeys(r.window for r in rows):
        lines.append(f"{window}:")
        for r in (r for r in rows if r.window == window):
            value = "none" if r.achieved is None else f"{r.achieved:,.6g}"
            state = {None: "no events", True: "inside", False: "OUTSIDE"}[r.inside]
            lines.append(
                f"  {r.quantity:<42}{r.low:>12,.6g}{r.high:>12,.6g}{value:>14}  {state:<9} {r.kind}"
            )
    return "\n".join(lines)
