"""The margin that one overweight name adds to a book's: what the book's own history cannot show.

    add-on = slope x max(0, w - from)        w: the largest holding over the value of all holdings

A line without a step, so that one share more never costs a jump. Joint returns of the past say how
far a name fell with the rest, not that it falls alone; clearing houses charge for that apart (the
gap risk measure of NSCC's margin, which begins at 30 % of a portfolio). The same two figures of the
house profile serve ``decide`` in integers and the back-test in floats.
"""

from __future__ import annotations

import numpy as np

from data_contracts.units import RATIO_ONE, FloatArray, IntArray
from models.margin.book import BookColumns
from models.margin.exact import up
from models.policy import Policy

FROM, SLOPE = "concentration_margin_from_ratio", "concentration_margin_slope_ratio"


def largest_share(books: BookColumns) -> IntArray:
    """The largest holding over the value of all holdings, 1e-6, rounded up; 0 without holdings."""
    invested = books.per_book(books.holding_value, books.holding_book)
    largest = np.zeros(books.n, dtype=np.int64)
    np.maximum.at(largest, books.holding_book, books.holding_value)
    return np.where(invested > 0, up(largest * RATIO_ONE, np.maximum(invested, 1)), 0)


def concentration_margin(share: IntArray, policy: Policy) -> IntArray:
    """Equity asked for per unit of holdings beside the joint margin, 1e-6, rounded up.

    Nothing where the policy leaves the rule out.
    """
    if FROM not in policy:
        return np.zeros(len(share), dtype=np.int64)
    over = np.clip(share, 0, RATIO_ONE) - policy[FROM]
    return np.minimum(up(np.maximum(over, 0) * policy[SLOPE], RATIO_ONE), RATIO_ONE)


def concentration_margin_ratio(share: FloatArray, policy: Policy) -> FloatArray:
    """The same in floats, for studies: shares and add-on as ratios, any shape."""
    over = np.clip(share, 0.0, 1.0) - policy[FROM] / RATIO_ONE
    return np.asarray(np.minimum(np.maximum(over, 0.0) * policy[SLOPE] / RATIO_ONE, 1.0))
