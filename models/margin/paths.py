"""The path limit of ``decide``: what debt a book survives on the night's common scenario set.

The same joint paths and forced sales as ``scenarios`` and ``structural``, in integers. The set is
drawn and quantised once a night, travels in the market snapshot and is walked by whoever decides;
from there on a book's largest debt is a weighted quantile of integers. So night, service and replay
find the same digit on any machine. A book is followed in the proportions it has now, because what a
draw-down buys is not known; cash is left out, because a draw-down turns it into shares.

On each path the account is sold by force where it is below the force line at one close, or below
the call line at that of the call and at every one of the deadline after it. The smallest such value
gives the debt from which on the path ends so; the book's limit is the most debt at which the paths
sold weigh no more than the policy's chance. All clients and all debts share every path, so the
chance cannot fall as debt rises.

The chance is a figure of the policy for each tier, so the learned score moves the limit through it:
one walk along the paths finds the limit at every tier's. However good the tier, debt stays within
``structural_stretch_ratio`` times that at the base tier's chance, and within that itself after a
year in which the market rose much (``stretch_of``).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.snapshot import SUSPENDED, MarketSnapshot, ScenarioPaths
from data_contracts.units import NULL, RATIO_ONE, IntArray
from models.margin.book import BookColumns
from models.margin.concentration import concentration_margin, largest_share
from models.policy import Policy

UNIT: Final = 16_384
"""Values along a path are in 1 / 16,384 of today's; an int16 then holds up to twice today's value,
and no gain above that is counted."""
SETS_KEPT: Final = 2
LEAST_SESSIONS: Final = 250
"""A shorter history of the whole market draws no scenario set."""
NO_POSITIONS, NO_SCENARIO_SET = "no_positions", "no_scenario_set"
UNDEFINED: Final = (None, NO_POSITIONS, NO_SCENARIO_SET)
"""Why a book has no path limit; None where it has one."""


BASE_TIER: Final = 4
"""The middle tier, whose chance is the book's own: what a score does is measured from its limit."""
TIERS: Final = 7


@dataclass(frozen=True)
class PathLimit:
    """What N books survive at the chance of each client's tier, int64 in 1e-6, shape (N,).

    ``NULL`` where there is no path limit.

    Attributes
    ----------
    margin : least equity over assets with which the paths that end in a forced sale weigh no more
        than the chance of the tier, within the policy's stretch of the base tier
    base_margin : the same at the base tier's chance
    budget : the chance of the tier
    chance, error : the weight of the paths sold with ``margin``, and its standard error
    paths : number of paths, 0 without a scenario set
    """

    margin: IntArray
    base_margin: IntArray
    budget: IntArray
    chance: IntArray
    error: IntArray
    paths: int

    @property
    def why(self) -> IntArray:
        """Position in ``UNDEFINED`` of each book."""
        missing = UNDEFINED.index(NO_POSITIONS if self.paths else NO_SCENARIO_SET)
        return np.where(self.margin == NULL, missing, 0)


@dataclass(frozen=True)
class PathRisk:
    """What N books survive at every tier's chance, int64 in 1e-6, shape (N, 7), best tier first.

    Attributes
    ----------
    margin, chance, error : as in ``PathLimit``, a column a tier
    paths : number of paths, 0 without a scenario set
    """

    margin: IntArray
    chance: IntArray
    error: IntArray
    paths: int

    @staticmethod
    def undefined(n: int, paths: int = 0) -> PathRisk:
        """No book has a path limit."""
        null = np.full((n, TIERS), NULL, dtype=np.int64)
        return PathRisk(null, null, null, paths)

    @staticmethod
    def of(table: IntArray, paths: int) -> PathRisk:
        """From ``table``."""
        margin, chance, error = table
        return PathRisk(margin.T, chance.T, error.T, paths)

    @property
    def table(self) -> IntArray:
        """Margin, chance and error as one array, shape (3, 7, N)."""
        return np.stack([self.margin.T, self.chance.T, self.error.T])

    def at(self, tier: IntArray | None, policy: Policy) -> PathLimit:
        """What each book survives at a tier, shape (N,), D as the worst; at the base for None."""
        n = len(self.margin)
        tiers = np.full(n, BASE_TIER, dtype=np.int64) if tier is None else np.minimum(tier, TIERS)
        rows, of = np.arange(n), tiers - 1
        margin = self.margin[rows, of]
        if self.paths:
            budget = np.array(policy.vector(CHANCE), dtype=np.int64)[of]
        else:
            budget = np.full(n, NULL, dtype=np.int64)
        return PathLimit(
            margin,
            self.margin[:, BASE_TIER - 1],
            np.where(margin == NULL, NULL, budget),
            self.chance[rows, of],
            self.error[rows, of],
            self.paths,
        )


