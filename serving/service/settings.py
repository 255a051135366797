"""What an operator chooses: one frozen object, read at the entry point and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from serving.ledger import Location

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8080
DEFAULT_RATE: Final = 200.0
"""Requests a second that one caller may make, averaged; twice as many in a burst."""
LARGEST_BODY_BYTES: Final = 64 * 1024
IDEMPOTENCY_HOURS: Final = 24
TOKEN_KEY_FILE: Final = "keys/tokens.key"


def utc_now() -> datetime:
    """The clock of a service in production."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class ShiftedClock:
    """A clock that runs on from another instant, for a lake of the past."""

    by: timedelta

    def __call__(self) -> datetime:
        """The instant it stands at now."""
        return utc_now() + self.by


@dataclass(frozen=True)
class Settings:
    """How one service runs.

    Attributes
    ----------
    lake, ledger : the data folder, and where entries go
    local_tokens : accept tokens signed with the lake's own key (a demo's only)
    issuer, audience, jwks : the OIDC issuer whose tokens are accepted; ``jwks`` is a file or a URL
    rate : requests a second one caller may make; 0 for no limit
    now : the business clock: staleness, effective days, review dates
    open_sign_in : the console lets people in by name and role, without a token (a demo's only)
    """

    lake: Path
    ledger: Location
    local_tokens: bool = False
    issuer: str | None = None
    audience: str = "gearline"
    jwks: str | None = None
    rate: float = DEFAULT_RATE
    now: Callable[[], datetime] = utc_now
    open_sign_in: bool = False
