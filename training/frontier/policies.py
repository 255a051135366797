"""Rules of lending as families of limits: one number, the scale, loosens or tightens each of them.

A limit is the most assets over equity at a purchase. Every rule is scaled once a month so that it
lends as much at opening as the uniform limit of the level.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import RATIO_ONE, BoolArray, FloatArray
from models.margin.concentration import concentration_margin_ratio
from models.margin.structural import LEVERAGE_GRID, limit_at
from models.policy import load_pack
from training.frontier.vintage import Openings

MOST: Final = 3.0
STEPS: Final = 40
LEAST_CHANCE: Final = 1e-4
POLICIES: Final = (
    "static", "structural", "learned", "base", "perfect", "systemic", "uniform", "var", "es",
    "broker",
)  # fmt: skip
LOCK_SHORTFALL: Final = 0.0005
"""Most chance, over the horizon, that a sale after locks does not cover the debt."""
MOST_LARGEST: Final = 0.30
_HOUSE: Final = load_pack("cn").on(dt.date(2019, 12, 31))
STRETCH: Final = _HOUSE["structural_stretch_ratio"] / RATIO_ONE
"""With a head or without, a client is lent at most so many times the debt that the anchor would: the
static rule at the same credit, with the concentration margin."""
HOT_RISE: Final = _HOUSE["structural_hot_rise_ratio"] / RATIO_ONE
"""A year's rise of the market from which on heads relax nothing; none of it below a rise of 0."""
CONCENTRATION_SLOPE: Final = _HOUSE["concentration_margin_slope_ratio"] / RATIO_ONE
HEADED: Final = ("learned", "perfect", "systemic")
OURS: Final = ("structural", "base", *HEADED)
RULES: Final = 3
"""Raised when a rule of ours changes: its finished runs of an older form are not taken up."""


@dataclass(frozen=True)
class Static:
    """haircut x step of the volatility third x discount above 30 % in one name."""

    middle: float = 0.95
    high: float = 0.85
    concentrated: float = 0.85

    def capacity(self, book: Openings, thirds: tuple[float, float]) -> FloatArray:
        """Debt over equity before scaling."""
        group = (book.volatility > thirds[0]).astype(int) + (book.volatility > thirds[1])
        step = np.array([1.0, self.middle, self.high])[group]
        narrow = np.where(book.largest > MOST_LARGEST, self.concentrated, 1.0)
        return np.asarray(book.haircut * step * narrow)


STATIC_GRID: Final = tuple(
    Static(1.0 - 0.1 * v, 1.0 - 0.2 * v, c) for v in range(3) for c in (1.0, 0.85, 0.7)
)
"""The static rules that the best one is chosen from, off-test."""


def broker_capacity(book: Openings) -> FloatArray:
    """A broker's matrix: concentration bands, board, special treatment."""
    band = np.select(
        [book.largest > 0.7, book.largest > 0.5, book.largest > 0.3], [0.6, 0.75, 0.9], 1.0
    )
    return np.asarray(book.haircut * band * (1.0 - 0.3 * book.young_board))


def lock_limit(book: Openings) -> FloatArray:
    """The leverage up to which a sale after locks covers the debt; no head relaxes it."""
    return np.maximum(limit_at(book.short, LOCK_SHORTFALL, LEVERAGE_GRID), 1.0)


def concentration_margin(book: Openings) -> FloatArray:
    """Margin added where one name outweighs the house's share of a portfolio; no head relaxes it."""
    return concentration_margin_ratio(book.largest, _HOUSE)


def calm(rise: FloatArray) -> FloatArray:
    """1 after a year in which the market did not rise, 0 after one of ``HOT_RISE`` or an unknown one;
    linear between."""
    return np.asarray(1.0 - np.clip(np.nan_to_num(rise, nan=HOT_RISE) / HOT_RISE, 0.0, 1.0))


def thirds_of(book: Openings) -> tuple[float, float]:
    """The terciles of portfolio volatility, from the openings of one month."""
    low, high = np.quantile(book.volatility, [1 / 3, 2 / 3])
    return float(low), float(high)


Family = Callable[[float], FloatArray]
"""From the scale to limits; not falling in the scale."""