CHANCE, STRETCH = "structural_chance_by_tier_ratio", "structural_stretch_ratio"
HOT_RISE = "structural_hot_rise_ratio"
_WALKED: OrderedDict[str, npt.NDArray[np.int16]] = OrderedDict()
_WALKING = Lock()


def walked(paths: ScenarioPaths) -> npt.NDArray[np.int16]:
    """Value of a unit of each name along the paths, shape (N, H, P), in 1 / ``UNIT``.

    Walked once for all who decide in this process; the last sets stay in memory.
    """
    with _WALKING:
        found = _WALKED.get(paths.sha256)
        if found is None:
            # a compiled loop, loaded by those who need it
            from models.margin.paths_kernel import walk

            found = np.empty((len(paths.moves), paths.sessions, paths.paths), dtype=np.int16)
            walk(paths.moves, paths.limit, paths.days, SUSPENDED, RATIO_ONE, UNIT, found)
            _WALKED[paths.sha256] = found
        _WALKED.move_to_end(paths.sha256)
        while len(_WALKED) > SETS_KEPT:
            _WALKED.popitem(last=False)
        return found


def scenario_set(market: MarketSnapshot, policy: Policy) -> ScenarioPaths | None:
    """The snapshot's scenario set; None under a policy that has no rules of paths."""
    return market.paths if CHANCE in policy else None


def stretch_of(market: MarketSnapshot, policy: Policy) -> int:
    """Debt at the best tier over that at the base tier, at most, 1e-6, rounded down.

    The policy's after a year in which the market did not rise, and ``RATIO_ONE``, so that no score
    relaxes anything, once it has risen by ``structural_hot_rise_ratio`` or that year is not known;
    linear between. After a run-up a crash is likelier than what the score learnt from says.
    """
    paths = scenario_set(market, policy)
    rise = NULL if paths is None else paths.year_rise
    if rise == NULL:
        return RATIO_ONE
    hot = policy[HOT_RISE]
    left = hot - min(max(rise, 0), hot)
    return RATIO_ONE + (policy[STRETCH] - RATIO_ONE) * left // hot


def path_risk(books: BookColumns, market: MarketSnapshot, policy: Policy) -> PathRisk:
    """What debt each book survives on the market's scenario set, under the policy's lines, at the
    chance of every tier."""
    paths = scenario_set(market, policy)
    if paths is None:
        return PathRisk.undefined(books.n)
    known = np.flatnonzero((books.holding_symbol >= 0) & (books.holding_value > 0))
    if len(known) == 0:
        return PathRisk.undefined(books.n, paths.paths)
    from models.margin.paths_kernel import survival
    from models.margin.structural import STRESS_SHARE

    book = books.holding_book[known]
    first = np.flatnonzero(np.r_[True, book[1:] != book[:-1]])
    budget = np.array(policy.vector(CHANCE), dtype=np.int64)
    share, chance, error = (np.zeros((len(first), len(budget)), dtype=np.int64) for _ in range(3))
    stress = round(STRESS_SHARE * RATIO_ONE)
    blended = ((RATIO_ONE - stress) * paths.weight + stress * paths.stress_weight) // RATIO_ONE
    survival(
        np.append(first, len(book)),
        books.holding_symbol[known],
        books.holding_value[known],
        walked(paths),
        UNIT,
        blended,
        budget * paths.paths,
        BASE_TIER - 1,
        stretch_of(market, policy),
        concentration_margin(largest_share(books), policy)[book[first]],
        policy["call_line_ratio"],
        policy["force_line_ratio"],
        policy["call_deadline_sessions"],
        RATIO_ONE,
        share,
        chance,
        error,
    )
    table = np.full((3, len(budget), books.n), NULL, dtype=np.int64)
    table[:, :, book[first]] = np.stack([RATIO_ONE - share.T, chance.T, error.T])
    return PathRisk.of(table, paths.paths)
