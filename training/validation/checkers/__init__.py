"""What each vectors file holds, and the statistic that must give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from training.validation.checkers.check import Check, Checks
from training.validation.checkers.of_scorers import SCORERS
from training.validation.checkers.of_statistics import STATISTICS

__all__ = ["CHECKERS", "WITH_FOLDER", "Check"]

CHECKERS: Final[dict[str, Callable[..., Checks]]] = dict(sorted({**STATISTICS, **SCORERS}.items()))
"""Which checker reads a file, by the file's name."""
WITH_FOLDER: Final = ("brier_corp_decomposition",)
