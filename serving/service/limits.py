"""Rate limits per caller: a token bucket, in memory of one worker."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from serving.service.problems import ProblemError

BURST: Final = 2.0
"""Seconds of allowance that may gather."""
_REMEMBERED: Final = 10_000


class RateLimit:
    """Allows ``rate`` requests a second to each caller, with bursts of two seconds' worth."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count one request, or refuse it with the time to wait."""
        if self._rate <= 0:
            return
        now = self._clock()
        full = self._rate * BURST
        left, at = self._buckets.pop(caller, (full, now))
        left = min(full, left + (now - at) * self._rate)
        allowed = left >= 1.0
        self._buckets[caller] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = max(1, math.ceil((1.0 - left) / self._rate))
            raise ProblemError(
                "too_many_requests",
                f"this caller may make {self._rate:g} requests a second; wait {wait} s",
                headers={"retry-after": str(wait)},
            )
