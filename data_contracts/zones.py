"""The time zone of each exchange: which trading day an instant belongs to."""

from __future__ import annotations

from typing import Final

MARKET_ZONES: Final[dict[str, str]] = {
    "XSHG": "Asia/Shanghai",
    "XSHE": "Asia/Shanghai",
    "BJSE": "Asia/Shanghai",
    "XNYS": "America/New_York",
    "XNAS": "America/New_York",
    "XASE": "America/New_York",
    "ARCX": "America/New_York",
}
"""Time zone by ISO 10383 market identifier; days of any other market are counted in UTC."""
