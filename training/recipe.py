"""The settings of the additive booster: one frozen recipe, and what a search may change.

The frozen recipe was chosen on three public sets (Taiwan credit cards, Give Me Some Credit, German
credit) and is not changed by looking at any other. A change of it is a new version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

RECIPE_VERSION: Final = 2
PAIRS_FROM_ROWS: Final = 400
"""With fewer distinct training rows only main effects are fitted."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one fit.

    Attributes
    ----------
    n_bags : boosters averaged in log-odds, each stopped on rows that it does not learn from
    max_rounds, patience : most rounds, and rounds without a better held-out loss before the end
    learning_rate, num_leaves, max_bin, feature_fraction, bagging_fraction, l2 : LightGBM's
    pairs_per_feature : pairs that may interact, as a multiple of the number of columns
    min_data : least rows of a leaf on a large set; a small one takes ``rows / min_data_share``
    extra_trees : draw one random threshold a feature instead of trying all
    """

    n_bags: int = 8
    max_rounds: int = 1500
    patience: int = 40
    learning_rate: float = 0.1
    num_leaves: int = 8
    max_bin: int = 63
    feature_fraction: float = 0.8
    bagging_fraction: float = 0.7
    l2: float = 1.0
    pairs_per_feature: float = 4.0
    min_data: int = 60
    min_data_share: int = 400
    extra_trees: bool = True

    def least_rows(self, rows: int) -> int:
        """Least rows of a leaf for a training set of that size.

        >>> Recipe().least_rows(800), Recipe().least_rows(100_000)
        (2, 60)
        """
        return max(2, min(self.min_data, rows // self.min_data_share))

    def as_dict(self) -> dict[str, Any]:
        """Every setting by name, and the version of the frozen recipe."""
        return {"recipe_version": RECIPE_VERSION, **asdict(self)}


FROZEN: Final = Recipe()
