"""Labels: what became of a client after an as-of session.

``load_outcomes`` reads a lake once, into integer arrays of what happened (``Outcomes``); the heads
are pure functions of those and of a ``Cohort``, the clients looked at in one session.
"""

from training.labels.heads import (
    CALL_SESSIONS,
    CENSORED,
    HORIZON_SESSIONS,
    RELEVER_STEP_PERCENT,
    YEAR_SESSIONS,
    Cause,
    Cohort,
    Labels,
    call_within,
    cohort_of,
    default_within,
    forced_within,
    noncure,
    relever_within,
)
from training.labels.outcomes import NEVER, Facts, Outcomes, outcomes_of
from training.labels.reading import load_outcomes

__all__ = [
    "CALL_SESSIONS",
    "CENSORED",
    "HORIZON_SESSIONS",
    "NEVER",
    "RELEVER_STEP_PERCENT",
    "YEAR_SESSIONS",
    "Cause",
    "Cohort",
    "Facts",
    "Labels",
    "Outcomes",
    "call_within",
    "cohort_of",
    "default_within",
    "forced_within",
    "load_outcomes",
    "noncure",
    "outcomes_of",
    "relever_within",
]
