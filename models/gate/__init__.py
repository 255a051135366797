"""The publish gate: a night's figures, held against dated bounds, give pass, hold or block."""

from models.gate.bounds import Bound, Bounds, bounds_of, load_bounds
from models.gate.judge import NOT_TESTED, VERDICTS, Measured, Ruling, Verdict, judge, shown

__all__ = [
    "NOT_TESTED",
    "VERDICTS",
    "Bound",
    "Bounds",
    "Measured",
    "Ruling",
    "Verdict",
    "bounds_of",
    "judge",
    "load_bounds",
    "shown",
]
