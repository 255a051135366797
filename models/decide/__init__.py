"""One pure function: ``decide(case, features, bundle, policy, market) -> Decision``.

No I/O, no clock, no randomness, no float. The row form is the columnar form on one row.
"""

from models.decide.columns import DecisionColumns, decide_columns
from models.decide.row import decide

__all__ = ["DecisionColumns", "decide", "decide_columns"]
