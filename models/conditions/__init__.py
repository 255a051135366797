"""The degraded-mode table: what is wrong around a decision, and what then still holds."""

from models.conditions.settle import (
    CONDITIONS,
    DRIFT_RED_E6,
    DUPLICATE_HOURS,
    Condition,
    Fact,
    out_of_domain,
    settle,
    stability_e6,
)

__all__ = [
    "CONDITIONS",
    "DRIFT_RED_E6",
    "DUPLICATE_HOURS",
    "Condition",
    "Fact",
    "out_of_domain",
    "settle",
    "stability_e6",
]
