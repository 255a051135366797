"""What an import did: rows written, values that were not exact, rows left out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

FORMATS: Final = ("ashare-daily", "us-daily", "us-close", "cn-shibor")
"""The formats of ``import_market``."""

Progress = Callable[[str, int, int], None]
"""Called with the step's name, the steps done and the steps in all."""


@dataclass(frozen=True)
class ImportReport:
    """What ``import_market`` and ``write_sample_market`` return.

    Attributes
    ----------
    symbols, first_session, last_session
        Of the market folder after the import; for ``cn-shibor`` of the curve, with no symbols.
    rows
        Rows of each table as written, rows of earlier imports included.
    inexact
        By column, how many values of these files a decimal of the column could not hold exactly, or
        whose floating-point type was too coarse to tell the column's unit. They are rounded.
    suspended_bars
        Bars of the folder that say "no trading".
    unknown_limits
        Bars whose price limit became null: the file states a limit that no rule knows, or one that
        the session's own prices broke (a first trading day).
    overwritten_rows
        Rows of an earlier file or import that a later one replaced.
    dropped_rows
        Rows of these files that were left out, by reason.
    """

    format: str
    symbols: int
    first_session: dt.date
    last_session: dt.date
    rows: Mapping[str, int]
    inexact: Mapping[str, int]
    suspended_bars: int
    unknown_limits: int
    overwritten_rows: int
    dropped_rows: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "format": self.format,
            "symbols": self.symbols,
            "first_session": self.first_session.isoformat(),
            "last_session": self.last_session.isoformat(),
            "rows": dict(self.rows),
            "inexact": dict(self.inexact),
            "suspended_bars": self.suspended_bars,
            "unknown_limits": self.unknown_limits,
            "overwritten_rows": self.overwritten_rows,
            "dropped_rows": dict(self.dropped_rows),
        }