def by_capacity(capacity: FloatArray) -> Family:
    """Limits 1 + scale x capacity."""
    return lambda scale: np.clip(1.0 + scale * capacity, 1.0, MOST)


def by_margin(loss: FloatArray) -> Family:
    """Limits scale / loss: the margin asked for is a multiple of the loss."""
    return lambda scale: np.clip(scale / np.maximum(loss, 1e-6), 1.0, MOST)


def by_risk(risk: FloatArray) -> Family:
    """The largest leverage whose risk is within the scale.

    The scale is the exponent of the budget, so that it runs over many orders of magnitude.
    """
    grown = np.maximum.accumulate(risk, axis=1)
    return lambda scale: np.clip(limit_at(grown, float(np.exp(scale)), LEVERAGE_GRID), 1.0, MOST)


def with_margin(family: Family, added: FloatArray, most: FloatArray | float = MOST) -> Family:
    """A family whose margin is larger by ``added``, and its limits never above ``most``."""
    return lambda scale: np.clip(1.0 / (1.0 / family(scale) + added), 1.0, most)


@dataclass(frozen=True)
class Bounded:
    """A family of ours, and what bounds it.

    Attributes
    ----------
    family : limits at a scale, not bounded yet
    anchor : ``STRETCH`` times its debt at the same credit is the most that is lent: in a fall of the
        whole market those with the highest limits go first, however calm and spread their books
    structure : where a head moves the limit, the family without it, bounded by the same anchor
    relaxed : ... by so much of its debt at the same credit a head may pass it
    """

    family: Family
    anchor: Family
    structure: Bounded | None = None
    relaxed: float = 0.0

    def __call__(self, scale: float) -> FloatArray:
        """Limits at a scale, not bounded yet."""
        return self.family(scale)

    def at(self, desired: FloatArray, level: float) -> Family:
        """The family bounded for a level."""

        def debt(of: Family, name: str) -> FloatArray:
            scale, _ = solve(of, desired, level, *BOUNDS[name])
            return of(scale) - 1.0

        most = 1.0 + STRETCH * debt(self.anchor, "static")
        if self.structure is not None:
            plain = debt(self.structure.at(desired, level), "structural")
            most = np.minimum(most, 1.0 + (1.0 + self.relaxed) * plain)
        return lambda scale: np.minimum(self.family(scale), most)


def solve(
    family: Family, desired: FloatArray, level: float, low: float, high: float
) -> tuple[float, BoolArray]:
    """The scale at which mean min(limit, desired) is that of a uniform limit, by bisection.

    Returns
    -------
    The scale, and whether even the loosest scale lends less.

    Raises
    ------
    InputError
        If the level is no leverage.
    """
    if not 1.0 < level <= MOST:
        raise InputError(f"a level is a leverage above 1 and up to {MOST:g}, not {level}")
    wanted = float(np.minimum(level, desired).mean())
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        if float(np.minimum(family(middle), desired).mean()) < wanted:
            low = middle
        else:
            high = middle
    short = float(np.minimum(family(high), desired).mean()) < wanted - 1e-3
    return high, np.array(short)


BOUNDS: Final = {
    "uniform": (0.0, 3.0), "static": (0.0, 20.0), "broker": (0.0, 20.0), "var": (0.0, 3.0),
    "es": (0.0, 3.0), "structural": (-30.0, 3.0), "base": (-30.0, 3.0), "learned": (-30.0, 3.0),
    "perfect": (-30.0, 3.0), "systemic": (-30.0, 3.0),
}  # fmt: skip
"""Where each family's scale is looked for."""


def log_odds_of(forced: FloatArray) -> FloatArray:
    """Log-odds of the structural chance along the grid, smoothed over neighbours, shape (n, G).

    ``LEAST_CHANCE`` is added: below it behaviour decides, and no number of paths would tell.
    """
    p = np.maximum.accumulate(np.asarray(forced, dtype=np.float64), axis=1)
    wide = np.concatenate([p[:, :1], p[:, :1], p, p[:, -1:], p[:, -1:]], axis=1)
    kernel = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
    g = p.shape[1]
    smooth = sum(kernel[k] * wide[:, k : k + g] for k in range(5))
    chance = np.minimum(smooth + LEAST_CHANCE, 0.999)
    return np.asarray(np.log(chance / (1.0 - chance)))
